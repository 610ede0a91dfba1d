"""The track command: records of a run, sent to MLflow."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.console import Console

from encore_ray.cli.flags import flag
from encore_ray.cli.screen import Screen, ScreenFlags
from encore_ray.config.sources import environment_values
from encore_ray.console.ending import Ending, NextStep
from encore_ray.errors import ClusterError
from encore_ray.storage import Folder, absolute, require_paths

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, kw_only=True)
class Track:
    """Deliver what a run recorded to MLflow, after a server was down or from a remote run folder.

    Safe to repeat: what has arrived is not sent again.

    Example: encore-ray track runs/first --uri http://mlflow.example:5000
    """

    run: tyro.conf.Positional[Annotated[str, flag("RUN")]]
    """Run folder."""
    uri: Annotated[str | None, flag("URI")] = None
    """MLflow store. Default: MLFLOW_TRACKING_URI, else the one the run used."""
    screen: ScreenFlags = Screen()

    def main(self, console: Console) -> Ending:
        from encore_ray.tracking import how_to_open, is_server, replay

        require_paths([absolute(self.run)])
        uri = self.uri or environment_values().get("tracking", {}).get("uri")
        report = replay(Folder(absolute(self.run)), uri=uri)
        if not report.complete:
            raise ClusterError(str(report))
        place = how_to_open(report.uri)
        open_it = NextStep("open it in a browser" if is_server(report.uri) else "serve it to a browser", place)
        return Ending(str(report), [open_it], vars(report))
