"""The texts of the few pairs that a report shows, and what each rule made of them, from the tables of a run.

Only the units that these pairs lie in are read; a table that is not there, or not whole, tells nothing.
"""

import contextlib
from collections.abc import Iterator, Mapping, Set
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from encore_ray.artifacts import LabelErrors
from encore_ray.composition.weigh.rewards import margin_parts
from encore_ray.composition.weigh.weights import Weights
from encore_ray.errors import DataError, EncoreError
from encore_ray.folder.composed import composed_weights
from encore_ray.folder.pass_facts import read_facts
from encore_ray.folder.pass_table import pass_table
from encore_ray.folder.reading.score_block import read_whole
from encore_ray.folder.reading.tables import TableUnit, table_units
from encore_ray.folder.spec import EVALUATE, REFINE
from encore_ray.passes.evaluate import UNITS
from encore_ray.report.data.pairs import MOST_TURNS, PairTexts, Turn
from encore_ray.schema import CHOSEN, MESSAGES, PAIR_ID, PROMPT, REJECTED, REWARDS_DIR, SCORES_DIR
from encore_ray.storage import Folder


def read_examples(run: Folder, wanted: Set[str]) -> dict[str, PairTexts]:
    """What stands in some pairs of a run, by pair_id; nothing where the run's rewards carry no texts.

    Args:
        wanted: pair_ids, of those that evaluations and refinements name.
    """
    by_unit: dict[str, list[str]] = {}
    for pair_id, unit in _units_of(run).items():
        if pair_id in wanted:
            by_unit.setdefault(unit, []).append(pair_id)
    found: dict[str, PairTexts] = {}
    with contextlib.suppress(EncoreError):
        scores = _units(run.child(SCORES_DIR))
        weights = composed_weights(run.child(REWARDS_DIR))
        for name, unit in _units(run.child(REWARDS_DIR)).items():
            if name in by_unit:
                parts = _parts(scores.get(name), weights, by_unit[name])
                for row in _rows(unit, by_unit[name]):
                    found[str(row[PAIR_ID])] = _texts(row, parts.get(str(row[PAIR_ID]), {}))
    return found


def _units_of(run: Folder) -> dict[str, str]:
    """The units that the last evaluation and the last refinement found their pairs in, by pair_id."""
    evaluated = read_facts(run, EVALUATE)
    units = dict((evaluated.kept or {}).get(UNITS, {})) if evaluated else {}
    with contextlib.suppress(EncoreError):
        for commit in pass_table(run, REFINE).commits().values() if run.exists(LabelErrors.FILE) else ():
            units |= {pair_id: commit.unit for _, pair_id in commit.notes["label_errors"]}
    return units


def _units(table: Folder) -> Mapping[str, TableUnit]:
    return {unit.unit: unit for unit in table_units(table.uri)}


def _rows(unit: TableUnit, pair_ids: list[str]) -> Iterator[dict[str, Any]]:
    table = unit.read([PAIR_ID, PROMPT, CHOSEN, REJECTED])
    texts = [name for name in (PROMPT, CHOSEN, REJECTED) if name in table.column_names]
    if any(table.schema.field(name).type != MESSAGES for name in texts):
        return
    yield from table.filter(_are(table, pair_ids)).to_pylist()


def _parts(unit: TableUnit | None, weights: Weights, pair_ids: list[str]) -> dict[str, dict[str, float]]:
    """What each rule adds to the margin of each pair, by pair_id.

    Nothing where weights differ between groups, or the scores are no longer those that were weighed.
    """
    if unit is None or weights.group_weights:
        return {}
    try:
        whole = read_whole(unit, weights.rule_set)
    except DataError:
        return {}
    rows = pc.call_function("indices_nonzero", [_are(whole.table, pair_ids)]).to_pylist()
    part_KN = margin_parts([x[rows] for x in whole.chosen_KN], [x[rows] for x in whole.rejected_KN], weights=weights)
    ids = whole.table.column(PAIR_ID).take(pa.array(rows)).cast(pa.string()).to_pylist()
    return {
        pair_id: {rule.name: float(part_N[row]) for rule, part_N in zip(weights.rules, part_KN, strict=True)}
        for row, pair_id in enumerate(ids)
    }


def _are(table: pa.Table, pair_ids: list[str]) -> pa.ChunkedArray:
    return pc.call_function("is_in", [table.column(PAIR_ID).cast(pa.string())], pc.SetLookupOptions(pa.array(pair_ids)))


def _texts(row: Mapping[str, Any], parts: Mapping[str, float]) -> PairTexts:
    prompt = row.get(PROMPT) or []
    sides = [_turns(row.get(name) or []) for name in (PROMPT, CHOSEN, REJECTED)]
    return PairTexts(*sides, left_out=max(len(prompt) - MOST_TURNS, 0), parts=parts)


def _turns(messages: list[Mapping[str, Any]]) -> list[Turn]:
    return [Turn.of(message["role"], message["content"]) for message in messages[-MOST_TURNS:]]
