"""python benchmarks/scale.py --json scale.json

One whole job over ten million pairs that carry their ratings, and over one million: what each pass takes, and how much
memory its processes hold. The corpora are planted (Parquet, ten rules, files of a million rows) and deleted after.

A job is done by a process of its own, pass by pass as `encore-ray run` does it, tracked in MLflow on sqlite, its units
by Ray (`--engine local`: in that process). Five times a second, the memory of the process (the driver) and of each
process below it is looked at; pages that processes share, as those of libraries and of Ray's store, count in each of
them. Growth is the processor time of a pass over ten million pairs, of all its processes, over that over one million.
"""

import argparse
import contextlib
import multiprocessing
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import psutil

from benchmarks.prepare import NUM_RULES, write_rated
from benchmarks.tables import machine, show, write_json
from encore_ray.rules import Rule, RuleSet, Scale

FILE_ROWS = 1_000_000
EVERY_S = 0.2
LEVELS = tuple(float(level) for level in range(11))


@dataclass
class PassCost:
    """Of one pass: seconds by the clock and of processors, and the most MiB that the driver and any one worker held."""

    seconds: float = 0.0
    processor_s: float = 0.0
    driver_mib: float = 0.0
    worker_mib: float = 0.0


@dataclass
class Watcher:
    """Looks at this process and those below it, and keeps what is highest in the pass that runs.

    Attributes:
        costs: by pass.
        used: processor seconds of each process when it was last looked at.
    """

    costs: dict[str, PassCost] = field(default_factory=dict)
    used: dict[tuple[int, float], float] = field(default_factory=dict)

    @contextlib.contextmanager
    def watch(self, name: str) -> Iterator[None]:
        cost, done = self.costs.setdefault(name, PassCost()), threading.Event()
        self._look_once(cost)
        before = sum(self.used.values())
        thread = threading.Thread(target=self._look, args=(cost, done))
        began = time.monotonic()
        thread.start()
        try:
            yield
        finally:
            cost.seconds = time.monotonic() - began
            done.set()
            thread.join()
            cost.processor_s = sum(self.used.values()) - before

    def _look(self, cost: PassCost, done: threading.Event) -> None:
        while not done.wait(EVERY_S):
            self._look_once(cost)
        self._look_once(cost)

    def _look_once(self, cost: PassCost) -> None:
        driver = psutil.Process()
        cost.driver_mib = max(cost.driver_mib, driver.memory_info().rss / 2**20)
        for process in (driver, *driver.children(recursive=True)):
            with contextlib.suppress(psutil.Error):  # processes come and go
                times = process.cpu_times()
                self.used[process.pid, process.create_time()] = times.user + times.system
                if process.name().startswith("ray::"):
                    cost.worker_mib = max(cost.worker_mib, process.memory_info().rss / 2**20)


def do_job(folder: Path, engine: str) -> dict[str, PassCost]:
    """The whole job, as `encore_ray.job` has it; it starts when its modules are there."""
    from encore_ray.config import JobConfig
    from encore_ray.corpora.files.sources import InputSpec, list_files
    from encore_ray.passes.compare import Compare
    from encore_ray.passes.compose import Compose
    from encore_ray.passes.evaluate import Evaluate
    from encore_ray.passes.prepare import Prepare
    from encore_ray.passes.report import write_report
    from encore_ray.passes.score import Score
    from encore_ray.passes.scorers.choose import choose_scorer, scorer_facts
    from encore_ray.passes.weigh import Weigh
    from encore_ray.run import hold_run
    from encore_ray.storage import Folder

    config = JobConfig.model_validate(
        {
            "inputs": [str(folder / "corpus")],
            "rules": str(folder / "rules.yaml"),
            "run": str(folder / "run"),
            "cluster": {"engine": engine},
            "tracking": {"uri": f"sqlite:///{folder / 'mlflow.db'}"},
        }
    )
    watcher = Watcher()
    with hold_run(Folder(config.run), cluster=config.cluster, tracking=config.tracking, params={}) as run:
        with watcher.watch("prepare"):
            run.do(Prepare(list_files([InputSpec(config.inputs[0].path)]), config.prepare))
        with watcher.watch("score"):
            run.do(Score(choose_scorer(config, run), config.prepare.max_bad_fraction, scorer_facts(config)))
        with watcher.watch("weigh"):
            weights = run.do(Weigh(config.weigh))
        with watcher.watch("compose"):
            run.do(Compose(weights))
        with watcher.watch("evaluate"):
            run.do(Evaluate())
        with watcher.watch("compare"):
            run.do(Compare(config.weigh))
        with watcher.watch("report"):
            write_report(run)
    return watcher.costs


