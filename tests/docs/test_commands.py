"""Every command of every page is one: ours are parsed as they stand, others are of a program that is known here."""

import re
from functools import cache
from pathlib import Path

import pytest

from encore_ray.cli.app import ALL_COMMANDS
from encore_ray.cli.parsing import parse
from tests.docs.generated import help_of
from tests.docs.pages import ROOT, commands, listed_pages, mentioned, shell_lines

# Programs of others, by which a page shows what surrounds our commands. tests/submit tries those of clusters.
OTHERS = {".", "docker", "kubectl", "mlflow", "ray"}
SPOKEN = re.compile(r"\b[A-Z]{3,}\b|\.\.\.")  # in running text a command may lack its values, or stand for all


def in_pages(program: str) -> list[str]:
    """Every command line of a program, in blocks and in running text."""
    lines = [line for page in listed_pages() for line in [*shell_lines(page), *mentioned(page, program)]]
    return sorted({line for line in lines if line.split()[0] == program})


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_a_command_in_a_block_is_one_as_it_stands(words: list[str]) -> None:
    assert isinstance(parse(words, ALL_COMMANDS), ALL_COMMANDS[words[0]])


def test_every_other_line_in_a_block_is_of_a_program_that_is_known_here() -> None:
    first_words = {line.split()[0] for page in listed_pages() for line in shell_lines(page)}
    assert first_words <= {"encore-ray", "make", "python", *OTHERS}


@cache
def flags_of(command: str) -> set[str]:
    return set(re.findall(r"--[a-z][a-z-]*", help_of([command, "--help"])))


@pytest.mark.parametrize("line", in_pages("encore-ray"))
def test_a_command_that_a_text_names_is_there_with_its_flags(line: str) -> None:
    words = line.partition(" > ")[0].split()[1:]
    flags = {word for word in words if word.startswith("--")}
    if words[0].startswith("--") or SPOKEN.fullmatch(words[0]):
        assert flags <= {"--help", "--version", "--completion"}
        return
    assert words[0] in ALL_COMMANDS
    assert flags <= flags_of(words[0]) | {"--help"}


@pytest.mark.parametrize("line", in_pages("python"))
def test_a_script_that_a_page_names_is_there_with_its_flags(line: str) -> None:
    words = line.split()[1:]
    if words[0] == "-c":
        compile(line.partition(" -c ")[2].strip("'"), line, "exec")
        return
    module = ROOT / words[1].replace(".", "/") if words[0] == "-m" else ROOT / words[0]
    script = module / "__main__.py" if module.is_dir() else module.with_suffix(".py")
    text = script.read_text(encoding="utf-8")
    assert all(f'"{word}"' in text for word in words if word.startswith("--"))


def test_every_target_of_make_that_a_page_names_is_one() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.M))
    named = {word for line in in_pages("make") for word in line.split()[1:] if "=" not in word}
    assert named <= targets


def test_every_file_that_a_page_names_in_jobs_is_there() -> None:
    named = {name for page in listed_pages() for name in re.findall(r"`(jobs/[a-z0-9-]+\.\w+)`", page.read_text())}
    assert named and all(Path(ROOT, name).exists() for name in named)
