"""How long the commands take that have little to do: their processor time is what it takes to start.

python benchmarks/start.py --json start.json

- help, status, inspect: `--help`, `status` of a finished run, `inspect` of weights.json.
- weigh, compose, evaluate, compare: each on a table of 4,096 pairs under 10 rules that was made elsewhere, by explicit
  paths.
- run_rated: a whole job on 10,000 pairs that carry their ratings, tracked in MLflow on sqlite, with its report.

Processor time is that of the command and of every process that it starts, in user and system mode, until the last of
them has ended: medians of --rounds. Workers of Ray are reaped by a process that does not ask what they used, so that
the kernel's sum over children has them not. Here every descendant is looked at each 50 ms, and orphans are adopted
and looked at once more when they have ended; what a worker does in its last 50 ms may be missed.
"""

import argparse
import contextlib
import os
import resource
import shutil
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from benchmarks.tables import machine, show, write_json
from benchmarks.trees import REPOSITORY, CommandFailed, Tree, end_descendants, keep_track, scratch_folder, work_tree

NUM_PAIRS, NUM_RATED, NUM_RULES = 4096, 10_000, 10
SEED = 0
LOOK_EVERY_S = 0.05
LAST_ENDS_WITHIN_S = 60.0
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cost:
    """Of one command, in seconds: of processors, over all its processes, and until it ended."""

    cpu_s: float
    wall_s: float


@dataclass(frozen=True)
class Seen:
    """A process as /proc shows it; its number and the time of its start tell it from all others."""

    number: int
    parent: int
    started: int
    cpu_s: float
    is_zombie: bool


