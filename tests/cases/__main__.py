"""`python -m tests.cases [NAME...]`: every case of a folder ends as its README says it is right.

ENCORE_RAY_CASES names the folder. In it, each folder with a README is a case: a small input of what a public report
describes, and under "Try" the commands in one block of bash. They run as a user would type them, in a copy. What must
come of it stands in `tests.cases.expected`; a case that is not there is told, not passed over.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.cases.expected import EXPECTED, Case

ROOT = Path(__file__).parents[2]
BASH = re.compile(r"^```bash\n(.*?)^```", re.DOTALL | re.MULTILINE)
MAX_S = 900.0
BUG = "this is a bug"
SHOWN = 3000

# What the block calls encore-ray: it is run from this tree, and its exit code is kept even where the block drops it.
COMMAND = """#!/bin/sh
PYTHONPATH="$PYTHONPATH:{root}" {python} -m encore_ray.cli "$@"
code=$?
echo $code >> "$CASE_EXITS"
exit $code
"""


@dataclass(frozen=True)
class Outcome:
    """What a case printed, and the exit codes of its commands in their order."""

    output: str
    exits: tuple[int, ...]
    seconds: float


def try_case(cases: Path, name: str) -> tuple[Outcome, list[str]]:
    """Run the case's block in a copy of all cases, and compare what came of it.

    Returns:
        What was seen, and a sentence for each thing that is not as expected.
    """
    with tempfile.TemporaryDirectory(prefix="cases") as scratch:
        copy = Path(scratch, "cases")
        shutil.copytree(cases, copy)
        folder = copy / name
        outcome = run_block(folder, Path(scratch))
        case = EXPECTED.get(name)
        if case is None:
            return outcome, ["nothing in tests/cases/expected.py says what is right here"]
        return outcome, list(_faults(case, folder, outcome))


def run_block(folder: Path, scratch: Path) -> Outcome:
    block = BASH.search(folder.joinpath("README.md").read_text())
    if block is None:
        raise SystemExit(f"{folder.name}/README.md has no block of bash.")
    programs, exits = scratch / "bin", scratch / "exits"
    programs.mkdir()
    exits.touch()
    programs.joinpath("encore-ray").write_text(COMMAND.format(root=ROOT, python=sys.executable))
    programs.joinpath("encore-ray").chmod(0o755)
    path = f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "CASE_EXITS": str(exits), "COLUMNS": "120"}
    environment["VIRTUAL_ENV"] = str(Path(sys.executable).parents[1])
    begun = time.monotonic()
    done = subprocess.run(
        ["bash", "-c", block[1]],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=MAX_S,
        check=False,
    )
    codes = tuple(map(int, exits.read_text().split()))
    if not codes:  # a launcher that puts another encore-ray first
        codes = tuple(map(int, re.findall(r"^exit (\d+)$", done.stdout, flags=re.MULTILINE)))
    return Outcome(done.stdout, codes, time.monotonic() - begun)


def _faults(case: Case, folder: Path, outcome: Outcome):
    if outcome.exits != case.exits:
        yield f"exit codes {outcome.exits}, not {case.exits}"
    flat = " ".join(outcome.output.split())
    yield from (f"does not say: {text}" for text in case.says if not re.search(text, flat))
    yield from (f"says: {text}" for text in (*case.never, BUG) if re.search(text, flat))
    if case.check is not None:
        try:
            case.check(folder)
        except Exception as error:
            yield f"{type(error).__name__}: {error}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.cases", description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="the beginning of a case's name (default: all)")
    parser.add_argument("--show", action="store_true", help="print what every case printed")
    given = parser.parse_args()
    if "ENCORE_RAY_CASES" not in os.environ:
        parser.error("set ENCORE_RAY_CASES to the folder of cases")
    cases = Path(os.environ["ENCORE_RAY_CASES"]).resolve()
    names = sorted(readme.parent.name for readme in cases.glob("*/README.md"))
    chosen = [name for name in names if not given.names or name.startswith(tuple(given.names))]
    rows, broken = ["| case | exit codes | seconds | seen |", "|---|---|---:|---|"], 0
    for name in chosen:
        case = EXPECTED.get(name)
        if case and case.needs and not shutil.which(case.needs):
            print(f"{name}: not tried, there is no {case.needs}", flush=True)
            rows.append(f"| {name} | | | not tried: no {case.needs} |")
            continue
        outcome, faults = try_case(cases, name)
        broken += bool(faults)
        if faults or given.show:
            print(f"--- {name}\n{outcome.output if given.show else outcome.output[-SHOWN:]}")
        print(f"{name}: {'; '.join(faults) or 'as it should'}", flush=True)
        codes = " ".join(map(str, outcome.exits))
        rows.append(f"| {name} | {codes} | {outcome.seconds:.0f} | {'; '.join(faults) or 'right'} |")
    print("\n".join(rows))
    print(f"{len(chosen)} cases, {broken} not as they should be")
    sys.exit(1 if broken or not chosen else 0)


if __name__ == "__main__":
    main()
