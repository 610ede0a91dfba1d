"""What must hold of every spoiled corpus: no surprise, no hang, no row that vanishes, no good row that changes."""

import contextlib
import random
import signal
from collections.abc import Iterator
from pathlib import Path

from encore_ray.corpora.converting.convert import ConvertSettings
from encore_ray.errors import ConfigError, DataError
from tests.corpora.prepared import prepare, write_as
from tests.fuzz.corpora import Corpus, by_mark, outcome_by_mark
from tests.fuzz.mutations import Case, spoil

TIMEOUT_S = 60
MOST_RANGES = 100  # each range in the middle of a long line reads it to its end


class Broken(AssertionError):
    """A law that does not hold."""


def check_readers(rng: random.Random, folder: Path, *, huge: bool = False) -> str:
    """Spoil a corpus and read it in this process; returns what was done.

    Raises:
        Broken: a law does not hold.
    """
    case = spoil(rng, folder, huge=huge)
    range_bytes = max(rng.choice([300, 2000, 1 << 26]), case.path.stat().st_size // MOST_RANGES)
    settings = ConvertSettings(unit_pairs=rng.choice([1, 5, 1024]))
    with in_time():
        try:
            prepared = prepare(case.path, range_bytes=range_bytes, settings=settings)
        except (DataError, ConfigError) as error:
            if not case.may_be_refused:
                raise Broken(f"{case.what}: refused: {error}") from error
            if str(case.path) not in str(error) and "No row in any input" not in str(error):
                raise Broken(f"{case.what}: the error does not name the file: {error}") from error
            return f"refused, {case.what}"
    if case.num_rows is not None and prepared.rows_in != case.num_rows:
        raise Broken(f"{case.what}: {case.num_rows} rows in the file, {prepared.rows_in} read")
    if case.untouched is not None:
        _compare(case, by_mark(prepared), folder / "good")
    return f"read, {case.what}"


def _compare(case: Case, found: dict[str, list[dict]], folder: Path) -> None:
    """The rows that nobody touched are as in a corpus that nobody touched."""
    assert case.untouched is not None
    before = good_outcome(case.corpus, folder)
    for mark in sorted(case.untouched):
        if mark not in before:
            raise Broken(f"{case.what}: the good corpus itself lost the row {mark}")
        kept = [_shared(row, before[mark]) for row in found.get(mark, [])]
        if kept != before[mark]:
            raise Broken(f"{case.what}: the untouched row {mark} is {kept}, was {before[mark]}")


def _shared(row: dict, before: list[dict]) -> dict:
    """The columns that the good corpus has too: a spoiled row may bring further ones, null elsewhere."""
    return {name: value for name, value in row.items() if any(name in good for good in before) or name != "odd"}


def good_outcome(corpus: Corpus, folder: Path) -> dict[str, list[dict]]:
    """What the rows come to when none of them is spoiled."""
    folder.mkdir(exist_ok=True)
    return outcome_by_mark(write_as(folder, corpus.kind, corpus.rows))


@contextlib.contextmanager
def in_time() -> Iterator[None]:
    """Broken after TIMEOUT_S, wherever the block hangs; on the main thread only."""

    def hang(signum: int, frame: object) -> None:
        raise Broken(f"not read within {TIMEOUT_S} s")

    before = signal.signal(signal.SIGALRM, hang)
    signal.alarm(TIMEOUT_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
