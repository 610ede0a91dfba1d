"""Rows of a corpus that cannot be used: how many, why, which are the first, and what to do where they are too many."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from encore_ray.check.sample import Sample
from encore_ray.corpora.pairing.ratings import missing_rating
from encore_ray.errors import DataError
from encore_ray.folder.quarantine import commonest_line
from encore_ray.passes.prepare import advice_on, judged_rows
from encore_ray.schema import DETAIL, LINE, SOURCE, chosen_column, rejected_column
from encore_ray.shell import to_paste

_SHARES = (0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0)  # to paste: the next one that allows all
_FIRST_LINES = 5
_NAMED_RULES = 5


@dataclass(frozen=True)
class BadRows:
    """More rows than a job may lack.

    Attributes:
        num, of: of how many rows how many cannot be used; prompts without a response are neither.
        most: the share that may be.
        is_whole: whether these are all rows, so that a run would end by them for certain.
        reasons: why, of ratings rule by rule, with the first lines.
        remedies: what to do about the cause, in a sentence without an end.
    """

    num: int
    of: int
    most: float
    is_whole: bool
    reasons: str
    remedies: str

    @property
    def allowing(self) -> float:
        """The value of prepare.max_bad_fraction that has such rows left out."""
        return next(share for share in _SHARES if share * self.of >= self.num)

    def __str__(self) -> str:
        rows = f"{self.num:,} of {'' if self.is_whole else 'the first '}{self.of:,} rows"
        return (
            f"{rows} ({self.num / self.of:.2%}) cannot be used, more than prepare.max_bad_fraction allows "
            f"({self.most:.2%}): {self.reasons}. {self.remedies}; or have such rows left out by "
            f"prepare.max_bad_fraction {self.allowing:g}"
        )


def find_bad_rows(sample: Sample, most: float) -> BadRows | None:
    """The rows that cannot be used, where they are more than a share of all that were looked at; else None."""
    num, of = judged_rows(sample.counts)
    if num <= most * of:
        return None
    rows = sample.quarantine.to_pylist()
    lacking: dict[str, list[Mapping[str, object]]] = defaultdict(list)
    for row in rows:
        if rule := missing_rating(row[DETAIL]):
            lacking[rule].append(row)
    if sum(map(len, lacking.values())) < num:  # others than ratings that are missing
        example = commonest_line(rows).strip()
        return BadRows(num, of, most, sample.is_whole, example, " ".join(["Mend the input", *advice_on(sample.counts)]))
    rules = sorted(lacking, key=lambda rule: -len(lacking[rule]))
    told = [
        f"{len(lacking[rule]):,} lack a rating of {rule} ({_first(lacking[rule])})" for rule in rules[:_NAMED_RULES]
    ]
    told += [f"others one of {len(rules) - _NAMED_RULES:,} more rules"] if rules[_NAMED_RULES:] else []
    columns = ", ".join(side(rule) for rule in rules for side in (chosen_column, rejected_column))
    left_out = f"take {', '.join(rules)} out of rules.yaml, with prepare.ignore: [{columns}] in the job's file"
    return BadRows(num, of, most, sample.is_whole, "; ".join(told), f"Complete these cells; or {left_out}")


def refuse_bad_rows(found: BadRows) -> None:
    """Raise DataError for rows that are too many, with the line that allows them."""
    raise DataError(f"{found}{to_paste(max_bad_fraction=found.allowing, section='prepare')}")


def _first(rows: list[Mapping[str, object]]) -> str:
    source = str(rows[0][SOURCE])
    lines = [str(row[LINE]) for row in rows if row[SOURCE] == source]
    more = ", …" if len(rows) > _FIRST_LINES else ""
    return f"line{'s' if lines[1:] else ''} {', '.join(lines[:_FIRST_LINES])}{more} of {source.rpartition('/')[2]}"
