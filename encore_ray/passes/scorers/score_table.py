"""The scores of one unit as files: what can be used, and what goes to quarantine; ratings in the data as scores."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from encore_ray.folder.attempt import Attempt
from encore_ray.folder.commits import LeftOut
from encore_ray.folder.tables import TableUnit, rules_metadata
from encore_ray.rules import RuleSet
from encore_ray.schema import (
    CHOSEN,
    CHOSEN_CHARS,
    GROUP_ID,
    PAIR_ID,
    PROMPT,
    PROMPT_ID,
    QUARANTINE_SCHEMA,
    REASON_COUNT,
    REJECTED,
    REJECTED_CHARS,
    SUBSET,
    Reason,
    chosen_column,
    rejected_column,
)

Write = Callable[[TableUnit, Attempt], Mapping[str, int]]

CARRIED = (PAIR_ID, PROMPT_ID, GROUP_ID, SUBSET)
TEXTS = (PROMPT, CHOSEN, REJECTED)


class DataScores:
    """Scores that are ratings in the data: columns of pairs/, with lengths in characters instead of tokens."""

    def __init__(self, rules: RuleSet):
        self._rules = rules

    def __call__(self, unit: TableUnit, attempt: Attempt) -> Mapping[str, int]:
        sides = [(chosen_column(name), rejected_column(name)) for name in self._rules.names]
        table = unit.read([*CARRIED, *TEXTS, *(column for pair in sides for column in pair)])
        bad = attempt.left_out
        kept = without(table, bad)
        columns = [[kept.column(name).cast(pa.float32()).to_numpy() for name in pair] for pair in sides]
        scores_N2K = np.array(columns, dtype=np.float32).transpose(2, 1, 0)
        single = kept.column(REJECTED).is_null().to_numpy(zero_copy_only=False)
        lengths = {
            CHOSEN_CHARS: pa.array(num_chars(kept.column(CHOSEN)), pa.int32()),
            REJECTED_CHARS: pa.array(num_chars(kept.column(REJECTED)), pa.int32(), mask=single),
        }
        facts = {"model": "ratings in the data"}
        return write_scores(unit, attempt, table, scores_N2K, rules=self._rules, bad=bad, columns=lengths, facts=facts)


def write_scores(
    unit: TableUnit,
    attempt: Attempt,
    table: pa.Table,
    scores_N2K: np.ndarray,
    *,
    rules: RuleSet,
    bad: Sequence[LeftOut],
    columns: Mapping[str, pa.Array],
    facts: Mapping[str, str],
) -> dict[str, int]:
    """Write one unit's scores, and to quarantine the pairs without scores or with one that is not finite.

    Args:
        unit: of pairs/, for the quarantine's source.
        attempt: takes the files.
        table: all M pairs of the unit.
        scores_N2K: float32, of the N pairs of the table that are not in `bad`.
        rules: K rules, for the columns.
        bad: pairs that could not be scored.
        columns: N further values each, put behind the scores.
        facts: for the file's metadata.

    Returns:
        Counts: rows, scored, quarantined.
    """
    single_N = without(table, bad).column(REJECTED).is_null().to_numpy(zero_copy_only=False)
    wrong_N = non_finite(scores_N2K, single_N)
    arrays: dict[str, Any] = {}
    for k, name in enumerate(rules.names):
        arrays[chosen_column(name)] = pa.array(scores_N2K[:, 0, k])
        arrays[rejected_column(name)] = pa.array(scores_N2K[:, 1, k], mask=single_N)
    attempt.notes.update(_ranges(scores_N2K[~wrong_N]))
    return write_rows(
        unit,
        attempt,
        table,
        {**arrays, **columns},
        bad=bad,
        wrong={i: _describe_scores(scores_N2K[i], rules) for i in np.flatnonzero(wrong_N).tolist()},
        metadata={**facts_metadata(facts), **rules_metadata(rules)},
    )


def non_finite(values_N2D: np.ndarray, single_N: np.ndarray) -> np.ndarray:
    """Which of N pairs have a value that is not finite; a single response has but one side."""
    return ~np.isfinite(values_N2D[:, 0]).all(axis=1) | (~single_N & ~np.isfinite(values_N2D[:, 1]).all(axis=1))


def facts_metadata(facts: Mapping[str, str]) -> dict[bytes, bytes]:
    """Facts for a file's metadata."""
    return {f"encore_ray.{key}".encode(): value.encode() for key, value in facts.items()}


