"""Commands that run whole jobs."""

import os
from dataclasses import dataclass, field
from typing import Annotated, Any

import tyro
from rich.console import Console

from encore_ray.cli.flags import OptionalPathFlag, PathFlag, Switch, flag
from encore_ray.cli.screen import Screen, ScreenFlags
from encore_ray.config.sources import assigned_values, load_config
from encore_ray.console.draft import show_draft
from encore_ray.console.ending import Ending
from encore_ray.console.terminal import Terminal
from encore_ray.errors import ConfigError
from encore_ray.shell import near
from encore_ray.storage import Folder, absolute, is_remote

JobFile = tyro.conf.Positional[Annotated[str, flag("CONFIG.yaml")]]


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Run the whole job on a planted corpus with a small model that is trained on the spot.

    Needs no download and no GPU; about three minutes on two cores.

    Example: encore-ray demo --pairs 1024
    """

    folder: PathFlag = "demo-run"
    """Where everything goes."""
    pairs: int = 4096
    """Number of planted preference pairs."""
    screen: ScreenFlags = Screen()

    def main(self, console: Console) -> Ending:
        from encore_ray.console.job import job_ending
        from encore_ray.demo import run_demo

        made = run_demo(Folder(absolute(self.folder)), num_pairs=self.pairs, console=console)
        return job_ending(made.result, again=["run", near(made.job)])


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


@dataclass(frozen=True, kw_only=True)
class Run(WholeJob):
    """Run a whole job, from prepare to compare. The same command again resumes it.

    Instead of a file, --input names corpora, and --model or --judge who scores them.

    A file is then drafted beside the run folder, as `encore-ray init` does it, and run.

    Example: encore-ray run job.yaml --set weigh.temperature=1
    """

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
    screen: ScreenFlags = Screen()

    def _file(self) -> str:
        """The job's file: the one that is named, or one that is drafted for what the flags name."""
        named = [name for name in ("input", "model", "judge", "rules") if getattr(self, name)]
        if self.config is None:
            return self._drafted()
        if named:
            raise ConfigError(f"run takes a CONFIG.yaml, or --{' and --'.join(named)}, not both.")
        return self.config

    def _drafted(self) -> str:
        """The path of a file that is drafted for what the flags name."""
        if not self.input:
            raise ConfigError("run needs a CONFIG.yaml, or --input with --model or --judge. `init` drafts a file.")
        from encore_ray.drafts.draft import draft, wanted_of
        from encore_ray.drafts.files import Names

        place = absolute(self.run or "run")
        wanted = wanted_of(self.input, model=self.model, judge=self.judge, rules=self.rules, run=place)
        folder, name = os.path.split(place) if not is_remote(place) else (os.getcwd(), place.rpartition("/")[2])
        made = draft(wanted, Names(folder, f"{name}.yaml"))
        if made.verb != "run":
            raise ConfigError(f"{self.input[0]} is a table of scores, of which there is nothing to score: `init` it.")
        made.write(folder, overwrite=self.overwrite)
        show_draft(made, folder, Terminal(stderr=True))
        return os.path.join(folder, made.name)

    def main(self, console: Console) -> Ending:
        file = self._file()
        config = load_config(file, flags=self.over())
        from encore_ray.check.unsaid import find_unsaid
        from encore_ray.cli.commands.trial import run_trial, trial_ending
        from encore_ray.console.job import job_ending, tell_unsaid
        from encore_ray.console.show import show_job
        from encore_ray.job import run_job

        again = ["run", near(file), *self.over_words()]
        if self.limit is not None:
            result, estimate = run_trial(config, limit=self.limit, overwrite=self.overwrite, console=console)
            return trial_ending(result, estimate, whole=again)
        result = run_job(config, overwrite=self.overwrite, console=console)
        show_job(result, console=console)
        return job_ending(result, again=again, edit=tell_unsaid(near(file), find_unsaid(file, config, self.over())))
