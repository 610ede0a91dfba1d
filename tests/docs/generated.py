"""What pages say that the code knows: `python -m tests.docs` writes it between their markers."""

import contextlib
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal, get_args, get_origin

import pytest
import yaml

from encore_ray.cli import main
from encore_ray.cli.app import ALL_COMMANDS
from encore_ray.config import SECTIONS, InputOptions, JobConfig, Section
from tests.docs.pages import DOCS, text_of

VARIABLES = "ENCORE_RAY_"
PLAIN = {"COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}  # as a terminal of that width without colours


def configuration() -> str:
    """Every key of a job's YAML with its default and its meaning, a table a section."""
    tables = [_table("The job", "", JobConfig), _table("inputs", "inputs[].", InputOptions)]
    return "\n\n".join([*tables, *(_table(name, f"{name}.", section) for name, section in SECTIONS.items())])


def _table(title: str, prefix: str, section: type[Section]) -> str:
    rows = [f"## {title}\n", "| key | default | meaning |", "|---|---|---|"]
    for name, field in section.model_fields.items():
        if prefix == "" and name in SECTIONS:
            continue
        default = "required" if field.is_required() else f"`{yaml.safe_dump(field.default).splitlines()[0]}`"
        meaning = field.description or ""
        if get_origin(field.annotation) is Literal:
            meaning += f" One of {', '.join(get_args(field.annotation))}."
        rows.append(f"| `{prefix}{name}` | {default} | {meaning} |")
    return "\n".join(rows)


def command_help() -> str:
    """The help of every command, as it says it."""
    parts = [f"## {name}\n\n```text\n{help_of([name, '--help'])}\n```" for name in ALL_COMMANDS]
    return "\n\n".join([f"```text\n{help_of(['--help'])}\n```", *parts])


def help_of(words: list[str]) -> str:
    """What a command says when it is asked for its help."""
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        for name in [name for name in os.environ if name.startswith(VARIABLES)]:
            patch.delenv(name)  # it would be told as the default
        for name, value in PLAIN.items():
            patch.setenv(name, value)
        main(words)
    return "\n".join(line.rstrip() for line in said.getvalue().strip("\n").splitlines())


GENERATED: dict[str, tuple[Path, Callable[[], str]]] = {  # by the word of its markers
    "configuration": (DOCS / "configuration.md", configuration),
    "commands": (DOCS / "cli.md", command_help),
}


def standing(marker: str) -> str:
    """What a page has between the markers."""
    return _parts(marker)[1]


def write(marker: str) -> None:
    """Put what the code knows between the markers of its page."""
    page, make = GENERATED[marker]
    before, _, after = _parts(marker)
    page.write_text(before + make() + after, encoding="utf-8")


def _parts(marker: str) -> tuple[str, str, str]:
    begin, end = f"<!-- {marker} -->\n", f"\n<!-- end of {marker} -->"
    head, _, rest = text_of(GENERATED[marker][0]).partition(begin)
    inside, _, tail = rest.partition(end)
    return head + begin, inside, end + tail
