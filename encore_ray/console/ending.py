"""What every command ends with: its result in a sentence, and what to do next as commands to paste."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.text import Text

from encore_ray.errors import EncoreError
from encore_ray.shell import command
from encore_ray.storage import to_json

MOST_STEPS = 2


@dataclass(frozen=True)
class NextStep:
    """What one may do next.

    Attributes:
        why: what for, as it goes on after "Next, ".
        line: the command line that does it, to be pasted as it stands.
    """

    why: str
    line: str


def next_step(why: str, *words: str) -> NextStep:
    """A next step by one of our own commands: its name and its words, unquoted."""
    return NextStep(why, command("encore-ray", *words))


@dataclass(frozen=True)
class Edit:
    """Lines that one should write into a file.

    Attributes:
        why: a sentence that ends with a colon.
        lines: as the file is to have them.
    """

    why: str
    lines: Sequence[str]


@dataclass(frozen=True)
class Ending:
    """How a command ended.

    Attributes:
        result: a sentence or two with the numbers that matter, in words that a newcomer knows.
        steps: one or two things to do next.
        content: the whole result as a JSON value, for --json.
        warnings: what is to be heeded, which the command has shown among its tables.
        document: a text that is the command's product: it alone goes to stdout, as to a file.
        error: what is wrong with what the command looked at, and ends it.
        edit: what a file of the user's should say, and does not.
    """

    result: str
    steps: Sequence[NextStep]
    content: Any
    warnings: Sequence[str] = ()
    document: str | None = None
    error: EncoreError | None = None
    edit: Edit | None = None

    def __post_init__(self) -> None:
        assert self.result.rstrip().endswith((".", "?", "!")), f"no sentence: {self.result!r}"
        assert 1 <= len(self.steps) <= MOST_STEPS, f"{len(self.steps)} things to do next"

    def to_json(self, name: str) -> str:
        """One JSON document.

        Args:
            name: of the command.
        """
        value = {
            "command": name,
            "said": self.result,
            "warnings": list(self.warnings),
            "next": [step.line for step in self.steps],
            **({"edit": {"why": self.edit.why, "lines": list(self.edit.lines)}} if self.edit else {}),
            "result": self.content,
        }
        return to_json(value).decode()


def show_result(ending: Ending, console: Console) -> None:
    """The result in lines of its own, broken between words alone: a path stays in one piece; what to edit below it."""
    console.print()
    for line in _wrapped(ending.result, console):
        console.print(Text(line, style="bold"), soft_wrap=True)
    if ending.edit is not None:
        for line in (*_wrapped(ending.edit.why, console), *ending.edit.lines):
            console.print(line, highlight=False, markup=False, soft_wrap=True)


def _wrapped(text: str, console: Console) -> list[str]:
    return textwrap.wrap(text, console.width, break_long_words=False, break_on_hyphens=False)


def show_steps(ending: Ending, console: Console) -> None:
    """What to do next: why on one line, the command by itself on another, so that it can be pasted."""
    for first, step in zip(("Next, ", "Or "), ending.steps, strict=False):
        console.print(f"{first}{step.why}:", highlight=False, markup=False, soft_wrap=True)
        console.print(f"  {step.line}", highlight=False, markup=False, soft_wrap=True)
