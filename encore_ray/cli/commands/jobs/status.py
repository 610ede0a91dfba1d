"""The status command: how far a run is."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.console import Console

from encore_ray.cli.flags import flag
from encore_ray.cli.screen import Screen, ScreenFlags
from encore_ray.console.ending import Ending
from encore_ray.storage import Folder, absolute

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, kw_only=True)
class Status:
    """Say how far a run is and which process works on it, from another terminal.

    Example: encore-ray status runs/first
    """

    run: tyro.conf.Positional[Annotated[str, flag("RUN")]]
    """Run folder."""
    screen: ScreenFlags = Screen()

    def main(self, console: Console) -> Ending:
        from encore_ray.console.sentences import tell_status
        from encore_ray.console.show import show_driver, show_status
        from encore_ray.console.steps import run_steps
        from encore_ray.folder.driver.lock import driver_of
        from encore_ray.folder.status import run_status

        run = Folder(absolute(self.run))
        statuses, driver = run_status(run), driver_of(run)
        show_status(statuses, console=console)
        show_driver(driver, console=console)
        return Ending(
            tell_status(statuses, driver),
            run_steps(self.run, statuses, driver),
            {"run": run.uri, "driver": driver, "passes": [status.to_dict() for status in statuses]},
        )
