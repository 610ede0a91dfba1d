"""The same through the command line: `encore-ray prepare` on a spoiled corpus, and how it ends."""

import contextlib
import io
import random
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq

from encore_ray.cli import main
from encore_ray.folder.protocol.seal import read_manifest
from encore_ray.storage import Folder
from tests.fuzz.corpora import MARK
from tests.fuzz.laws import Broken, in_time
from tests.fuzz.mutations import good_file, spoil

CODES = {0, 3}


def check_command(rng: random.Random, folder: Path) -> str:
    """Spoil a corpus and prepare it, at times beside a good one; returns what was done.

    Raises Broken when a law does not hold.
    """
    case = spoil(rng, folder)
    inputs = [str(case.path)]
    beside = rng.random() < 0.3
    if beside:
        (folder / "beside").mkdir()
        inputs.append(str(good_file(rng, folder / "beside")))
    run = folder / "run"
    fraction = rng.choice(["1", "1", "0.01"])
    with in_time():
        code, said = run_command(["prepare", "--input", *inputs, "--run", str(run), "--max-bad-fraction", fraction])
    where = f"{case.what}{' beside a good file' if beside else ''}, exit code {code}"
    if code not in CODES:
        raise Broken(f"{where}: {said}")
    if "Traceback" in said:
        raise Broken(f"{where}: a traceback: {said}")
    if code != 0:
        _check_refusal(
            said, where, allowed=case.may_be_refused or beside or fraction != "1" or "occur more than once" in said
        )
        return where
    counts = Folder(str(run / "pairs")).read_json("_SUCCESS")["counts"]
    if counts["rows"] != counts["kept"] + counts["quarantined"]:
        raise Broken(f"{where}: {counts}")
    if case.num_rows is not None and not beside and counts["rows"] != case.num_rows:
        raise Broken(f"{where}: {case.num_rows} rows in the file, {counts['rows']} read")
    files = read_manifest(Folder(str(run / "pairs")))
    if case.untouched:
        marks = Counter(m for file in files for m in pq.read_table(run / "pairs" / file.file)[MARK].to_pylist())
        lost = case.untouched - marks.keys()
        if lost:
            raise Broken(f"{where}: lost the untouched rows {sorted(lost)}")
    bad = sum(pq.read_metadata(path).num_rows for path in (run / "quarantine" / "prepare").glob("*.parquet"))
    if bad != counts["quarantined"]:
        raise Broken(f"{where}: {counts['quarantined']} rows quarantined, {bad} found there")
    return where


def _check_refusal(said: str, where: str, *, allowed: bool) -> None:
    if not allowed:
        raise Broken(f"{where}: refused although other rows are good: {said}")
    if "encore-ray: " not in said or len(said) < 40:
        raise Broken(f"{where}: without a word of why: {said!r}")


def run_command(args: list[str]) -> tuple[int, str]:
    """Exit code and output of the command line, in this process."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            main(args)
        except SystemExit as end:
            return int(end.code or 0), said.getvalue()
    raise Broken("main() did not exit")
