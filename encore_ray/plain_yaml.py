"""YAML that people write, read strictly: UTF-8, each key once, texts that can be stored.

YAML forbids a key that stands twice in a mapping; PyYAML takes the last of them without a word, so that a rule copied
and half edited would count in the other direction.
"""

from collections.abc import Hashable
from typing import Any

import yaml

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


def parse_yaml(data: str | bytes) -> Any:
    """The value of a YAML document; NotYaml where it has none that is plain."""
    try:
        text = data if isinstance(data, str) else data.decode("utf-8")
        return yaml.load(text, _Strict)  # noqa: S506  a SafeLoader
    except UnicodeDecodeError as error:
        raise NotYaml(f"is not UTF-8 text: {error}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date as 2026-13-45
        raise NotYaml(f"is not valid YAML: {error}") from None
