"""A flag that a command does not have, answered with the one of this command that is meant, and no other's."""

import difflib
import inspect
import typing
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any

import tyro

from encore_ray.cli.other_names import other_name
from encore_ray.config import SECTIONS, JobConfig
from encore_ray.errors import ConfigError

_OF_ALL = frozenset({"--help"})
_CLOSE = 0.75  # of `difflib`: from there on a flag is taken for one that is mistyped
_OF_JOBS = ("prepare", "score", "rate", "weigh", "cluster", "tracking")  # sections that decide a whole job


def refuse_unknown_flags(args: Sequence[str], commands: Mapping[str, type]) -> None:
    """ConfigError for a flag that the command does not have, with what to give instead where that can be told.

    Args:
        args: the command line: a command and what follows it.
    """
    command = commands.get(args[0].replace("_", "-")) if args else None
    named = [place for place, arg in enumerate(args) if place and _plain(arg)]
    if command is None or not named:
        return
    have = flags_of(command)
    for flag, option, value in zip(args, args[1:], args[2:], strict=False) if "--set" in have else ():
        if flag == "--set" and not option.startswith("-") and "=" not in option and not value.startswith("-"):
            raise ConfigError(f"--set takes OPTION=VALUE in one piece: --set {option}={value}.")
    for place in named:
        if _plain(args[place]) not in have | _OF_ALL:
            flag = args[place].partition("=")[0]
            answer = _answer(args[place:], have, commands)
            raise ConfigError(f"{args[0]} has no {flag}{answer} `encore-ray {args[0]} --help` has all of its flags.")


def flags_of(command: type) -> set[str]:
    """The flags of a command: its fields that are not told by their place, and those of the sections among them."""
    names: set[str] = set()
    for name, hint in typing.get_type_hints(command, include_extras=True).items():
        metadata = getattr(hint, "__metadata__", ())
        made = next((made for each in metadata if (made := getattr(each, "constructor_factory", None))), None)
        section = _dataclass(hint)
        if made is not None:
            names.update(_flag(parameter) for parameter in inspect.signature(made()).parameters)
        elif section is not None:
            names |= flags_of(section)
        elif not any(each is tyro.conf.Positional for each in metadata):
            names.add(_flag(name))
    return names


def _answer(args: Sequence[str], have: set[str], commands: Mapping[str, type]) -> str:
    """What to say behind the name of a flag.

    Args:
        args: the flag and what follows it.
    """
    flag, _, value = args[0].partition("=")
    flag = _plain(flag)
    if ours := other_name(flag, have):
        return f": it is {ours} here."
    follows = value or next((arg for arg in args[1:2] if not arg.startswith("-")), "")
    if options := _options_of_a_job(flag, follows) if "--set" in have else []:
        return f": an option of the job's file goes behind --set, as {' or '.join(options)}."
    if close := difflib.get_close_matches(flag, have, n=1, cutoff=_CLOSE):
        return f": did you mean {close[0]}?"
    others = [name for name, command in commands.items() if flag in flags_of(command)]
    return f", which {' and '.join(others)} {'have' if others[1:] else 'has'}." if others else "."


def _options_of_a_job(flag: str, value: str) -> list[str]:
    """The options of a job's file that a flag of a single command is called as, each as it is set."""
    option = flag.removeprefix("--").replace("-", "_")
    owners = {f"{section}.": SECTIONS[section] for section in _OF_JOBS} | {"": JobConfig}
    fields = {f"{prefix}{option}": owner.model_fields.get(option) for prefix, owner in owners.items()}
    return [
        f"--set {name}={value or ('true' if field.annotation is bool else 'VALUE')}"
        for name, field in fields.items()
        if field is not None and name not in SECTIONS
    ]


def _dataclass(hint: Any) -> type | None:
    """The group of flags among the types of a field; None where the field is a flag itself."""
    if isinstance(hint, type) and is_dataclass(hint):
        return hint
    return next(filter(None, map(_dataclass, typing.get_args(hint))), None)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _plain(arg: str) -> str:
    """The name of a flag as it is listed; "" for what is none."""
    return arg.partition("=")[0].replace("_", "-") if arg.startswith("--") else ""
