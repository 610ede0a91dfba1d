"""The demo command: a job on made-up data."""

from dataclasses import dataclass

from rich.console import Console

from encore_ray.cli.flags import PathFlag
from encore_ray.cli.screen import Screen, ScreenFlags
from encore_ray.console.ending import Ending
from encore_ray.shell import near
from encore_ray.storage import Folder, absolute


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
