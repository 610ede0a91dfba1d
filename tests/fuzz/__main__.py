"""`python -m tests.fuzz --mutations 10000 --commands 200 --seed 0`: spoiled corpora, each judged by the laws.

A failure prints what repeats it: `--seed S --only N` reads case N again, `--command N` runs it as a command.
"""

import argparse
import os
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from tests.fuzz.laws import check_readers

HUGE_EVERY = 2000  # one case in so many has a row of 100 MB
SAY_EVERY_S = 10.0


def case_rng(seed: int, what: str, number: int) -> random.Random:
    """The generator that decides everything about one case."""
    return random.Random(f"{seed}/{what}/{number}")


def read_case(seed: int, number: int) -> str:
    with tempfile.TemporaryDirectory(prefix="fuzz") as folder:
        huge = number % HUGE_EVERY == HUGE_EVERY - 1
        return check_readers(case_rng(seed, "read", number), Path(folder), huge=huge)


def command_case(seed: int, number: int) -> str:
    from tests.fuzz.commands import check_command

    with tempfile.TemporaryDirectory(prefix="fuzz") as folder:
        return check_command(case_rng(seed, "command", number), Path(folder))


def run_cases(name: str, flag: str, case: Callable[[int, int], str], seed: int, numbers: range) -> int:
    """Number of cases in which a law was broken; each is printed with what repeats it."""
    broken, read, said = 0, 0, time.monotonic()
    for done, number in enumerate(numbers, start=1):
        try:
            read += case(seed, number).startswith(("read", "exit code 0"))
        except Exception as error:
            broken += 1
            if not isinstance(error, AssertionError):
                traceback.print_exc()
            print(f"{name} {number}: {type(error).__name__}: {str(error)[:2000]}")
            print(f"Repeat it with: python -m tests.fuzz --seed {seed} {flag} {number}", flush=True)
        if time.monotonic() - said > SAY_EVERY_S:
            said = time.monotonic()
            print(f"{done} of {len(numbers)} {name}s, {broken} broken", flush=True)
    return broken


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--seed", type=int, default=0, help="decides all cases (default: 0)")
    parser.add_argument("--mutations", type=int, default=10_000, help="cases read in this process (default: 10000)")
    parser.add_argument("--commands", type=int, default=200, help="cases prepared by the command (default: 200)")
    parser.add_argument("--only", type=int, metavar="N", help="read case N")
    parser.add_argument("--command", type=int, metavar="N", help="prepare case N")
    given = parser.parse_args()
    if given.only is not None or given.command is not None:
        print(command_case(given.seed, given.command) if given.only is None else read_case(given.seed, given.only))
        return
    started = time.monotonic()
    broken = run_cases("mutation", "--only", read_case, given.seed, range(given.mutations))
    if given.commands:
        broken += prepare_cases(given.seed, given.commands)
    print(
        f"{given.mutations} mutations read, {given.commands} prepared by the command, {broken} broken a law; "
        f"seed {given.seed}, {time.monotonic() - started:.0f} s"
    )
    sys.exit(1 if broken else 0)


def prepare_cases(seed: int, number: int) -> int:
    """Cases through the command line."""
    os.environ.update(ENCORE_RAY_TRACKING_ENABLED="false", ENCORE_RAY_CLUSTER_ENGINE="local")
    return run_cases("command", "--command", command_case, seed, range(number))


if __name__ == "__main__":
    main()
