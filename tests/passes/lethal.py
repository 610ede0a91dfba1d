"""Work that ends or hangs its worker at given pairs, as broken drivers, leaks and endless loops do."""

import os
import re
import signal
import time
from collections.abc import Callable, Mapping

import pyarrow as pa

from encore_ray.folder.attempt import Attempt
from encore_ray.folder.reading.tables import TableUnit
from encore_ray.passes.scorers.data_ratings import unit_by_ratings
from encore_ray.rules import RuleSet
from encore_ray.schema import PAIR_FIELDS, PAIR_ID
from encore_ray.storage import Folder

KILL, SLEEP, HOLD = "kill", "sleep", "hold"


def die(how: str) -> None:
    """Kill this process, sleep for ever, or hold the interpreter's lock for ever."""
    if how == KILL:
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == SLEEP:
        time.sleep(3600)
    else:
        re.match(r"(a+)+$", "a" * 64 + "b")  # 2^64 steps in C


class LethalScores:
    """Ratings as scores, yet some pairs must not be touched.

    Args:
        rules: of the ratings.
        lethal: what each of these pairs does to the process.
    """

    def __init__(self, rules: RuleSet, lethal: Mapping[str, str]):
        self._lethal = lethal
        self._scores = unit_by_ratings(rules)

    def __call__(self, unit: TableUnit, attempt: Attempt) -> Mapping[str, int]:
        left_out = {row.row for row in attempt.left_out}
        for row, pair_id in enumerate(unit.read([PAIR_ID]).column(0).to_pylist()):
            if row not in left_out and pair_id in self._lethal:
                die(self._lethal[pair_id])
        return self._scores(unit, attempt)


def lethal_start() -> None:
    """A factory that dies before there is any work."""
    die(KILL)


def lethal_search(model: object) -> Callable[[object], None]:
    """In place of `open_budget_search`: a search that dies of its first pair."""
    return lambda units: die(KILL)


def write_pairs(folder: Folder, rules: RuleSet, *, units: int, pairs: int) -> None:
    """Files of rated pairs; pair p of unit u is called u<u>p<p>."""
    fields = [field for field in PAIR_FIELDS if field.name != "content_id"]
    ratings = [pa.field(f"{side}__{name}", pa.float32()) for name in rules.names for side in ("chosen", "rejected")]
    for u in range(units):
        rows = [
            {
                "pair_id": f"u{u}p{p}",
                "prompt_id": f"q{u}-{p}",
                "prompt": [{"role": "user", "content": "How?"}],
                "chosen": [{"role": "assistant", "content": "So."}],
                "rejected": [{"role": "assistant", "content": "No."}],
                **{field.name: (7 * u + p) % 5 for field in ratings},
            }
            for p in range(pairs)
        ]
        folder.write_table(f"{u}.parquet", pa.Table.from_pylist(rows, schema=pa.schema([*fields, *ratings])))