def write_rows(
    unit: TableUnit,
    attempt: Attempt,
    table: pa.Table,
    columns: Mapping[str, Any],
    *,
    bad: Sequence[LeftOut],
    wrong: Mapping[int, str],
    metadata: Mapping[bytes, bytes],
) -> dict[str, int]:
    """Write what one unit's pairs got, behind their ids, and to quarantine the pairs that got nothing usable.

    Args:
        unit, table, bad: as of `write_scores`.
        columns: N values each, of the pairs that are not in `bad`.
        wrong: of these, the places of values that are not finite, each described.
        metadata: of the file.

    Returns:
        Counts: rows, scored, quarantined.
    """
    kept = without(table, bad)
    row_N = np.setdiff1d(np.arange(table.num_rows), [pair.row for pair in bad])
    wrong_N = np.zeros(kept.num_rows, dtype=bool)
    wrong_N[list(wrong)] = True
    scored = pa.table({**{name: kept.column(name) for name in CARRIED}, **columns}).filter(pa.array(~wrong_N))
    attempt.write(scored.replace_schema_metadata(dict(metadata)))
    unusable = [LeftOut(int(row_N[i]), Reason.NON_FINITE_SCORE, detail) for i, detail in wrong.items()]
    quarantined = sorted([*bad, *unusable], key=lambda pair: pair.row)
    attempt.quarantine(_quarantine_table(unit, table, quarantined))
    reasons = Counter(f"{REASON_COUNT}{pair.reason}" for pair in quarantined)
    return {"rows": table.num_rows, "scored": scored.num_rows, "quarantined": len(quarantined), **reasons}


def _quarantine_table(unit: TableUnit, table: pa.Table, bad: Sequence[LeftOut]) -> pa.Table:
    rows = table.take(pa.array([pair.row for pair in bad], pa.int64())).to_pylist()
    records = [
        {
            "source": unit.folder.path(unit.file),
            "line": pair.row + 1,
            "pair_id": row[PAIR_ID],
            "reason": pair.reason.value,
            "detail": pair.detail,
            "raw": json.dumps({name: row[name] for name in TEXTS}, ensure_ascii=False),
        }
        for pair, row in zip(bad, rows, strict=True)
    ]
    return pa.Table.from_pylist(records, schema=QUARANTINE_SCHEMA)


def _ranges(scores_N2K: np.ndarray) -> dict[str, list[float | None]]:
    """Smallest and largest score of each rule in the unit; None where it has no score."""
    if not len(scores_N2K):
        nothing: list[float | None] = [None] * scores_N2K.shape[2]
        return {"low": nothing, "high": nothing}
    return {
        "low": [float(value) for value in np.nanmin(scores_N2K, axis=(0, 1))],
        "high": [float(value) for value in np.nanmax(scores_N2K, axis=(0, 1))],
    }


def _describe_scores(scores_2K: np.ndarray, rules: RuleSet) -> str:
    return "; ".join(
        f"{side} {name}: {score}"
        for side, scores_K in zip((CHOSEN, REJECTED), scores_2K, strict=True)
        for name, score in zip(rules.names, scores_K, strict=True)
        if not np.isfinite(score)
    )


def without(table: pa.Table, bad: Sequence[LeftOut]) -> pa.Table:
    if not bad:
        return table
    keep = np.ones(table.num_rows, dtype=bool)
    keep[[pair.row for pair in bad]] = False
    return table.filter(pa.array(keep))


def num_chars(column: pa.ChunkedArray) -> list[int]:
    """Characters of each response; 0 where there is none."""
    return [sum(len(message["content"]) for message in messages or ()) for messages in column.to_pylist()]
