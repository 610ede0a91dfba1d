"""Quarantine: how many rows of a pass may be in it, judged while the pass runs, and what it says of them.

A pass stops as soon as it cannot end well:

- more rows are bad than may be in all, or
- its units show it. A unit with a share s of bad rows counts for (1 + s / max_bad_fraction) / 2. Were no more rows bad
  than may be, this would be 1 at most on average, however bad rows lie together; the product over the units so far
  reaches 500 in one of 500 such jobs at most (Ville's inequality), and past it the pass stops. Units that are done
  first are spread over the corpus, so that they stand for it.

What is done is kept, so that a job that was stopped goes on with a higher max_bad_fraction.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from encore_ray.errors import DataError
from encore_ray.folder.pass_table import PassTable
from encore_ray.folder.protocol.commits import Commit
from encore_ray.schema import DETAIL, LINE, PAIR_ID, REASON, REASON_COUNT, SOURCE, Reason

EVIDENCE = 500.0
FIRST_UNITS = 4  # that are done before the others, spread over the corpus

_READ_FILES = 16  # of a quarantine, for the commonest detail
_SHOWN_CHARS = 400  # of a detail

REMEDIES = {
    Reason.TEMPLATE_REFUSED: "Where it refuses system turns, set score.system to merge or drop (--system); "
    "score.template (--template) sets another template.",
    Reason.NOT_A_RATING: "A judge has to answer at once and in a word. Where it thinks first, switch that off by "
    "rate.body, as {chat_template_kwargs: {enable_thinking: false}} or {reasoning_effort: none}; or let it think, with "
    "{max_tokens: 4096} and rate.text_only; or take another judge.",
    Reason.OUT_OF_MEMORY: "score.max_tokens (--max-tokens) cuts long conversations.",
    Reason.NON_FINITE_SCORE: "float16 overflows in many models: try score.dtype bfloat16 or float32 (--dtype).",
}
_REMEDY = "Mend the input"

Item = TypeVar("Item")


@dataclass(frozen=True)
class Allowance:
    """How many rows of a pass may go to quarantine.

    Attributes:
        max_bad_fraction: share, in [0, 1].
        num_rows: of the pass.
    """

    max_bad_fraction: float
    num_rows: int

    def is_spent(self, num_bad: int) -> bool:
        """Whether these are too many, whatever becomes of the other rows."""
        return num_bad > self.max_bad_fraction * self.num_rows

    def evidence(self, num_bad: int, num_rows: int) -> float:
        """The factor of a unit, >= 0.5; 1 at most on average where no more rows are bad than may be."""
        if not num_rows or not self.max_bad_fraction:
            return 1.0  # a single bad row is too many: is_spent
        return (1 + num_bad / num_rows / self.max_bad_fraction) / 2


class QuarantineGuard:
    """Told of each commit of a pass; raises DataError once it shows that the pass cannot end well.

    Args:
        table: the pass.
        allowance: its limit.
    """

    def __init__(self, table: PassTable, allowance: Allowance):
        self._table, self._allowance = table, allowance
        self._counts: Counter[str] = Counter()
        self._evidence = 1.0

    def __call__(self, commit: Commit) -> None:
        counts, allowed = commit.counts, self._allowance
        self._counts.update(counts)
        num_rows, num_bad = self._counts["rows"], self._counts["quarantined"]
        self._evidence *= allowed.evidence(counts.get("quarantined", 0), counts.get("rows", 0))
        if num_rows >= allowed.num_rows:
            return  # nothing is left that could be saved: `check_bad_fraction` has the last word
        if allowed.is_spent(num_bad) or self._evidence >= EVIDENCE:
            raise DataError(too_many(self._counts, allowed, self._table, describe(self._table)))


def check_bad_fraction(counts: Mapping[str, int], max_bad_fraction: float, table: PassTable) -> None:
    """Raise DataError with a table of reasons when more rows than allowed are in quarantine at the end.

    Args:
        counts: totals of the pass: rows, quarantined, and reason.<reason>.
        max_bad_fraction: allowed share of quarantined rows, in [0, 1].
        table: the pass, for the place of its quarantine.
    """
    allowed = Allowance(max_bad_fraction, counts["rows"])
    if allowed.is_spent(counts["quarantined"]):
        raise DataError(too_many(counts, allowed, table, describe(table)))


def too_many(counts: Mapping[str, int], allowed: Allowance, table: PassTable, example: str) -> str:
    """The message that ends a pass: reasons, the commonest detail, and what to do."""
    num_rows, num_bad = counts["rows"], counts["quarantined"]
    stops = f" of the first {num_rows:,} rows" if num_rows < allowed.num_rows else f" of {num_rows:,} rows"
    reasons = {key.removeprefix(REASON_COUNT): n for key, n in counts.items() if key.startswith(REASON_COUNT)}
    width = max(map(len, reasons), default=0)
    lines = [
        f"  {reason:<{width}}  {count:>9,}" for reason, count in sorted(reasons.items(), key=lambda item: -item[1])
    ]
    remedy = REMEDIES.get(Reason(max(reasons, key=lambda each: reasons[each]))) if reasons else None
    whole = (
        f"; of all {allowed.num_rows:,} no more than {int(allowed.max_bad_fraction * allowed.num_rows):,} may be, so "
        f"that {table.name} stops here"
        if num_rows < allowed.num_rows
        else ""
    )
    return (
        f"{num_bad:,}{stops} ({num_bad / num_rows:.2%}) are in quarantine, more than max_bad_fraction "
        f"allows ({allowed.max_bad_fraction:.2%}){whole}:\n" + "\n".join(lines) + f"\n{example}They are in "
        f"{table.quarantine_folder.path(table.name)} with source, line, reason and raw row. "
        f"{remedy + ' Or mend the input' if remedy else _REMEDY}, or raise max_bad_fraction; what is done so far is "
        "kept."
    )


def describe(table: PassTable) -> str:
    """A line with the commonest detail in a pass's quarantine, by an example; nothing where there is none."""
    files = [commit.quarantine.file for commit in table.commits().values() if commit.quarantine]
    columns = [REASON, DETAIL, SOURCE, LINE, PAIR_ID]
    tables = [table.quarantine_folder.read_table(file).select(columns) for file in sorted(files)[:_READ_FILES]]
    return commonest_line([row for each in tables for row in each.to_pylist()])


