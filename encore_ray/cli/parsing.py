"""The commands by their names, and a command line as one of them.

`chain` is not among them: it is made of them.
"""

import contextlib
import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import tyro
from rich.console import Console

from encore_ray.cli.commands.begin.check import Check
from encore_ray.cli.commands.begin.demo import Demo
from encore_ray.cli.commands.begin.doctor import Doctor
from encore_ray.cli.commands.begin.init import Init
from encore_ray.cli.commands.jobs.run import Run
from encore_ray.cli.commands.jobs.status import Status
from encore_ray.cli.commands.jobs.submit import Submit
from encore_ray.cli.commands.learn.fit_heads import FitHeads
from encore_ray.cli.commands.learn.refine import Refine
from encore_ray.cli.commands.learn.select import Select
from encore_ray.cli.commands.learn.train import Train
from encore_ray.cli.commands.look.export import Export
from encore_ray.cli.commands.look.inspect import Inspect
from encore_ray.cli.commands.look.report import Report
from encore_ray.cli.commands.look.rules import Rules
from encore_ray.cli.commands.look.track import Track
from encore_ray.cli.commands.steps.compare import Compare
from encore_ray.cli.commands.steps.compose import Compose
from encore_ray.cli.commands.steps.evaluate import Evaluate
from encore_ray.cli.commands.steps.prepare import Prepare
from encore_ray.cli.commands.steps.rate import Rate
from encore_ray.cli.commands.steps.score import Score
from encore_ray.cli.commands.steps.weigh import Weigh
from encore_ray.cli.flags import of_run
from encore_ray.cli.help import fold_help
from encore_ray.cli.overview import DESCRIPTION
from encore_ray.cli.screen import Screen
from encore_ray.cli.unknown_flags import refuse_unknown_flags
from encore_ray.console.ending import Ending
from encore_ray.errors import ConfigError


class Command(Protocol):
    """One command: its fields are the flags, its docstring is the help."""

    @property
    def screen(self) -> Screen:
        """The flags that say what is shown."""
        ...

    def main(self, console: Console) -> Ending:
        """Do it, show what there is to be read, and tell the result and what to do next."""
        ...


COMMANDS: dict[str, type[Command]] = {
    "demo": Demo,
    "run": Run,
    "check": Check,
    "init": Init,
    "prepare": Prepare,
    "score": Score,
    "rate": Rate,
    "weigh": Weigh,
    "compose": Compose,
    "evaluate": Evaluate,
    "compare": Compare,
    "fit-heads": FitHeads,
    "train": Train,
    "refine": Refine,
    "select": Select,
    "report": Report,
    "inspect": Inspect,
    "status": Status,
    "track": Track,
    "export": Export,
    "rules": Rules,
    "submit": Submit,
    "doctor": Doctor,
}


SHELLS = ("bash", "zsh", "fish")  # that are completed in

_CONFIGURED = (
    tyro.conf.OmitArgPrefixes,
    tyro.conf.FlagCreatePairsOff,
    tyro.conf.HelptextFromCommentsOff,
    tyro.conf.DisallowNone,
)
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*(\.\w+)?=.*", re.DOTALL)


def one_value_a_set(args: Sequence[str]) -> Iterator[str]:
    """The same command line with --set before each of its values: `--set a=1 b=2` is `--set a=1 --set b=2`.

    What looks as OPTION=VALUE and follows such a value is one too; anything else ends them.
    """
    follows = False
    for before, arg in zip(["", *args], args, strict=False):
        if follows and before != "--set" and _ASSIGNMENT.fullmatch(arg):
            yield "--set"
        elif before != "--set":
            follows = arg == "--set" or arg.startswith("--set=")
        yield arg


def parse(args: Sequence[str], commands: Mapping[str, type[Command]] = COMMANDS) -> Command:
    """The command that a command line names, with its options; SystemExit where these are wrong, after saying why.

    Raises:
        ConfigError: there is no such command, or it has no such flag.
    """
    name = _name(args, commands)
    refuse_unknown_flags(args, commands)
    if name is None:  # nothing, or a flag in its place: all commands are told
        return _any_parsed(args, commands)
    with of_run(args), fold_help():
        return tyro.cli(
            commands[name], prog=f"encore-ray {name}", args=list(one_value_a_set(args[1:])), config=_CONFIGURED
        )


def print_completion(shell: str, commands: Mapping[str, type[Command]]) -> None:
    """Print what makes a shell complete commands and flags; it stands until a command or a flag changes."""
    with contextlib.suppress(SystemExit):
        _any_parsed(["--tyro-write-completion", shell, "-"], commands)


def _any_parsed(args: Sequence[str], commands: Mapping[str, type[Command]]) -> Command:
    """All commands as one, by which a shell completes; errors and help of it are about all of them."""
    return tyro.extras.subcommand_cli_from_dict(
        dict(commands), prog="encore-ray", description=DESCRIPTION, args=list(args), config=_CONFIGURED
    )


def _name(args: Sequence[str], commands: Mapping[str, type[Command]]) -> str | None:
    """The command that a line begins with; ConfigError for one that is not known, None where it begins with none."""
    name = args[0].replace("_", "-") if args else "-"
    if name in commands:
        return name
    if name.startswith("-"):
        return None
    close = difflib.get_close_matches(name, commands, n=1)
    meant = f"did you mean {close[0]}?" if close else f"the commands are {', '.join(commands)}."
    raise ConfigError(f"There is no command {args[0]}: {meant} `encore-ray --help` says what each does.")