def write_corpus(folder: Path, num_pairs: int) -> None:
    """Files of a million rows; no two prompts are the same."""
    folder.mkdir()
    with ProcessPoolExecutor(os.cpu_count(), mp_context=multiprocessing.get_context("spawn")) as processes:
        parts = [
            processes.submit(
                write_rated, folder / f"{start:012d}.parquet", min(FILE_ROWS, num_pairs - start), first=start
            )
            for start in range(0, num_pairs, FILE_ROWS)
        ]
        for part in parts:
            part.result()


def write_rules(path: Path) -> None:
    scale = Scale(LEVELS[0], LEVELS[-1], levels=LEVELS)
    rules = (Rule(f"rule_{rule}", f"Rule {rule}.", "better", scale) for rule in range(NUM_RULES))
    path.write_text(RuleSet(tuple(rules)).to_yaml(), encoding="utf-8")


def measure(num_pairs: int, engine: str, scratch: Path) -> dict[str, PassCost]:
    folder = scratch / str(num_pairs)
    folder.mkdir()
    write_corpus(folder / "corpus", num_pairs)
    write_rules(folder / "rules.yaml")
    before = os.getloadavg()[0]
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as one:
        costs = one.submit(do_job, folder, engine).result()
    sizes = {
        name: sum(path.stat().st_size for path in (folder / name).rglob("*") if path.is_file()) / 1e9
        for name in ("corpus", "run")
    }
    print(
        f"{num_pairs:,} pairs: {sum(cost.seconds for cost in costs.values()):,.0f} s; corpus {sizes['corpus']:.1f} GB, "
        f"run folder {sizes['run']:.1f} GB; load before {before:.1f}",
        flush=True,
    )
    shutil.rmtree(folder)
    return costs


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, nargs=2, default=[1_000_000, 10_000_000], metavar=("FEW", "MANY"))
    parser.add_argument("--engine", choices=["ray", "local", "auto"], default="ray")
    parser.add_argument("--folder", type=Path, help="Where to write. Default: the folder for temporary files.")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=options.folder) as scratch:
        few, many = (measure(num_pairs, options.engine, Path(scratch)) for num_pairs in options.pairs)
    rows = [
        [
            name,
            f"{few[name].seconds:,.1f}",
            f"{many[name].seconds:,.1f}",
            f"{few[name].processor_s:,.1f}",
            f"{many[name].processor_s:,.1f}",
            f"{many[name].processor_s / few[name].processor_s:.1f}",
            f"{few[name].driver_mib:,.0f} / {many[name].driver_mib:,.0f}",
            f"{few[name].worker_mib:,.0f} / {many[name].worker_mib:,.0f}",
        ]
        for name in few
    ]
    sizes = [f"{number / 1e6:g}M" for number in options.pairs]
    seconds = [f"{size}, {what}" for what in ("s", "processor s") for size in sizes]
    show(["pass", *seconds, "growth", *(f"{what}, MiB" for what in ("driver", "worker"))], rows)
    print(machine())
    record: dict[str, Any] = {
        str(number): {name: asdict(cost) for name, cost in costs.items()}
        for number, costs in zip(options.pairs, (few, many), strict=True)
    }
    write_json(options.json, {**record, "machine": machine()})


if __name__ == "__main__":
    main()
