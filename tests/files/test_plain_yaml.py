"""YAML is read in one way only: what PyYAML would pass over is refused, in every file that people write."""

import itertools
from pathlib import Path

import pytest

from encore_ray.config.sources import load_config, stored_config
from encore_ray.errors import ConfigError, DataError
from encore_ray.files.plain_yaml import NotYaml, parse_yaml
from encore_ray.rules import RuleSet
from encore_ray.storage import Folder


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: 2\na: 3", "line 1, column 1(.|\n)*and again, 'a': leave one out(.|\n)*line 3, column 1"),
        ("[{x: {a: 1, a: 1}}]", "and again, 'a'"),
        ("a: 1\n'a': 2", "and again, 'a'"),
        ('"\\ud800"', "half of a surrogate pair"),
        (b"caf\xe9", "is not UTF-8 text"),
        ("a: [", "is not valid YAML"),
    ],
)
def test_what_can_be_understood_in_two_ways_or_none_is_refused(text: str | bytes, said: str) -> None:
    with pytest.raises(NotYaml, match=said):
        parse_yaml(text)


def test_a_merged_mapping_may_be_changed_and_used_again() -> None:
    text = "- &a {x: 1, y: 2}\n- &b {<<: *a, x: 3}\n- {<<: [*a, *b], y: 4}\n- {1: a, '1': b}"
    assert parse_yaml(text) == [{"x": 1, "y": 2}, {"x": 3, "y": 2}, {"x": 1, "y": 4}, {1: "a", "1": "b"}]


def test_a_mark_of_byte_order_is_no_part_of_the_text() -> None:
    assert parse_yaml("\ufeffa: é".encode()) == {"a": "é"}


def test_a_rule_with_two_directions_is_refused() -> None:
    """The last of them counted, without a word."""
    with pytest.raises(DataError, match="and again, 'higher_is'"):
        RuleSet.from_yaml("- {name: a, text: t, higher_is: better, scale: {lo: 0, hi: 1}, higher_is: worse}")


def test_a_section_that_stands_twice_is_refused(tmp_path: Path) -> None:
    """The second replaced the first, whose options were lost."""
    job = tmp_path / "job.yaml"
    job.write_text("inputs: a\nrun: b\nweigh: {temperature: 1}\nweigh: {clip: true}\n")
    with pytest.raises(ConfigError, match=r"job\.yaml is not valid YAML(.|\n)*and again, 'weigh'"):
        load_config(job)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"3", b"text", b"[1]", b"", b"a: [", b"a: 1\na: 1"])
def test_a_damaged_configuration_of_a_run_tells_nothing(tmp_path: Path, content: bytes) -> None:
    assert stored_config(Folder(str(tmp_path))) is None
    (tmp_path / "config.yaml").write_bytes(content)
    assert stored_config(Folder(str(tmp_path))) is None


def test_a_configuration_of_a_run_is_told_without_credentials(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("tracking: {uri: 'http://me:secret@host/x'}")
    assert stored_config(Folder(str(tmp_path))) == {"tracking": {"uri": "http://host/x"}}


def test_a_document_larger_than_anybody_writes_is_refused_unread():
    with pytest.raises(NotYaml, match=r"has 8,388,609 bytes; at most 8,388,608"):
        parse_yaml(b"#" * ((8 << 20) + 1))


def test_aliases_of_aliases_are_refused_before_anything_is_made_of_them():
    # 9 values, then eight times nine aliases of the line before: 9^9 values in 300 bytes.
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [f"{name}: &{name} [{', '.join(['*' + before] * 9)}]" for before, name in itertools.pairwise("abcdefghi")]
    with pytest.raises(NotYaml, match="more than 1,000,000 values where its aliases"):
        parse_yaml("\n".join(lines))
    assert parse_yaml("\n".join(lines[:3]))["c"] == [[["x"] * 9] * 9] * 9


def test_an_alias_of_what_it_lies_in_is_refused():
    with pytest.raises(NotYaml, match="aliases"):
        parse_yaml("a: &a [1, *a]")
