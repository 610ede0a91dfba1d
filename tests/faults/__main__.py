"""`python -m tests.faults --faults 200 --seed 0`: jobs that are struck again and again, and must come to the same.

Each job is the usual command, repeated until it ends well. Faults strike its driver and workers at steps that the
seed  is repeated by `--seed S --only JOB`. `--soak 60` is one long job with a kill every minute
instead.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.faults.plans import CommandPlan
from tests.faults.runs import (
    Reference,
    Verdict,
    fresh_ray_folder,
    judge,
    make_reference,
    make_setup,
    onto_store,
    start_command,
)
from tests.faults.strikes import strike_job
from tests.interrupts import heed_interrupts
from tests.object_store import FaultProxy, Store, fault_proxy, random_faults, store_server

JOBS = ("ratings", "store", "ratings", "model")  # what the jobs are, in turn
FAILED_REQUESTS = 0.005  # share of those to the object store
SOAK_PACE_S = 3.0  # time that a unit of the soak takes longer
SOAK_KILL_EVERY_S = 60.0
AGENTS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")  # no workers: Ray's node ends with them


@dataclass
class Tally:
    """Faults by kind, how many of them were survived, rows that went missing or came twice, and commands that ended
    well with other data than they say."""

    injected: Counter[str] = field(default_factory=Counter)
    survived: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    doubled: int = 0
    silent: int = 0

    def add(self, kinds: Counter[str], verdict: Verdict) -> None:
        """Count a job: when it does not come to the same, none of its faults was survived."""
        self.injected += kinds
        self.lost += verdict.lost
        self.doubled += verdict.doubled
        self.silent += verdict.silent
        if verdict.survived:
            self.survived += kinds

    @property
    def is_good(self) -> bool:
        return self.injected == self.survived and not (self.lost or self.doubled or self.silent)

    def __str__(self) -> str:
        rows = [f"| {kind} | {count} | {self.survived[kind]} |" for kind, count in self.injected.most_common()]
        return "\n".join(["| fault | injected | survived |", "|---|---:|---:|", *rows])

    @property
    def last_line(self) -> str:
        injected, survived = self.injected.total(), self.survived.total()
        wrong = f"{self.lost} lost, {self.doubled} doubled, {self.silent} silent"
        return f"{injected} injected, {survived} survived, {wrong}"


def campaign(
    folder: Path, store: Store, proxy: FaultProxy, *, seed: int, num_faults: int, minutes: float, only: int | None
) -> Tally:
    """Jobs until so many faults were injected or the time is up."""
    started = time.monotonic()
    setups = {kind: make_setup(folder / kind, with_model=kind == "model") for kind in ("ratings", "model", "store")}
    setups["store"] = onto_store(setups["store"], store, proxy.endpoint)
    references: dict[str, Reference] = {}
    tally = Tally()
    number = only or 0
    while tally.injected.total() < num_faults and time.monotonic() - started < 60 * minutes:
        kind = JOBS[number % len(JOBS)]
        with fresh_ray_folder():
            if kind not in references:
                references[kind] = make_reference(setups[kind])
            verdict, kinds = strike_job(setups[kind], references[kind], seed=seed, number=number)
        tally.add(kinds, verdict)
        for problem in verdict.problems:
            print(f"job {number}: {problem}. Repeat it with --seed {seed} --only {number}")
        if only is not None:
            break
        number += 1
    if proxy.num_requests:
        print(f"The object store failed {proxy.faults.total():,} of {proxy.num_requests:,} requests.")
    return tally


def soak(folder: Path, *, seed: int, minutes: float) -> Tally:
    """One job of so many minutes at least, in which every minute the driver or a worker is killed."""
    rng = random.Random(seed)
    num_files, unit_pairs = 6, 4
    num_units = int(2 * 60 * minutes / SOAK_PACE_S)  # on two CPUs
    setup = make_setup(
        folder / "soak",
        with_model=False,
        num_files=num_files,
        pairs_a_file=-(-num_units // num_files) * unit_pairs,
        unit_pairs=unit_pairs,
    )
    reference = make_reference(setup, timeout_s=60 * minutes)
    kinds: Counter[str] = Counter()
    started = time.monotonic()
    due, number, code = started + SOAK_KILL_EVERY_S, 0, None
    while code != 0:
        plan = CommandPlan(pace_s=SOAK_PACE_S)
        process, output = start_command(setup, "run", plan, folder=setup.folder / f"command-{number}")
        victim = ""
        while process.poll() is None:
            if time.monotonic() >= due:
                victim = kill_one(process, rng)
                kinds[f"kill -9 of the {victim} at a random instant"] += 1
                due += SOAK_KILL_EVERY_S
                print(f"minute {(time.monotonic() - started) / 60:.0f}: killed the {victim}", flush=True)
            time.sleep(0.2)
        code, number = process.returncode, number + 1
        if code not in (0, -signal.SIGKILL):
            return _stopped(kinds, f"command {number - 1} ended with {code}", output)
    print(f"finished after {(time.monotonic() - started) / 60:.1f} minutes and {number} commands")
    tally = Tally()
    tally.add(kinds, judge(setup.fetched("run"), reference))
    return tally


def _stopped(kinds: Counter[str], problem: str, output: Path) -> Tally:
    print(problem, output.read_text(errors="replace"), sep="\n")
    tally = Tally()
    tally.add(kinds, Verdict(problems=[problem]))
    return tally


def kill_one(process: "subprocess.Popen[bytes]", rng: random.Random) -> str:
    """Kill a worker of the command, or with a chance of a third or without any worker its driver."""
    titles = {child.pid: _title(child) for child in psutil.Process(process.pid).children(recursive=True)}
    workers = sorted(pid for pid, title in titles.items() if title.startswith("ray::") and title not in AGENTS)
    if workers and rng.random() < 2 / 3:
        os.kill(rng.choice(workers), signal.SIGKILL)
        return "worker"
    process.kill()
    return "driver"


def _title(process: psutil.Process) -> str:
    """What a process calls itself, in full; none where it has ended."""
    try:
        return " ".join(process.cmdline()[:1])
    except psutil.NoSuchProcess:
        return ""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--seed", type=int, default=0, help="decides all faults (default: 0)")
    parser.add_argument("--faults", type=int, default=200, help="stop after so many (default: 200)")
    parser.add_argument("--minutes", type=float, default=50, help="begin no further job after this time (default: 50)")
    parser.add_argument("--only", type=int, help="just the job of this number")
    parser.add_argument("--soak", type=float, metavar="MINUTES", help="one long job with a kill every minute")
    given = parser.parse_args()
    heed_interrupts()
    with tempfile.TemporaryDirectory(prefix="faults") as folder:
        if given.soak:
            with fresh_ray_folder():
                tally = soak(Path(folder), seed=given.seed, minutes=given.soak)
        else:
            with store_server() as store, fault_proxy(store, random_faults(given.seed, FAILED_REQUESTS)) as proxy:
                tally = campaign(
                    Path(folder),
                    store,
                    proxy,
                    seed=given.seed,
                    num_faults=given.faults,
                    minutes=given.minutes,
                    only=given.only,
                )
    print(f"\n{tally}\n{tally.last_line}")
    sys.exit(0 if tally.is_good and tally.injected else 1)


if __name__ == "__main__":
    main()
