"""What an actor of the score pass does with one unit: read, tokenise, score, and write what can be used."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from encore_ray.config import ScoreOptions
from encore_ray.errors import DataError
from encore_ray.models.checkpoint import load_model
from encore_ray.models.conversations import TokenizedPairs
from encore_ray.models.scorer import PairScorer
from encore_ray.passes.commits import REASON_COUNT
from encore_ray.passes.tables import RULES_METADATA, TableUnit
from encore_ray.passes.units import Attempt
from encore_ray.rules import RuleSet
from encore_ray.schema import (
    CHOSEN,
    CHOSEN_CHARS,
    CHOSEN_TOKENS,
    GROUP_ID,
    PAIR_ID,
    PROMPT,
    PROMPT_ID,
    QUARANTINE_SCHEMA,
    REJECTED,
    REJECTED_CHARS,
    REJECTED_TOKENS,
    SUBSET,
    TRUNCATED,
    Reason,
    chosen_column,
    rejected_column,
)

Write = Callable[[TableUnit, Attempt], Mapping[str, int]]

CARRIED = (PAIR_ID, PROMPT_ID, GROUP_ID, SUBSET)
TEXTS = (PROMPT, CHOSEN, REJECTED)


@dataclass(frozen=True)
class ScoringModel:
    """The model of a job, as planned on the driver.

    Attributes:
        path: folder or hub id.
        options: how it is loaded and fed.
        rules: of its heads.
        facts: what decides its scores, as JSON values.
    """

    path: str
    options: ScoreOptions
    rules: RuleSet
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class BadPair:
    """A pair that got no scores: its row in the unit, and why."""

    row: int
    reason: Reason
    detail: str


class ModelScores:
    """Scores by a multi-head model; two calls at a time overlap reading and tokenising with the device's work."""

    def __init__(self, model: ScoringModel):
        loaded = load_model(
            model.path,
            revision=model.options.revision,
            dtype=model.facts["dtype"],
            device=model.facts["device"],
            rules=model.rules,
            max_length=model.options.max_tokens,
            trust_remote_code=model.options.trust_remote_code,
            allow_pickle=model.options.allow_pickle,
        )
        self._model = model
        self._conversations = loaded.conversations
        self._scorer = PairScorer(loaded, batch_tokens=model.facts["batch_tokens"])
        self._device = threading.Lock()

    def __call__(self, unit: TableUnit, attempt: Attempt) -> Mapping[str, int]:
        table = unit.read([*CARRIED, *TEXTS])
        pairs, refused = self._tokenize(table)
        with self._device:
            scores_N2K = self._scorer.score(pairs)
        kept = _without(table, refused)
        single = kept.column(REJECTED).is_null().to_numpy(zero_copy_only=False)
        truncated_N = pairs.chosen_truncated | pairs.rejected_truncated
        lengths = {
            CHOSEN_TOKENS: pa.array(pairs.chosen_tokens, pa.int32()),
            REJECTED_TOKENS: pa.array(pairs.rejected_tokens, pa.int32(), mask=single),
            TRUNCATED: pa.array(truncated_N),
        }
        facts = {key: "" if value is None else str(value) for key, value in self._model.facts.items()}
        counts = write_scores(
            unit, attempt, table, scores_N2K, rules=self._model.rules, bad=refused, columns=lengths, facts=facts
        )
        num_tokens = int(pairs.chosen_tokens.sum() + pairs.rejected_tokens.sum())
        return {**counts, "truncated": int(np.count_nonzero(truncated_N)), "tokens": num_tokens}

    def _tokenize(self, table: pa.Table) -> tuple[TokenizedPairs, list[BadPair]]:
        """The pairs as token ids; those that the model's chat template refuses are left out and named."""
        try:
            return self._tokenize_all(table), []
        except DataError:
            refused = [bad for row in range(table.num_rows) if (bad := self._refusal(table, row))]
            return self._tokenize_all(_without(table, refused)), refused

    def _refusal(self, table: pa.Table, row: int) -> BadPair | None:
        try:
            self._tokenize_all(table.slice(row, 1))
        except DataError as error:
            return BadPair(row, Reason.TEMPLATE_REFUSED, str(error))
        return None

    def _tokenize_all(self, table: pa.Table) -> TokenizedPairs:
        return self._conversations.tokenize_pairs(
            table.column(PROMPT).to_pylist(),
            chosen=table.column(CHOSEN).to_pylist(),
            rejected=table.column(REJECTED).to_pylist(),
            pair_ids=table.column(PAIR_ID).to_pylist(),
        )


