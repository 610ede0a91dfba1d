"""YAML that people write, read strictly: UTF-8, each key once, texts that can be stored.

YAML forbids a key that stands twice in a mapping; PyYAML takes the last of them without a word, so that a rule copied
and half edited would count in the other direction.
"""

import re
from collections.abc import Hashable
from typing import Any

import yaml

MAX_BYTES = 8 << 20
MAX_VALUES = 1_000_000

_MERGE = "tag:yaml.org,2002:merge"  # `<<`, whose keys others may replace


class NotYaml(ValueError):
    """The text is no YAML that is understood in one way; says what is wrong and where."""


class _Strict(yaml.SafeLoader):
    """PyYAML's loader of plain values, which refuses what it would otherwise pass over."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: dict[Hashable, yaml.Node] = {}
        for key, _ in node.value:
            name = (key.tag, key.value) if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE else id(key)
            if name in seen:
                raise yaml.MarkedYAMLError(
                    "the key is there",
                    seen[name].start_mark,
                    f"and again, {key.value!r}: leave one out",
                    key.start_mark,
                )
            seen[name] = key
        return node

    def compose_scalar_node(self, anchor: Any) -> yaml.ScalarNode:
        node = super().compose_scalar_node(anchor)
        if any("\ud800" <= letter <= "\udfff" for letter in node.value):
            raise yaml.MarkedYAMLError(
                problem="found half of a surrogate pair, which is no character", problem_mark=node.start_mark
            )
        return node


def _num_values(node: yaml.Node, known: dict[int, int]) -> int:
    """Values in a node with every alias written out: few lines of aliases of aliases may be billions."""
    if id(node) in known:
        return known[id(node)]
    known[id(node)] = MAX_VALUES + 1  # as long as it is looked into: an alias of what it lies in never ends
    found = 1
    if isinstance(node, yaml.MappingNode):
        found += sum(_num_values(key, known) + _num_values(value, known) for key, value in node.value)
    elif isinstance(node, yaml.SequenceNode):
        found += sum(_num_values(item, known) for item in node.value)
    known[id(node)] = found
    return found


def parse_yaml(data: str | bytes) -> Any:
    """The value of a YAML document; NotYaml where it has none that is plain, or one too large to be written by hand."""
    if len(data) > MAX_BYTES:
        raise NotYaml(f"has {len(data):,} bytes; at most {MAX_BYTES:,} are read as YAML")
    try:
        text = data if isinstance(data, str) else data.decode("utf-8")
        loader = _Strict(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            if _num_values(node, {}) > MAX_VALUES:
                raise NotYaml(f"has more than {MAX_VALUES:,} values where its aliases (*name) are written out")
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except NotYaml:
        raise
    except UnicodeDecodeError as error:
        raise NotYaml(f"is not UTF-8 text: {error}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date as 2026-13-45
        left = _left_open(data)
        raise NotYaml(f"{left}fill it in, or leave it out" if left else f"is not valid YAML: {error}") from None


def _left_open(data: str | bytes) -> str:
    """Which line has a question mark for a value, as a template has; "" where none does."""
    text = data if isinstance(data, str) else data.decode("utf-8", errors="replace")
    for number, line in enumerate(text.splitlines(), start=1):
        if re.fullmatch(r"\s*(- *)?[\w.-]+: *\?\s*(#.*)?", line):
            return f"has no value in line {number} yet, {line.strip()!r}: "
    return ""


def number_text(value: float) -> str:
    """A finite number as YAML reads it back: of 1e6 Python's own would be read as a text."""
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else yaml.safe_dump(float(value)).split()[0]


def scalar_text(text: str) -> str:
    """A text as YAML reads it back, on one line."""
    return yaml.safe_dump(text, allow_unicode=True, width=1 << 20).removesuffix("\n").removesuffix("\n...")
