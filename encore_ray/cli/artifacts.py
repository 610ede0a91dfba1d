"""Commands that look at what a run has made, and carry it elsewhere."""

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro
from rich.console import Console

from encore_ray.cli.flags import Path, Switch, flag
from encore_ray.config_sources import environment_values
from encore_ray.errors import ClusterError
from encore_ray.schema import REWARDS_DIR
from encore_ray.storage import Folder, absolute, require_paths


@dataclass(frozen=True, kw_only=True)
class Inspect:
    """Explain any artifact: a run, a table, weights.json, metrics.json, rules.yaml, a quarantine."""

    path: tyro.conf.Positional[Path]
    """File or folder."""

    def main(self, console: Console) -> None:
        from encore_ray.inspection import inspect_path

        inspect_path(absolute(self.path), console=console)


@dataclass(frozen=True, kw_only=True)
class Status:
    """Say how far a run is, from another terminal."""

    run: tyro.conf.Positional[Annotated[str, flag("RUN")]]
    """Run folder."""

    def main(self, console: Console) -> None:
        from encore_ray.passes.status import run_status
        from encore_ray.terminal import show_status

        show_status(run_status(Folder(absolute(self.run))), console=console)


@dataclass(frozen=True, kw_only=True)
class Track:
    """Deliver what a run recorded to MLflow, after a server was down or from a remote run folder.

    Safe to repeat: what has arrived is not sent again.
    """

    run: tyro.conf.Positional[Annotated[str, flag("RUN")]]
    """Run folder."""
    uri: Annotated[str | None, flag("URI")] = None
    """MLflow store. Default: MLFLOW_TRACKING_URI, else the one the run used."""

    def main(self, console: Console) -> None:
        from encore_ray.tracking import replay

        uri = self.uri or environment_values().get("tracking", {}).get("uri")
        report = replay(Folder(absolute(self.run)), uri=uri)
        if not report.complete:
            raise ClusterError(str(report))
        console.print(str(report), soft_wrap=True)


@dataclass(frozen=True, kw_only=True)
class Export:
    """Write composed rewards as a preference dataset that a trainer reads as it is."""

    run: Path
    """Run folder, after `compose`."""
    output: Path
    """Folder for the dataset."""
    format: Literal["trl", "openrlhf", "llamafactory"] = "trl"
    """The trainer that will read it."""
    on_negative_margin: Literal["keep", "drop", "swap"] = "keep"
    """What to do with pairs whose rejected response has the higher reward. They are counted."""
    overwrite: Switch = False
    """Replace a dataset that is there already."""

    def main(self, console: Console) -> None:
        run = Folder(absolute(self.run))
        require_paths([run.path(REWARDS_DIR)])
        from encore_ray.passes.export import export_rewards

        report = export_rewards(
            run,
            Folder(absolute(self.output)),
            layout=self.format,
            on_negative_margin=self.on_negative_margin,
            overwrite=self.overwrite,
        )
        console.print(str(report), soft_wrap=True)
