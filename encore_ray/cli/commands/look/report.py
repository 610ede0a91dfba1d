"""The command that makes a run's page, or one of several runs, and opens it."""

import webbrowser
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from encore_ray.cli.flags import OptionalPathFlag, Switch, flag
from encore_ray.cli.screen import Screen, ScreenFlags
from encore_ray.config import ClusterOptions, TrackingOptions
from encore_ray.config.sources import section_defaults
from encore_ray.console.ending import Ending, next_step
from encore_ray.errors import ConfigError
from encore_ray.shell import near
from encore_ray.storage import Folder, absolute, require_paths

SIDE_BY_SIDE = "side-by-side.html"


@dataclass(frozen=True, kw_only=True)
class Report:
    """Make the page of a run, or of several runs side by side, and open it.

    What the passes have made by now is shown; nothing is scored or weighed.

    Of several runs: what differs first, then decisions, weights, subsets and weightings.

    Example: encore-ray report runs/first --open
    """

    runs: tyro.conf.Positional[Annotated[list[str], flag("RUN")]]
    """Run folders."""
    output: OptionalPathFlag = None
    """Of several runs: the file. Default: side-by-side.html in the folder where the command is given."""
    open: Switch = False
    """Open the page in the browser."""
    screen: ScreenFlags = Screen()

    def main(self, console: Console) -> Ending:
        if not self.runs:
            raise ConfigError("report needs a run folder, or several to set side by side.")
        runs = [Folder(absolute(run)) for run in self.runs]
        require_paths([run.uri for run in runs])
        _require_results(runs)
        page = self._several(runs) if len(runs) > 1 else self._one(runs[0], console)
        opened = self.open and _show(page)
        refused = ["No browser could be opened from here: open the file yourself."] if self.open and not opened else []
        for line in refused:
            console.print(line)
        named = [near(run.uri) for run in runs]
        what = named[0] if len(named) == 1 else f"{len(named)} runs side by side"
        steps = [next_step("look at what it shows", "inspect", f"{named[0]}/{_first_result(runs[0])}")]
        if not opened:
            again = [*named, *(["--output", near(page)] if len(named) > 1 else []), "--open"]
            steps.insert(0, next_step("open it in the browser", "report", *again))
        content = {"page": page, "runs": [run.uri for run in runs]}
        return Ending(f"The page of {what} is {near(page)}.", steps, content, warnings=refused)

    def _one(self, run: Folder, console: Console) -> str:
        from encore_ray.passes.report import write_report
        from encore_ray.run import hold_run
        from encore_ray.schema import REPORT_FILE

        if self.output is not None:
            raise ConfigError(f"--output is of several runs: the page of one is {run.path(REPORT_FILE)}.")
        cluster, untracked = section_defaults(ClusterOptions), TrackingOptions(enabled=False)
        with hold_run(run, cluster=cluster, tracking=untracked, params={}, console=console) as opened:
            write_report(opened)
        return run.path(REPORT_FILE)

    def _several(self, runs: list[Folder]) -> str:
        from encore_ray.passes.report import make_side_by_side

        folder, _, name = absolute(self.output or SIDE_BY_SIDE).rpartition("/")
        Folder(folder or "/").write_atomic(name, make_side_by_side(runs))
        return f"{folder}/{name}"


def _require_results(runs: list[Folder]) -> None:
    """ConfigError where a folder holds nothing that a page could show."""
    for run in runs:
        if _first_result(run) is None:
            raise ConfigError(f"{run.uri} holds no results of encore-ray: name a run folder, as `run` in a job's file.")


def _first_result(run: Folder) -> str | None:
    """The first file or folder of results that a folder has; None without any."""
    from encore_ray.schema import COMPARISON_FILE, METRICS_FILE, PAIRS_DIR, WEIGHTS_FILE

    return next((name for name in (WEIGHTS_FILE, METRICS_FILE, COMPARISON_FILE, PAIRS_DIR) if run.exists(name)), None)


def _show(page: str) -> bool:
    """Whether a browser took the page."""
    return webbrowser.open(page if "://" in page else Path(page).as_uri())
