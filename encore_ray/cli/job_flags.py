"""Flags of commands on a whole job: its file, or what one is drafted of, and what is put over it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from encore_ray.cli.flags import OptionalPathFlag, Switch, flag
from encore_ray.cli.inputs import InputColumnFlags, InputColumns
from encore_ray.config import JobConfig
from encore_ray.config.sources import assigned_values, load_config
from encore_ray.errors import ConfigError
from encore_ray.shell import command, near
from encore_ray.storage import absolute, is_remote

if TYPE_CHECKING:
    from encore_ray.drafts.files import Draft

_OF_CORPORA = (".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".arrow", ".feather")  # endings; JSON may be a job
JobFile = tyro.conf.Positional[Annotated[str, flag("CONFIG.yaml")]]


@dataclass(frozen=True, kw_only=True)
class Job:
    """A command on the configuration of a job."""

    run: OptionalPathFlag = None
    """Run folder, instead of the one in the file."""
    set: Annotated[tyro.conf.UseAppendAction[list[str]], tyro.conf.arg(metavar="OPTION=VALUE")] = field(
        default_factory=list
    )
    """Any option of the file, as in --set weigh.temperature=1; several may follow one --set."""

    def over(self) -> dict[str, Any]:
        """What flags put over the file."""
        flags = assigned_values(self.set)
        if self.run is not None:
            flags["run"] = self.run
        return flags

    def over_words(self) -> list[str]:
        """The same as one would type it."""
        where = [] if self.run is None else ["--run", self.run]
        return [*where, *(word for each in self.set for word in ("--set", each))]


@dataclass(frozen=True, kw_only=True)
class WholeJob(Job):
    """A command that runs all of a job."""

    limit: Annotated[int | None, flag("N")] = None
    """Try the job on about so many pairs in a folder of its own, then say how long and how much the whole takes."""
    overwrite: Switch = False
    """Redo what was made from other inputs, models, rules or options, instead of refusing."""


@dataclass(frozen=True)
class Drafted:
    """A job's file that is drafted of flags.

    Attributes:
        draft: it, and the rules beside it.
        folder: where it goes.
    """

    draft: "Draft"
    folder: str

    @property
    def path(self) -> str:
        return os.path.join(self.folder, self.draft.name)

    def look(self) -> Iterator[str]:
        """What it was made of, and where it would be written; ConfigError where it cannot be."""
        yield from self.draft.found
        yield from (f"guessed: {note}" for note in self.draft.guessed)
        self.draft.refuse_others(self.folder)
        yield f"run would write {' and '.join(self.draft.files)} to {self.folder}"


@dataclass(frozen=True, kw_only=True)
class AnyJob(Job):
    """A command on a job's file, or on one that is drafted of what the command line names."""

    config: tyro.conf.Positional[Annotated[str | None, flag("CONFIG.yaml")]] = None
    """The job's YAML file; docs/configuration.md has its keys."""
    input: Annotated[list[str], flag("PATH")] = field(default_factory=list)
    """Without a file: corpora, as files, folders, globs or URLs."""
    model: OptionalPathFlag = None
    """Without a file: a multi-head reward model, as a folder, hub id or URL."""
    judge: Annotated[str | None, flag("PATH|URL")] = None
    """Without a file: a language model or an API that rates under each rule."""
    rules: OptionalPathFlag = None
    """Without a file: rules.yaml. Default: the model's own, or one that is drafted."""
    columns: InputColumnFlags = InputColumns()

    def drafted(self, name: str) -> Drafted | None:
        """The file that is drafted for what the flags name, not yet written; None where a file is named.

        Args:
            name: of the command.

        Raises:
            ConfigError: neither a file nor corpora are named, or both; or a table of scores. Others as of `draft`.
        """
        parts = {"input": self.input, "model": self.model, "judge": self.judge, "rules": self.rules}
        parts |= {"map": self.columns.map, "chosen-if": self.columns.chosen_if}
        named = [flag for flag, value in parts.items() if value]
        if self.config is not None:
            if named:
                raise ConfigError(f"{name} takes a CONFIG.yaml, or --{' and --'.join(named)}, not both.")
            if self.config.removesuffix(".gz").endswith(_OF_CORPORA):
                line = command("encore-ray", name, "--input", near(self.config), *self.over_words())
                raise ConfigError(f"{self.config} is a corpus, and no job's file. Name it by --input:\n  {line}")
            return None
        if not self.input:
            raise ConfigError(f"{name} needs a CONFIG.yaml, or --input with --model or --judge. `init` drafts a file.")
        from encore_ray.drafts.draft import draft, wanted_of
        from encore_ray.drafts.files import Names

        place = absolute(self.run or "run")
        wanted = wanted_of(
            self.columns.inputs(self.input), model=self.model, judge=self.judge, rules=self.rules, run=place
        )
        folder, stem = os.path.split(place) if not is_remote(place) else (os.getcwd(), place.rpartition("/")[2])
        made = draft(wanted, Names(folder, f"{stem}.yaml"))
        if made.verb != "run":
            raise ConfigError(f"{self.input[0]} is a table of scores, of which there is nothing to score: `init` it.")
        return Drafted(made, folder)

    def words(self) -> list[str]:
        """What names the job, as one would type it."""
        if self.config is not None:
            return [near(self.config), *self.over_words()]
        flags = {"model": self.model, "judge": self.judge, "rules": self.rules, "chosen-if": self.columns.chosen_if}
        said = [word for flag, value in flags.items() if value for word in (f"--{flag}", value)]
        mapped = ["--map", *self.columns.map] if self.columns.map else []
        return ["--input", *self.input, *said, *mapped, *self.over_words()]


@contextmanager
def unwritten(drafted: Drafted, flags: dict[str, Any]) -> Iterator[JobConfig]:
    """The configuration of a drafted file that is not written to its place, for as long as the block lasts.

    Args:
        flags: what is put over it.
    """
    with TemporaryDirectory(prefix="encore-ray-") as scratch:
        drafted.draft.write(scratch)
        path, *rules = (os.path.join(scratch, name) for name in drafted.draft.files)
        yield load_config(path, flags={**({"rules": rules[0]} if rules else {}), **flags}, base=drafted.folder)