def all_processes() -> Iterator[Seen]:
    """Every process of the machine, zombies too, whose figures are final."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                yield parse_stat(int(name), Path("/proc", name, "stat").read_text(encoding="utf-8", errors="replace"))


def parse_stat(number: int, line: str) -> Seen:
    """A process from its line in /proc/<number>/stat, whose second field is a name that may hold anything."""
    fields = line.rpartition(")")[2].split()
    cpu_s = (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND
    return Seen(number, int(fields[1]), int(fields[19]), cpu_s, fields[0] == "Z")


def descendants(processes: Sequence[Seen], ancestor: int) -> list[Seen]:
    """Those that a process started, and those that they did."""
    parents = {process.number: process.parent for process in processes}

    def is_below(number: int) -> bool:
        while (number := parents.get(number, 0)) > 1:
            if number == ancestor:
                return True
        return False

    return [process for process in processes if is_below(process.number)]


def measure(tree: Tree, words: Sequence[str | Path], *, cwd: Path) -> Cost:
    """Run a command to its end, and wait for the last process that it started.

    Raises:
        CommandFailed: its exit code is not 0.
    """
    log = cwd / "said.log"
    before, clock = _children_cpu_s(), time.monotonic()
    process = tree.start("-m", "encore_ray.cli", *map(str, words), cwd=cwd, log=log)
    cpu_s: dict[tuple[int, int], float] = {}
    wall_s, ended_at = 0.0, None
    while True:
        has_ended = ended_at or os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        found = descendants(list(all_processes()), os.getpid())
        cpu_s |= {(seen.number, seen.started): seen.cpu_s for seen in found}
        if has_ended and ended_at is None:
            ended_at = time.monotonic()
            wall_s = ended_at - clock
            process.wait()
        for seen in found:
            if seen.is_zombie and seen.parent == os.getpid() and seen.number != process.pid:
                os.waitpid(seen.number, os.WNOHANG)
        if ended_at and (not found or time.monotonic() - ended_at > LAST_ENDS_WITHIN_S):
            break
        time.sleep(LOOK_EVERY_S)
    end_descendants()
    if process.returncode:
        said = log.read_text() + log.with_suffix(".errors").read_text()
        raise CommandFailed(f"encore-ray {' '.join(map(str, words))} ended with {process.returncode}:\n{said}")
    return Cost(max(sum(cpu_s.values()), _children_cpu_s() - before), wall_s)


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def write_inputs(folder: Path) -> None:
    """A table of scores as another program leaves it, pairs with ratings, their rules, and the job."""
    folder.mkdir()
    names = [f"rule_{k}" for k in range(NUM_RULES)]
    rules = [
        {"name": name, "text": name, "higher_is": "worse" if k % 4 == 3 else "better", "scale": {"lo": 0, "hi": 1}}
        for k, name in enumerate(names)
    ]
    (folder / "rules.yaml").write_text(yaml.safe_dump(rules, sort_keys=False), encoding="utf-8")
    pq.write_table(pa.table(_rated(names, NUM_PAIRS)), folder / "scores.parquet")
    texts = {
        "prompt": [f"How do I get rid of gas bottle {n}?" for n in range(NUM_RATED)],
        "chosen": [f"Ask your local recycling centre. {n}" for n in range(NUM_RATED)],
        "rejected": [f"Open it yourself. {n}" for n in range(NUM_RATED)],
    }
    pq.write_table(pa.table({**_rated(names, NUM_RATED), **texts}), folder / "rated.parquet")
    job = {"inputs": [str(folder / "rated.parquet")], "rules": str(folder / "rules.yaml"), "run": "run"}
    (folder / "job.yaml").write_text(yaml.safe_dump(job), encoding="utf-8")


def _rated(rules: Sequence[str], num_pairs: int) -> dict[str, Any]:
    rng = np.random.default_rng(SEED)
    columns: dict[str, Any] = {
        "pair_id": [f"pair-{n:06d}" for n in range(num_pairs)],
        "prompt_id": [f"prompt-{n % (num_pairs * 3 // 4):06d}" for n in range(num_pairs)],
        "subset": [f"subset-{n % 4}" for n in range(num_pairs)],
    }
    for k, rule in enumerate(rules):
        columns[f"chosen__{rule}"] = rng.beta(2 + k / 4, 2, num_pairs).astype(np.float32)
        columns[f"rejected__{rule}"] = rng.beta(2, 2 + k / 8, num_pairs).astype(np.float32)
    return columns


@dataclass(frozen=True)
class Commands:
    """The command lines: what is measured, and what it needs to be there.

    Attributes:
        inputs: as `write_inputs` leaves them.
        made: an empty folder for what the commands need of each other.
    """

    inputs: Path
    made: Path

    def words(self, name: str) -> list[str | Path]:
        """A command, which writes relative to the folder that it runs in."""
        table = ("--scores", self.inputs / "scores.parquet", "--rules", self.inputs / "rules.yaml")
        return {
            "help": ["--help"],
            "status": ["status", self.made / "run"],
            "inspect": ["inspect", self.made / "weights.json"],
            "weigh": ["weigh", *table, "--output", "weights.json"],
            "compose": ["compose", *table, "--weights", self.made / "weights.json", "--output", "rewards"],
            "evaluate": ["evaluate", "--rewards", self.made / "rewards", "--output", "evaluated"],
            "compare": ["compare", *table, "--output", "compared"],
            "run_rated": ["run", self.inputs / "job.yaml", "--run", "run"],
        }[name]


NEEDS = {
    "inspect": ("weights.json", "weigh"),
    "compose": ("weights.json", "weigh"),
    "evaluate": ("rewards", "compose"),
    "status": ("run", "run_rated"),
}
"""Of a command: what must be there, and which command makes it."""
NAMES = ("help", "status", "inspect", "weigh", "compose", "evaluate", "compare", "run_rated")


def provide(tree: Tree, commands: Commands, name: str) -> None:
    """Make what a command needs, where it is not there yet."""
    if name not in NEEDS:
        return
    file, maker = NEEDS[name]
    if not (commands.made / file).exists():
        provide(tree, commands, maker)
        tree.command(*commands.words(maker), cwd=commands.made).check()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default=str(REPOSITORY), help="Revision or work tree to measure. Default: this one.")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=list(NAMES), metavar="COMMAND")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="Write the median processor seconds of each command to this file.")
    options = parser.parse_args(arguments)
    keep_track()
    with scratch_folder() as folder, work_tree(options.root, folder / "code") as code:
        tree = Tree(options.root, code, folder / "ray")
        tree.check()
        write_inputs(folder / "inputs")
        commands = Commands(folder / "inputs", folder / "made")
        commands.made.mkdir()
        costs = {name: _rounds(tree, commands, name, options.rounds, folder / "round") for name in options.only}
    medians = {name: statistics.median(cost.cpu_s for cost in of_name) for name, of_name in costs.items()}
    show(
        ["command", "processor s", "least", "most", "wall s"],
        [
            [
                name,
                *(f"{take(cost.cpu_s for cost in of_name):.2f}" for take in (statistics.median, min, max)),
                f"{statistics.median(cost.wall_s for cost in of_name):.2f}",
            ]
            for name, of_name in costs.items()
        ],
    )
    print(f"{options.root}; {machine()}; load {os.getloadavg()[0]:.1f}")
    write_json(options.json, medians)


def _rounds(tree: Tree, commands: Commands, name: str, num_rounds: int, folder: Path) -> list[Cost]:
    try:
        provide(tree, commands, name)
        costs = []
        for _ in range(num_rounds):
            folder.mkdir()
            costs.append(measure(tree, commands.words(name), cwd=folder))
            print(f"{name}: {costs[-1].cpu_s:.2f} processor s, {costs[-1].wall_s:.2f} s", file=sys.stderr, flush=True)
            shutil.rmtree(folder)
    except CommandFailed as failure:
        sys.exit(str(failure))
    return costs


if __name__ == "__main__":
    main()
