"""Long pieces of work for a process of its own, some of which end it."""

import time
from pathlib import Path

from encore_ray.engine.on_ray.remote_call import Result, Send, Work
from encore_ray.errors import DataError
from encore_ray.passes.refine.fit_energies import FitMessage
from tests.passes.lethal import KILL, die


def dies_after_an_epoch(died: Path, work: Work[Result], send: Send) -> Result:
    """Do work that trains; the first process to come so far dies when it has told of its first epoch."""

    def tell(told: FitMessage) -> None:
        send(told)
        if "epoch 1" in told.sentence and not died.exists():
            died.touch()
            time.sleep(0.5)  # for the driver to hear of it
            die(KILL)

    return work(tell)


def dies_twice(folder: Path, send: Send) -> int:
    """Say how often it died before, and die until that is twice."""
    before = len(list(folder.iterdir()))
    send(before)
    time.sleep(0.5)  # for the driver to hear it
    if before < 2:
        (folder / str(before)).touch()
        die(KILL)
    return before


def dies(send: Send) -> None:
    die(KILL)


def says_nothing(send: Send) -> None:
    time.sleep(60)


def finds_bad_data(send: Send) -> None:
    raise DataError("row 7 is bad")
