"""What is told of a pass while its units are done."""

import time
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from encore_ray.engine.local import LocalEngine
from encore_ray.engine.pools import TaskPool
from encore_ray.engine.progress import Progress
from encore_ray.engine.work.run_units import run_units
from encore_ray.engine.work.unit_work import Task
from encore_ray.folder.attempt import Attempt
from encore_ray.folder.pass_table import pass_table
from encore_ray.folder.spec import SCORE
from encore_ray.storage import Folder

START_S, NUM_UNITS = 0.5, 4


class SlowToStart:
    """Work that takes no time, by a worker that takes half a second to start, as one that loads a model does."""

    def __init__(self) -> None:
        time.sleep(START_S)

    def __call__(self, unit: int, attempt: Attempt) -> Mapping[str, int]:
        attempt.write(pa.table({"pair_id": [str(unit)]}))
        return {"rows": 1}


def test_a_rate_leaves_out_what_the_workers_took_to_start(tmp_path: Path) -> None:
    table = pass_table(Folder(str(tmp_path)), SCORE).open({})
    tasks = [Task(f"u{n}", f"d{n}", 1, n, f"unit {n}") for n in range(NUM_UNITS)]
    told: list[Progress] = []
    began = time.monotonic()
    run_units(table, tasks, SlowToStart, engine=LocalEngine, watch=told.append, pool=lambda num: TaskPool(1, 1.0))
    took = time.monotonic() - began
    assert (told[0].done_units, told[-1].done_units) == (0, NUM_UNITS)
    assert took > START_S
    assert told[-1].seconds <= took - START_S
