"""How a person calls us, from a shell or from a program, and in whose words options are told.

A message says what to give in the words of who asked: a flag to a command, a keyword argument to a function on tables,
a key of the configuration to a program that runs jobs.
"""

import contextlib
import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Protocol

Value = str | float | bool | Mapping[str, str] | None  # of an option; None: it is only named

_JOBS = ("run", "check", "submit")  # commands whose options are those of a file
_ARGUMENTS = {"map": "columns"}  # flags that functions call otherwise
_SIDES = ("chosen", "rejected")


class _Caller(Protocol):
    """Who asked."""

    @property
    def called(self) -> str: ...

    def option(self, name: str, value: Value, section: str) -> str: ...

    def options(self, values: Mapping[str, Value]) -> str: ...

    def again(self, values: Mapping[str, Value], section: str) -> str: ...


@dataclass(frozen=True)
class _Program:
    """A program that runs jobs: options are keys of the configuration."""

    called: str = "Python"

    def option(self, name: str, value: Value, section: str) -> str:
        key = f"{section}.{name}" if section else name
        if value is True and not section:
            return f"{key}=True"  # of the call
        return key if value is None else f"{key}: {value}"

    def options(self, values: Mapping[str, Value]) -> str:
        return ", ".join(self.option(name, value, "") for name, value in values.items())

    def again(self, values: Mapping[str, Value], section: str) -> str:
        return ", ".join(self.option(name, value, section) for name, value in values.items())


class Word(str):
    """What stands for a value in a call that is told, as it is."""

    __repr__ = str.__str__


@dataclass(frozen=True)
class _Function(_Program):
    """A function on tables: options are keyword arguments.

    Attributes:
        call: its beginning, as "weigh(scores".
        given: arguments that were given, by name.
    """

    call: str = ""
    given: Mapping[str, object] = field(default_factory=dict)

    def option(self, name: str, value: Value, section: str) -> str:
        if section:
            return f"`{name}` of `options`" if value is None else f"`options={{{name!r}: {value!r}}}`"
        if name == "rules" and self.call.startswith("compose"):
            return "`rules` of `encore_ray.weigh`"  # weights have all of their rules
        name = _ARGUMENTS.get(name, name)
        return f"`{name}`" if value is None else f"{name}={value!r}"

    def again(self, values: Mapping[str, Value], section: str) -> str:
        new = {"options": dict(values)} if section else {_ARGUMENTS.get(name, name): values[name] for name in values}
        for name, value in new.items():
            before = self.given.get(name)
            if isinstance(before, Mapping) and isinstance(value, Mapping):
                new[name] = {**before, **value}
        told = {**self.given, **new}
        return f"encore_ray.{', '.join([self.call, *(f'{name}={value!r}' for name, value in told.items())])})"


@dataclass(frozen=True)
class _Beside(_Program):
    """A table beside that of the scores, whose columns nobody can name: they are to be called as ours."""

    def option(self, name: str, value: Value, section: str) -> str:
        if name == "rules":
            return "a rules.yaml beside it"
        ours = f"{{rule}}_{name}" if name in _SIDES else name
        return f"`{ours}`" if value is None else f"{value} as {ours}"

    def again(self, values: Mapping[str, Value], section: str) -> str:
        named = [(name, value) for name, value in values.items() if not isinstance(value, Mapping)]
        others = [
            (name, column) for value in values.values() if isinstance(value, Mapping) for name, column in value.items()
        ]
        return f"rename {' and '.join(self.option(name, value, '') for name, value in [*named, *others])}"


@dataclass(frozen=True)
class _Command:
    """A command line: options are flags."""

    words: tuple[str, ...]

    @property
    def called(self) -> str:
        return shlex.join(["encore-ray", *self.words])

    @property
    def is_of_job(self) -> bool:
        return self.words[:1] != () and self.words[0] in _JOBS

    def option(self, name: str, value: Value, section: str) -> str:
        if self.is_of_job and (section or value is not True):
            return shlex.join(_set(name, value, section))
        return shlex.join(flag_words(name, value))

    def options(self, values: Mapping[str, Value]) -> str:
        return " ".join(self.option(name, value, "") for name, value in values.items())

    def again(self, values: Mapping[str, Value], section: str) -> str:
        words = list(self.words)
        for name, value in values.items():
            if self.is_of_job and (section or value is not True):
                words += _set(name, value, section)
                continue
            words, before = _without(words, _name_of(name), has_values=value is not True)
            if isinstance(value, Mapping):
                value = {**dict(word.split("=", 1) for word in before if "=" in word), **value}
            words += flag_words(name, value)
        return command("encore-ray", *words)


