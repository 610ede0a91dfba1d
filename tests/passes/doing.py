"""Single passes in a run folder, as a command does them: untracked, unseen, and in this process unless told."""

from contextlib import AbstractContextManager
from typing import Literal

from encore_ray.config import ClusterOptions, TrackingOptions
from encore_ray.run import Result, Run, hold_run
from encore_ray.step import Step
from encore_ray.storage import Folder

TIMEOUT_S = 300


def run_in(
    folder: Folder, *, engine: Literal["auto", "local", "ray"] = "local", overwrite: bool = False
) -> AbstractContextManager[Run]:
    """A run in a folder."""
    return hold_run(
        folder,
        cluster=ClusterOptions(engine=engine, no_progress_timeout_s=TIMEOUT_S),
        tracking=TrackingOptions(enabled=False),
        params={},
        overwrite=overwrite,
    )


def do(
    folder: Folder, step: Step[Result], *, engine: Literal["auto", "local", "ray"] = "local", overwrite: bool = False
) -> Result:
    """What one pass makes in a run folder."""
    with run_in(folder, engine=engine, overwrite=overwrite) as run:
        return run.do(step)
