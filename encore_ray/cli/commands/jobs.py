"""Commands that run whole jobs."""

from dataclasses import dataclass, field
from typing import Annotated

import tyro
from rich.console import Console

from encore_ray.cli.flags import OptionalPathFlag, PathFlag, Switch, flag
from encore_ray.config.sources import assigned_values, load_config
from encore_ray.storage import Folder, absolute


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Run the whole job on a planted corpus with a small model that is trained on the spot.

    Needs no download and no GPU; about three minutes on two cores.
    """

    folder: PathFlag = "demo-run"
    """Where everything goes."""
    pairs: int = 4096
    """Number of planted preference pairs."""

    def main(self, console: Console) -> None:
        from encore_ray.demo import run_demo

        run_demo(Folder(absolute(self.folder)), num_pairs=self.pairs, console=console)


@dataclass(frozen=True, kw_only=True)
class Run:
    """Run a whole job, from prepare to compare. The same command again resumes it."""

    config: tyro.conf.Positional[Annotated[str, flag("CONFIG.yaml")]]
    """The job's YAML file; docs/configuration.md has its keys."""
    run: OptionalPathFlag = None
    """Run folder, instead of the one in the file."""
    limit: Annotated[int | None, flag("N")] = None
    """Try the job on about so many pairs in a folder of its own, then say how long and how much the whole takes."""
    overwrite: Switch = False
    """Redo what was made from other inputs, models, rules or options, instead of refusing."""
    set: Annotated[tyro.conf.UseAppendAction[list[str]], tyro.conf.arg(metavar="OPTION=VALUE")] = field(
        default_factory=list
    )
    """Any option of the file, as in --set weigh.temperature=1; several may follow one --set."""

    def main(self, console: Console) -> None:
        flags = assigned_values(self.set)
        if self.run is not None:
            flags["run"] = self.run
        config = load_config(self.config, flags=flags)
        from encore_ray.cli.commands.trial import run_trial
        from encore_ray.console.show import show_job
        from encore_ray.job import run_job

        if self.limit is not None:
            run_trial(config, limit=self.limit, overwrite=self.overwrite, console=console)
            return
        show_job(run_job(config, overwrite=self.overwrite, console=console), console=console)