_PROGRAM: _Caller = _Program()
_CALLER: ContextVar[_Caller] = ContextVar("caller", default=_PROGRAM)


def option(name: str, value: Value = None, *, section: str = "") -> str:
    """An option as who asked gives it.

    Args:
        name: of the flag, with underscores.
        value: True for a flag that is given without one; a mapping for NAME=VALUE; None names the option alone.
        section: of the configuration that it is of, as "weigh"; "" for one of a command itself.
    """
    return _CALLER.get().option(name, value, section)


def options(**values: Value) -> str:
    """Several options, as `option` tells each, in one piece to paste."""
    return _CALLER.get().options(values)


def again(*, section: str = "", **values: Value) -> str:
    """What was called, with these options in place of its own: a line to paste; arguments as of `option`."""
    return _CALLER.get().again(values, section)


def to_paste(*, section: str = "", **values: Value) -> str:
    """The end of a sentence on what to do: the line of `again` on its own, where a command or a function was called."""
    return f":\n  {again(section=section, **values)}" if is_called() else "."


def is_called() -> bool:
    """Whether a command or a function of ours was called, so that there is a line to give again."""
    return _CALLER.get() is not _PROGRAM


def command(*words: str) -> str:
    """A command line to paste, e.g. command("mlflow", "ui") or command("python", "-c", "...").

    The path of a program beside this interpreter is used where the shell would not find it, as after `make demo`
    without activating `.venv`, or would find another installation's.
    """
    bin_folder = os.path.dirname(sys.executable)
    script = sys.executable if words[0] == "python" else os.path.join(bin_folder, words[0])
    if os.path.exists(script) and not _is_in(bin_folder, shutil.which(words[0])):
        short = os.path.relpath(script)
        words = (short if len(short) < len(script) else script, *words[1:])
    return shlex.join(words)


def _is_in(folder: str, found: str | None) -> bool:
    """Whether a program lies in this folder: it may be a link to one elsewhere, as a venv's interpreter is."""
    return found is not None and os.path.realpath(os.path.dirname(found)) == os.path.realpath(folder)


def near(path: str) -> str:
    """A path as a person here would type it: relative where it lies below this folder; a URL as it is."""
    relative = os.path.relpath(path) if path.startswith("/") else path
    return path if relative.startswith("..") else relative


@contextlib.contextmanager
def called_as(words: Sequence[str]) -> Iterator[None]:
    """While it lasts, a command of ours with these words is at work."""
    with _asked_by(_Command(tuple(words))):
        yield


@contextlib.contextmanager
def called_on_tables(call: str, **given: object) -> Iterator[None]:
    """While it lasts, a function of ours on tables is at work.

    Args:
        call: its beginning, as "weigh(scores".
        given: arguments that were given; None for those that were not.
    """
    with _asked_by(_Function(call=call, given={name: value for name, value in given.items() if value is not None})):
        yield


@contextlib.contextmanager
def reading_beside() -> Iterator[None]:
    """While it lasts, a table is read whose columns nobody can name."""
    with _asked_by(_Beside()):
        yield


@contextlib.contextmanager
def _asked_by(caller: _Caller) -> Iterator[None]:
    token = _CALLER.set(caller)
    try:
        yield
    finally:
        _CALLER.reset(token)


def called() -> str:
    """The command line of ours that is at work; Python where it is somebody's own program."""
    return _CALLER.get().called


def _name_of(option: str) -> str:
    return f"--{option.replace('_', '-')}"


def _set(name: str, value: Value, section: str) -> list[str]:
    key = f"{section}.{name}" if section else name
    return ["--set", key if value is None else f"{key}={'true' if value is True else value}"]


def flag_words(name: str, value: Value) -> list[str]:
    """An option as the words of a command line; arguments as of `option`."""
    if value is None or value is True:
        return [_name_of(name)]
    if isinstance(value, Mapping):
        return [_name_of(name), *(f"{key}={own}" for key, own in value.items())]
    return [_name_of(name), f"{value:g}" if isinstance(value, float) else str(value)]


def _without(words: Sequence[str], flag: str, *, has_values: bool) -> tuple[list[str], list[str]]:
    """A command line without a flag and its values, and these values."""
    left: list[str] = []
    values: list[str] = []
    is_its = False
    for word in words:
        if word == flag or word.startswith(f"{flag}="):
            is_its = has_values and word == flag
            values += [word.removeprefix(f"{flag}=")] if word != flag else []
        elif is_its and not word.startswith("-"):
            values.append(word)
        else:
            is_its = False
            left.append(word)
    return left, values
