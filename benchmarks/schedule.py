"""How many workers a driver keeps busy: a pass over units of fixed duration, on more and more workers.

python benchmarks/schedule.py --json schedule.json

The score pass with a scorer that only sleeps: units go over Ray Data to actors of two calls at a time, whose sleeps
take turns as forward passes do; each unit writes a small file and its commit record. Workers are logical, so that one
machine stands for a cluster; but its processors start all of them and run the driver, which a cluster's head does
alone.

- efficiency: the share of the time in which a worker sleeps, from when the last worker has begun its first unit until
  the first one runs out of units.
- driver's limit: the rate, in units a second, at which units of next to no duration pass through the most workers.
  That many units a second, times the seconds of a unit, is how many workers one driver can feed.
- resuming: seconds and memory to list and read so many commit records, as the same command does when it resumes.
"""

import argparse
import logging
import os
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import psutil
import pyarrow as pa
import ray

from benchmarks.tables import machine, show, write_json
from encore_ray.config import ClusterOptions
from encore_ray.engine.on_ray.cluster import WORKER_ENV, cluster, resources
from encore_ray.engine.on_ray.engine import RayEngine
from encore_ray.engine.pools import ActorPool
from encore_ray.engine.progress import ignore_progress
from encore_ray.engine.work.run_units import run_units
from encore_ray.engine.work.unit_work import Task
from encore_ray.folder.attempt import Attempt
from encore_ray.folder.pass_table import PassTable
from encore_ray.folder.protocol.commits import Commit, DataFile
from encore_ray.schema import COMMITS_DIR, DATA_DIR
from encore_ray.storage import Folder

BUSY = "busy"
ACTOR_CPUS = 0.9
SHORT_S = 0.001


class Sleep:
    """The work of one worker: sleeps as long as a unit takes, one call at a time."""

    def __init__(self) -> None:
        self._device = threading.Lock()
        self._name = f"{os.getpid()}"

    def __call__(self, seconds: float, attempt: Attempt) -> Mapping[str, int]:
        with self._device:
            start = time.time()
            time.sleep(seconds)
            attempt.notes[BUSY] = [self._name, start, time.time()]
        attempt.write(pa.table({"row": [0]}))
        return {"rows": 1}


@dataclass(frozen=True)
class Span:
    """One unit on one worker, in seconds since the epoch."""

    worker: str
    start: float
    end: float


@dataclass(frozen=True)
class Run:
    """A pass over units of fixed duration.

    Attributes:
        spans: when each unit ran. wall_s: of the pass, from its call to its return.
    """

    spans: Sequence[Span]
    wall_s: float

    @property
    def num_workers(self) -> int:
        return len({span.worker for span in self.spans})

    @property
    def efficiency(self) -> float:
        """Share of the workers' time that they sleep, while all of them have units."""
        of_worker: dict[str, list[Span]] = defaultdict(list)
        for span in self.spans:
            of_worker[span.worker].append(span)
        begin = max(min(span.start for span in spans) for spans in of_worker.values())
        end = min(max(span.end for span in spans) for spans in of_worker.values())
        busy = sum(max(min(span.end, end) - max(span.start, begin), 0.0) for span in self.spans)
        return busy / (len(of_worker) * (end - begin)) if end > begin else 0.0

    @property
    def units_per_s(self) -> float:
        """Rate over the middle half of the units, by the order in which they ended."""
        ends = sorted(span.end for span in self.spans)
        low, high = len(ends) // 4, 3 * len(ends) // 4
        return (high - low) / (ends[high] - ends[low])


def run_pass(folder: Path, *, num_units: int, num_workers: int, seconds: float) -> Run:
    """Run units of so many seconds on so many workers."""
    run = Folder(str(folder))
    table = PassTable(run.child("scores"), run, "score").open({"seconds": seconds})
    tasks = [Task(f"{number:06d}", "none", 1, seconds, "nothing") for number in range(num_units)]
    pool = ActorPool(num_workers, num_workers, ACTOR_CPUS, 0.0, calls_at_a_time=2)
    clock = time.perf_counter()
    engine = RayEngine(resources(), visible=None)
    commits = run_units(table, tasks, Sleep, engine=lambda: engine, watch=ignore_progress, pool=lambda _: pool)
    wall_s = time.perf_counter() - clock
    if len(commits) != num_units:
        sys.exit(f"Of {num_units} units only {len(commits)} were committed.")
    return Run([Span(*commit.notes[BUSY]) for commit in commits.values()], wall_s)