def commonest_line(rows: Sequence[Mapping[str, Any]]) -> str:
    """The same of rows of a quarantine with reason, detail, source, line and pair_id."""
    if not rows:
        return ""
    kinds = Counter(_kind(row) for row in rows)
    kind, count = kinds.most_common(1)[0]
    row = next(row for row in rows if _kind(row) == kind)
    detail = row[DETAIL] if len(row[DETAIL]) <= _SHOWN_CHARS else f"{row[DETAIL][:_SHOWN_CHARS]} …"
    pair = f"pair {row[PAIR_ID]}, " if row.get(PAIR_ID) else ""
    return f"Most often ({count:,} of {len(rows):,}), as for {pair}line {row[LINE]} of {row[SOURCE]}: {detail}\n"


def _kind(row: Mapping[str, Any]) -> tuple[str, str]:
    """What rows have in common whose details differ by names and numbers alone."""
    detail = row[DETAIL].replace(row[PAIR_ID], "…") if row.get(PAIR_ID) else row[DETAIL]
    return row[REASON], re.sub(r"\d+", "#", detail)


def spread(items: Sequence[Item]) -> list[Item]:
    """The same items, `FIRST_UNITS` of them from all over first: these stand for the others."""
    num = len(items)
    if num <= FIRST_UNITS:
        return list(items)
    first = [i * num // FIRST_UNITS for i in range(FIRST_UNITS)]
    return [items[i] for i in first] + [item for i, item in enumerate(items) if i not in set(first)]
