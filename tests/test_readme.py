"""The README says what the code does. After a change of the configuration: `python -m tests.test_readme` prints
the table that belongs between its markers."""

import re
import shlex
from pathlib import Path
from typing import Literal, get_args, get_origin

import pytest
import yaml

from encore_ray import errors, make_config
from encore_ray.cli import COMMANDS, main
from encore_ray.config import SECTIONS, InputOptions, JobConfig, Section
from encore_ray.corpora.formats import format_names
from encore_ray.rules import RuleSet

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
BEGIN, END = "<!-- configuration -->", "<!-- end of configuration -->"


def configuration_table() -> str:
    """Every key of a job's YAML with its default and its meaning, as a Markdown table."""
    rows = ["| key | default | meaning |", "|---|---|---|"]
    for prefix, section in {"": JobConfig, "inputs[].": InputOptions}.items():
        rows += _rows(prefix, section)
    for name, section in SECTIONS.items():
        rows += _rows(f"{name}.", section)
    return "\n".join(rows)


def _rows(prefix: str, section: type[Section]) -> list[str]:
    rows = []
    for name, field in section.model_fields.items():
        if prefix == "" and name in SECTIONS:
            continue
        default = "required" if field.is_required() else f"`{yaml.safe_dump(field.default).splitlines()[0]}`"
        meaning = field.description or ""
        if get_origin(field.annotation) is Literal:
            meaning += f" One of {', '.join(get_args(field.annotation))}."
        rows.append(f"| `{prefix}{name}` | {default} | {meaning} |")
    return rows


def blocks(language: str) -> list[str]:
    """The fenced blocks of the README in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.M | re.S)


def commands() -> list[list[str]]:
    """Every encore-ray command line in the README's shell blocks."""
    lines = "\n".join(blocks("bash")).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("encore-ray ")]


def test_the_readme_lists_every_key_of_the_configuration():
    assert README.split(BEGIN)[1].split(END)[0].strip() == configuration_table()


def test_the_readme_lists_every_format_of_preference_data():
    section = README.split("### Formats")[1].split("\n##")[0]
    assert re.findall(r"^\| `([a-z0-9-]+)` \|", section, flags=re.M) == format_names()


def test_the_readme_shows_every_command():
    assert set(COMMANDS) <= {command[0] for command in commands()} | {"demo"}


@pytest.mark.parametrize("command", commands(), ids=lambda command: " ".join(command))
def test_the_flags_in_the_readme_are_flags_of_the_command(command: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main([command[0], "--help"])
    known = set(re.findall(r"--[a-z][a-z-]*", capsys.readouterr().out))
    assert {word for word in command if word.startswith("--")} <= known


def test_the_jobs_in_the_readme_are_valid():
    jobs = [yaml.safe_load(text) for text in blocks("yaml") if text.startswith("inputs:")]
    assert len(jobs) == 3
    for job in jobs:
        make_config(job)


def test_the_rules_in_the_readme_are_valid():
    rules = [RuleSet.from_yaml(text) for text in blocks("yaml") if text.startswith("- name:")]
    assert [len(of_block) for of_block in rules] == [2]


def test_the_readme_states_the_exit_codes():
    section = README.split("### Exit codes")[1].split("\n##")[0]
    codes = set(re.findall(r"^\| (\d+)", section, flags=re.M))
    raised = {kind.exit_code for kind in vars(errors).values() if isinstance(kind, type)}
    assert {str(code) for code in raised} | {"0", "1", "130"} == codes


if __name__ == "__main__":
    print(configuration_table())