class DataScores:
    """Scores that are ratings in the data: columns of pairs/, with lengths in characters instead of tokens."""

    def __init__(self, rules: RuleSet):
        self._rules = rules

    def __call__(self, unit: TableUnit, attempt: Attempt) -> Mapping[str, int]:
        sides = [(chosen_column(name), rejected_column(name)) for name in self._rules.names]
        table = unit.read([*CARRIED, *TEXTS, *(column for pair in sides for column in pair)])
        columns = [[table.column(name).cast(pa.float32()).to_numpy() for name in pair] for pair in sides]
        scores_N2K = np.array(columns, dtype=np.float32).transpose(2, 1, 0)
        single = table.column(REJECTED).is_null().to_numpy(zero_copy_only=False)
        lengths = {
            CHOSEN_CHARS: pa.array(_num_chars(table.column(CHOSEN)), pa.int32()),
            REJECTED_CHARS: pa.array(_num_chars(table.column(REJECTED)), pa.int32(), mask=single),
        }
        facts = {"model": "ratings in the data"}
        return write_scores(unit, attempt, table, scores_N2K, rules=self._rules, bad=[], columns=lengths, facts=facts)


def write_scores(
    unit: TableUnit,
    attempt: Attempt,
    table: pa.Table,
    scores_N2K: np.ndarray,
    *,
    rules: RuleSet,
    bad: Sequence[BadPair],
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
    kept = _without(table, bad)
    single_N = kept.column(REJECTED).is_null().to_numpy(zero_copy_only=False)
    wrong_N = ~np.isfinite(scores_N2K[:, 0]).all(axis=1)
    wrong_N |= ~single_N & ~np.isfinite(scores_N2K[:, 1]).all(axis=1)
    row_N = np.setdiff1d(np.arange(table.num_rows), [pair.row for pair in bad])
    non_finite = [
        BadPair(int(row_N[i]), Reason.NON_FINITE_SCORE, _describe_scores(scores_N2K[i], rules))
        for i in np.flatnonzero(wrong_N)
    ]
    arrays: dict[str, Any] = {name: kept.column(name) for name in CARRIED}
    for k, name in enumerate(rules.names):
        arrays[chosen_column(name)] = pa.array(scores_N2K[:, 0, k])
        arrays[rejected_column(name)] = pa.array(scores_N2K[:, 1, k], mask=single_N)
    scored = pa.table({**arrays, **columns}).filter(pa.array(~wrong_N))
    metadata = {f"encore_ray.{key}".encode(): value.encode() for key, value in facts.items()}
    metadata[RULES_METADATA] = json.dumps(rules.to_list()).encode()
    attempt.write(scored.replace_schema_metadata(metadata))
    quarantined = sorted([*bad, *non_finite], key=lambda pair: pair.row)
    attempt.quarantine(_quarantine_table(unit, table, quarantined))
    attempt.notes.update(_ranges(scores_N2K[~wrong_N]))
    reasons = Counter(f"{REASON_COUNT}{pair.reason}" for pair in quarantined)
    return {"rows": table.num_rows, "scored": scored.num_rows, "quarantined": len(quarantined), **reasons}


def _quarantine_table(unit: TableUnit, table: pa.Table, bad: Sequence[BadPair]) -> pa.Table:
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


def _without(table: pa.Table, bad: Sequence[BadPair]) -> pa.Table:
    if not bad:
        return table
    keep = np.ones(table.num_rows, dtype=bool)
    keep[[pair.row for pair in bad]] = False
    return table.filter(pa.array(keep))


def _num_chars(column: pa.ChunkedArray) -> list[int]:
    """Characters of each response; 0 where there is none."""
    return [sum(len(message["content"]) for message in messages or ()) for messages in column.to_pylist()]