def write_commits(table: PassTable, number: int) -> None:
    """So many commit records, as a pass of that many units leaves them."""
    Path(table.folder.uri, COMMITS_DIR).mkdir(parents=True)
    for index in range(number):
        unit = f"{index:06d}"
        file = DataFile(unit, f"{DATA_DIR}/{unit}-00000000.parquet", 512, "0" * 64)
        commit = Commit(unit, table.plan, "0" * 64, (file,), None, {"rows": 512, "scored": 512}, {}, 2.0, 1.8e9)
        Path(table.folder.uri, table.record(unit, commit.input_digest)).write_bytes(commit.to_json())


def measure_listing(folder: Path, number: int) -> dict[str, float]:
    """Seconds and MiB of reading so many commit records."""
    run = Folder(str(folder))
    table = PassTable(run.child("scores"), run, "score").open({"units": number})
    write_commits(table, number)
    process = psutil.Process()
    before, clock = process.memory_info().rss, time.perf_counter()
    commits = table.commits()
    seconds = time.perf_counter() - clock
    assert len(commits) == number
    return {"commits": number, "seconds": seconds, "mib": (process.memory_info().rss - before) / 2**20}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32])
    parser.add_argument("--seconds", type=float, default=2.0, help="Duration of a unit.")
    parser.add_argument("--units-per-worker", type=int, default=10)
    parser.add_argument("--short-units", type=int, default=10_000, help="Units of the run at the driver's limit.")
    parser.add_argument("--commits", type=int, nargs="+", default=[10_000, 100_000], help="Records to list.")
    parser.add_argument("--json", type=Path, help="Write the figures to this file.")
    options = parser.parse_args(arguments)
    most = max(options.workers)
    os.environ.update(WORKER_ENV, RAY_BACKEND_LOG_LEVEL="fatal")
    ray.init(
        address="local", num_cpus=most + 1, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False
    )
    found: dict[str, Any] = {"seconds": options.seconds, "efficiency": {}}
    with tempfile.TemporaryDirectory() as name, cluster(ClusterOptions(no_progress_timeout_s=300)):
        folder = Path(name)
        rows = []
        for number in options.workers:
            num_units = number * options.units_per_worker
            run = run_pass(folder / f"{number}", num_units=num_units, num_workers=number, seconds=options.seconds)
            found["efficiency"][str(number)] = run.efficiency
            beside_s = run.wall_s - options.seconds * options.units_per_worker
            rows.append([f"{run.num_workers}", f"{num_units:,}", f"{run.efficiency:.1%}", f"{beside_s:.1f}"])
            print(f"{run.num_workers} workers: {run.efficiency:.1%}", flush=True)
        show(["workers", "units", "efficiency", "start and end, s"], rows)
        short = run_pass(folder / "short", num_units=options.short_units, num_workers=most, seconds=SHORT_S)
        found["driver_units_per_s"] = short.units_per_s
        feeds = short.units_per_s * options.seconds
        print(
            f"{options.short_units:,} units of {SHORT_S:g} s on {short.num_workers} workers: {short.units_per_s:.0f} "
            f"units a second, enough for {feeds:.0f} workers with units of {options.seconds:g} s."
        )
        found["listing"] = [measure_listing(folder / f"listing-{number}", number) for number in options.commits]
        rows = [[f"{of['commits']:,}", f"{of['seconds']:.2f}", f"{of['mib']:.0f}"] for of in found["listing"]]
        show(["commit records", "seconds to read", "MiB"], rows)
    ray.shutdown()
    print(f"{machine()}; ray {ray.__version__}; load {os.getloadavg()[0]:.1f}")
    write_json(options.json, found)


if __name__ == "__main__":
    main()
