"""The command that runs other commands in order, as one file says."""

import contextlib
import json
import os
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.markup import escape

from encore_ray.cli.flags import flag
from encore_ray.cli.parsing import parse
from encore_ray.cli.screen import Screen, ScreenFlags
from encore_ray.config.sources import read_yaml
from encore_ray.console.ending import Ending, show_result
from encore_ray.console.words import be, plural
from encore_ray.errors import ConfigError, EncoreError
from encore_ray.shell import called_as


@dataclass(frozen=True)
class ChainStep:
    """One command of a chain: its number from 1, and its words as one would type them."""

    number: int
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"encore-ray {shlex.join(self.words)}"


@dataclass(frozen=True, kw_only=True)
class Chain:
    """Run several commands in order: from corpora to ratings, heads, weights and a comparison, say.

    The file has a list of steps, each a command with its options:

        steps: [{prepare: {input: corpus.jsonl, run: my-run}}, {weigh: {run: my-run, temperature: 1}}]

    All of them are checked first. The same command again resumes: finished steps find their work done.

    Example: encore-ray chain chain.yaml
    """

    file: tyro.conf.Positional[Annotated[str, flag("CHAIN.yaml")]]
    """The steps. Their relative paths are taken from the folder of this file."""

    screen: ScreenFlags = Screen()

    def main(self, console: Console) -> Ending:
        path = Path(self.file)
        steps = read_steps(path)
        folder = path.resolve().parent
        endings: list[Ending] = []
        with contextlib.chdir(folder):
            for step in steps:
                with _named(step, len(steps)):
                    _check(step)
            for step in steps:
                console.print(f"[bold]{step.number}/{len(steps)} {escape(str(step))}[/]", highlight=False)
                with _named(step, len(steps)):
                    endings.append(_do(step, console))
        there = f"cd {shlex.quote(os.path.relpath(folder))} && " if folder != Path.cwd() else ""
        last = endings[-1]
        return Ending(
            f"{plural(len(steps), 'step')} of {path.name} {be(len(steps))} done. {last.result}",
            [replace(each, line=f"{there}{each.line}") for each in last.steps],
            [{"step": str(step), "result": each.content} for step, each in zip(steps, endings, strict=True)],
            warnings=[warning for each in endings for warning in each.warnings],
        )


def _check(step: ChainStep) -> None:
    """Raise ConfigError for a step that is no command as one would type it, or has what is the chain's own."""
    try:
        parsed = parse(step.words)
    except SystemExit as refused:
        raise ConfigError(f"{step} is no command; see above.") from refused
    if parsed.screen != Screen():
        raise ConfigError(f"{step}: --json, --quiet and --verbose are given to `encore-ray chain` itself.")


def _do(step: ChainStep, console: Console) -> Ending:
    with called_as(step.words):
        ending = parse(step.words).main(console)  # anew: its run has the options of the steps before by now
    if ending.document is not None:
        console.print(ending.document, end="", markup=False, highlight=False, soft_wrap=True)
    if ending.error is not None:
        raise ending.error
    show_result(ending, console)
    return ending


def read_steps(path: Path) -> list[ChainStep]:
    """The steps of a chain's file.

    The name of a step may have several words, as `refine fit` or `run job.yaml`. Of its options, true is a flag that
    is given, false and null one that is not; a list is several values of one flag, a mapping a flag for each
    NAME=VALUE.

    Raises:
        ConfigError: it is not there, is no YAML, or holds no list of steps.
    """
    content = read_yaml(path)
    found = content.get("steps") if isinstance(content, dict) else None
    if not isinstance(found, list) or not found or set(content) != {"steps"}:
        raise ConfigError(f"{path}: expected the key `steps` alone, with a list of commands.")
    return [ChainStep(number, _words(path, number, item)) for number, item in enumerate(found, start=1)]


def _words(path: Path, number: int, item: Any) -> tuple[str, ...]:
    if isinstance(item, str):
        item = {item: {}}
    if not isinstance(item, dict) or len(item) != 1:
        raise ConfigError(f"{path}: step {number}: expected one command with its options, found {item!r}.")
    ((name, options),) = item.items()
    if not isinstance(name, str) or not name.strip() or not isinstance(options, dict | None):
        raise ConfigError(f"{path}: step {number}: expected options by their names, found {options!r}.")
    try:
        words = shlex.split(name)
    except ValueError as error:
        raise ConfigError(f"{path}: step {number}: {name!r}: {error}. Quote as in a shell.") from None
    if words[0] == "chain":
        raise ConfigError(f"{path}: step {number}: a chain holds no other chain. List its steps here.")
    for option, value in (options or {}).items():
        words += _flag(str(option).replace("_", "-"), value)
    return tuple(words)


def _flag(name: str, value: Any) -> list[str]:
    if value is None or value is False:
        return []
    if value is True:
        return [f"--{name}"]
    if isinstance(value, Mapping):
        return [word for key, own in value.items() for word in (f"--{name}", f"{key}={_text(own)}")]
    return [f"--{name}", *(_text(own) for own in (value if isinstance(value, list) else [value]))]


def _text(value: Any) -> str:
    return json.dumps(value) if isinstance(value, bool) else str(value)


@contextlib.contextmanager
def _named(step: ChainStep, num_steps: int) -> Iterator[None]:
    """Errors say which step they are of."""
    try:
        yield
    except EncoreError as error:
        error.args = (f"Step {step.number} of {num_steps}: {error}", *error.args[1:])
        raise
