"""Pairs that a judge gives no rating for, while it is asked: when to ask nothing more.

A pair is lost with its first answer that is no rating. The job stops when more pairs are lost than may be in all; and
when of the first two dozen or more that were asked about at least half are lost, where max_bad_fraction makes that
less likely than one in a million (Chernoff's bound).
"""

import math
import threading

from encore_ray.errors import DataError
from encore_ray.folder.quarantine import REMEDIES, Allowance, commonest_line
from encore_ray.schema import DETAIL, LINE, PAIR_ID, REASON, SOURCE, Reason

_ENOUGH = 24  # pairs
_NATS = math.log(1e6)


class Losses:
    """The pairs of a job that were asked about in this process, and those that are lost; threads share it.

    Args:
        allowed: how many may be lost; None for any number.
    """

    def __init__(self, allowed: Allowance | None):
        self._allowed = allowed
        self._begun = 0
        self._rows: list[dict[str, object]] = []
        self._lock = threading.Lock()

    def begin(self) -> None:
        """A pair is asked about."""
        with self._lock:
            self._begun += 1

    def lose(self, *, pair_id: str, source: str, line: int, detail: str) -> None:
        """A pair has got an answer that is none.

        Raises:
            DataError: the job cannot end well.
        """
        row = {REASON: Reason.NOT_A_RATING, DETAIL: detail, SOURCE: source, LINE: line, PAIR_ID: pair_id}
        with self._lock:
            self._rows.append(row)
            if self._allowed is None or not _is_hopeless(len(self._rows), self._begun, self._allowed):
                return
            lost, begun, allowed, rows = len(self._rows), self._begun, self._allowed, list(self._rows)
        raise DataError(
            f"{lost:,} of the first {begun:,} pairs got an answer that is no rating, more than max_bad_fraction allows "
            f"({allowed.max_bad_fraction:.2%}); of all {allowed.num_rows:,} no more than "
            f"{int(allowed.max_bad_fraction * allowed.num_rows):,} may be without, so that nothing more is asked.\n"
            f"{commonest_line(rows)}{REMEDIES[Reason.NOT_A_RATING]} Or raise max_bad_fraction. All answers are kept: "
            "the same command goes on."
        )


def _is_hopeless(lost: int, begun: int, allowed: Allowance) -> bool:
    if allowed.is_spent(lost):
        return True
    share, most = lost / begun, allowed.max_bad_fraction
    if begun < _ENOUGH or share < 0.5 or share <= most or most >= 1:
        return False
    rest = (1 - share) * math.log((1 - share) / (1 - most)) if share < 1 else 0.0
    return begun * (share * math.log(share / most) + rest) > _NATS if most else True
