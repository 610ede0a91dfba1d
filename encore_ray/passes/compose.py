"""Compose: the second pass. Every unit's scores become rewards and margins under fixed weights.

Works on the units of the scores, so texts of pairs/ are put beside them without a join over the corpus: a unit of
scores is its unit of pairs, less the rows that scoring put in quarantine.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from encore_ray.arrays import to_arrow
from encore_ray.artifacts import read_weights
from encore_ray.composition.measure.vetoes import VetoCounts
from encore_ray.composition.weigh.groups import compose_by_group
from encore_ray.composition.weigh.rewards import compose
from encore_ray.composition.weigh.weights import Weights
from encore_ray.engine.work.unit_work import unit_task
from encore_ray.errors import ConfigError, DataError
from encore_ray.folder.attempt import Attempt
from encore_ray.folder.pass_table import PassTable
from encore_ray.folder.protocol.commits import total_counts
from encore_ray.folder.reading.columns import row_numbers
from encore_ray.folder.reading.score_block import WholeUnit, read_whole
from encore_ray.folder.reading.table_rules import table_rules
from encore_ray.folder.reading.tables import TableUnit, by_content, column_names, count_numbers, table_units
from encore_ray.folder.reading.vetoes import veto_columns
from encore_ray.folder.spec import COMPOSE
from encore_ray.passes.option_facts import table_digest
from encore_ray.passes.repeats import refuse_foreign_repeats
from encore_ray.rules import RuleSet
from encore_ray.run import Run
from encore_ray.schema import (
    CHOSEN_REWARD,
    CHOSEN_VETO_COUNT,
    GROUP_ID,
    MARGIN,
    PAIR_ID,
    PAIRS_DIR,
    PROMPT_ID,
    REJECTED_REWARD,
    REJECTED_VETO_COUNT,
    REWARDS_DIR,
    SCORES_DIR,
    SUBSET,
    WEIGHTS_FILE,
    chosen_column,
    rejected_column,
)
from encore_ray.step import Record, Step
from encore_ray.storage import Folder, fingerprint

# Facts of a run's rewards that its weights.json decides, whose replacing is asked for where they are weighed.
_OF_THE_RUN = frozenset({"weights", "weighed_by", "rules", "scores"})
OUT_OF_SCALE = "out_of_scale"  # of the counts
KNOWN_BY = "content"  # fact of rewards of scores made elsewhere: those of before, known by size and time, are made anew


@dataclass(frozen=True)
class Compose(Step[dict[str, int]]):
    """Write rewards/ from scores and weights; resumable.

    Makes counts: rows, pairs, singles; with weights by group also rows without one (`without_group`), composed by the
    weights of all; with hard rules also the pairs that a veto decides (`decided_by_veto`), those of which both
    responses break a rule (`both_break`), and of each rule the responses that break it (`chosen_breaks.<rule>`,
    `rejected_breaks.<rule>`); and scores outside of their scale, if any (`out_of_scale`).

    Attributes:
        weights: from `weigh`, on these rules.
        scores: folder or file of scores, whose rewards go straight to the folder; None for the run's.
        rules: of the scores; None: the run's, those that stand with them, or else those of the weights.
        pairs: pairs/ folder whose texts and further columns are put beside the rewards; a run takes its own.

    Raises:
        ConfigError: the run has other weights, which a page would show beside these rewards.
        DataError: weights and scores are of different rules or vetoes, or a pair_id of scores made elsewhere is
            repeated.
        ResumeRefused: rewards of other weights or scores.
    """

    spec = COMPOSE
    weights: Weights
    scores: str | None = None
    rules: RuleSet | None = None
    pairs: str | None = None

    def numbers(self, run: Run) -> int:
        return count_numbers(self.scores or run.path(SCORES_DIR))

    def facts(self, run: Run) -> dict[str, Any] | None:
        if self.scores is not None:
            return None
        _refuse_beside_others(run.folder, self.weights)
        rules = self.rules or run.rules
        return {
            "weights": fingerprint(self.weights.to_dict()),  # whose copy lies beside the rewards
            "rules": rules.fingerprint if rules else None,
            "scores": table_digest(run.path(SCORES_DIR)),
            "pairs": table_digest(run.path(PAIRS_DIR)),
        }

    def made_files(self, run: Run) -> Sequence[str]:
        return [*self.spec.end_files, f"{REWARDS_DIR}/{WEIGHTS_FILE}"]

    def standing(self, run: Run, kept: Any) -> dict[str, int]:
        return run.table(COMPOSE).sealed_counts()

    def __call__(self, run: Run) -> dict[str, int]:
        weights, scores = self.weights, self.scores or run.path(SCORES_DIR)
        pairs = self.pairs if self.scores else run.path(PAIRS_DIR)
        output = PassTable(run.folder, run.folder, COMPOSE.name) if self.scores else run.table(COMPOSE)
        units = by_content(table_units(scores))
        refuse_foreign_repeats(units, run.reducer)
        rules = table_rules(units, self.rules or (None if self.scores else run.rules), weighed=weights.rule_set)
        _check_rules(rules, weights, units[0].table_name)
        _check_vetoes(rules, weights, named=self.rules is not None or (run.rules is not None and not self.scores))
        texts = {unit.unit: unit for unit in table_units(pairs)} if pairs else {}
        output = output.open(
            {
                "weights": weights.fingerprint,
                "weighed_by": weights.facts,
                "rules": rules.fingerprint,
                "pairs": bool(pairs),
                "columns": _all_columns(units, texts),
                **({"scores": KNOWN_BY} if any(unit.is_foreign for unit in units) else {}),
            },
            overwrite=run.overwrite,
            derived={"weights", "scores"} if self.scores else _OF_THE_RUN,
        )
        tasks = []
        for unit in units:
            text = texts.get(unit.unit)
            if pairs and text is None:
                raise DataError(f"{pairs} has no unit {unit.unit} of {unit.table_name}: they belong to different runs.")
            digest = fingerprint([unit.digest, text.digest if text else None])
            tasks.append(replace(unit_task(unit), input_digest=digest, payload=(unit, text)))
        commits = run.finish(output, tasks, partial(_Compose, weights, rules))
        output.folder.write_json(WEIGHTS_FILE, weights.to_dict())
        counts = total_counts(commits.values())
        rows_in = sum(unit.rows for unit in units)
        assert counts.get("rows", 0) == rows_in, f"composed {counts.get('rows', 0)} of {rows_in} rows"
        output.seal([task.unit for task in tasks], commits, counts)
        for sentence in tell_out_of_scale(counts):
            run.note(f"compose: {sentence}")
        return counts

    def record(self, made: dict[str, int]) -> Record:
        return Record(metrics=made, step=made["rows"])


def _refuse_beside_others(run: Folder, weights: Weights) -> None:
    """ConfigError where a run's weights.json is not these weights."""
    own = read_weights(run).fingerprint if run.exists(WEIGHTS_FILE) else weights.fingerprint
    if own != weights.fingerprint:
        raise ConfigError(
            f"{run.path(WEIGHTS_FILE)} has the fingerprint {own[:12]}, the weights to compose with "
            f"{weights.fingerprint[:12]}: a run has rewards by its own weights alone. Leave out --weights, or compose "
            "elsewhere, by --scores and --output."
        )


class _Compose:
    """Rewards of one unit: runs in a worker."""

    def __init__(self, weights: Weights, rules: RuleSet):
        self._weights, self._rules = weights, rules

    def __call__(self, payload: tuple[TableUnit, TableUnit | None], attempt: Attempt) -> Mapping[str, int]:
        unit, text = payload
        rewards, counts = compose_unit(unit, self._weights, self._rules, texts=text)
        attempt.write(rewards)
        return counts


def compose_unit(
    unit: TableUnit, weights: Weights, rules: RuleSet, *, texts: TableUnit | None = None
) -> tuple[pa.Table, dict[str, int]]:
    """The rewards of one unit of scores beside its other columns, and counts as of `Compose`.

    Args:
        texts: unit of the same pairs, whose columns are put beside the rewards.
    """
    scored = {column for n in rules.names for column in (chosen_column(n), rejected_column(n))}
    block = read_whole(unit, rules)
    carried = [name for name in block.table.column_names if name not in scored]
    counts = {"rows": block.table.num_rows}
    if beyond := _out_of_scale(block, weights, rules):
        counts[OUT_OF_SCALE] = beyond
    has_rejected_N = block.has_rejected_N
    if weights.group_weights:
        grouped = compose_by_group(
            block.chosen_KN,
            block.rejected_KN,
            weights=weights,
            has_rejected_N=has_rejected_N,
            subsets=block.subsets,
        )
        rewards = grouped.rewards
        counts["without_group"] = grouped.num_without_group
    else:
        rewards = compose(block.chosen_KN, block.rejected_KN, weights=weights, has_rejected_N=has_rejected_N)
    single_N = ~has_rejected_N
    columns: dict[str, pa.Array | pa.ChunkedArray] = {name: block.table.column(name) for name in carried}
    for name in (SUBSET, PROMPT_ID, GROUP_ID):
        columns.setdefault(name, pa.nulls(block.table.num_rows, pa.string()))
    columns[CHOSEN_REWARD] = to_arrow(rewards.chosen_N)
    columns[REJECTED_REWARD] = to_arrow(rewards.rejected_N, null_N=single_N)
    columns[MARGIN] = to_arrow(rewards.margin_N, null_N=np.isnan(rewards.margin_N))
    columns |= veto_columns(rewards.broken)
    if rewards.broken is not None:
        counts |= _count_vetoes(VetoCounts.of(rewards.broken))
    if texts is not None:
        columns.update(_texts(texts, block.table.column(PAIR_ID), skip=columns.keys() | scored))
    singles = int(np.count_nonzero(single_N))
    return pa.table(columns), counts | {"pairs": counts["rows"] - singles, "singles": singles}


def _out_of_scale(block: WholeUnit, weights: Weights, rules: RuleSet) -> int:
    """Scores that `weigh` would refuse under the options of these weights, for their rule's scale."""
    found = 0
    for rule, weighed, *both in zip(rules, weights.rules, block.chosen_KN, block.rejected_KN, strict=True):
        binning, scale = weighed.binning, weighed.scale
        is_observed = (binning.lo, binning.hi) != (scale.lo, scale.hi)
        if is_observed or weights.clip or rule.out_of_range == "clip":
            continue
        for score_N in both:
            if len(score_N) and not binning.covers(float(score_N.min()), float(score_N.max())):
                found += int(np.count_nonzero(binning.outside(score_N)))
    return found


def tell_out_of_scale(counts: Mapping[str, int]) -> list[str]:
    """What is said of scores outside of their scale, by the counts of `compose_unit`; nothing where there are none."""
    beyond = counts.get(OUT_OF_SCALE, 0)
    told = f"{beyond:,} scores lie outside of their rule's scale and count as they are; `weigh` refuses such scores"
    return [told] if beyond else []


def _count_vetoes(found: VetoCounts) -> dict[str, int]:
    counts = {"decided_by_veto": found.decided, "both_break": found.both}
    for prefix, count_V in ((CHOSEN_VETO_COUNT, found.chosen_V), (REJECTED_VETO_COUNT, found.rejected_V)):
        counts |= {f"{prefix}{name}": count for name, count in zip(found.names, count_V.tolist(), strict=True)}
    return counts


def _texts(unit: TableUnit, pair_ids: pa.ChunkedArray, *, skip: Any) -> dict[str, pa.ChunkedArray]:
    """Further columns of the unit's pairs, for just the given ids in their order."""
    table = unit.read_all()
    row_N = row_numbers(pair_ids, among=table.column(PAIR_ID))
    if row_N.null_count:
        missing = pair_ids.filter(row_N.is_null())[0]
        raise DataError(f"{unit.where} lacks the pair {missing}: pairs and scores do not match.")
    picked = table.take(row_N)
    return {name: picked.column(name) for name in picked.column_names if name not in skip}


def _all_columns(units: list[TableUnit], texts: Mapping[str, TableUnit]) -> list[str]:
    first_text = next(iter(texts.values()), None)
    names = column_names(units[0]) + (column_names(first_text) if first_text else [])
    return list(dict.fromkeys(names))


def _check_rules(rules: RuleSet, weights: Weights, scores: str) -> None:
    weighed = [rule.name for rule in weights.rules]
    if weighed != rules.names:
        raise DataError(
            f"Rules differ: the weights have {len(weighed)} ({', '.join(weighed[:5])} …), {scores} has {len(rules)} "
            f"({', '.join(rules.names[:5])} …). Rerun `encore-ray weigh` on these scores."
        )


def _check_vetoes(rules: RuleSet, weights: Weights, *, named: bool) -> None:
    """DataError where weights would pass over a veto, because they were made before it.

    Args:
        named: the rules are those that the user names; those that a table carries may be older than the weights, which
            then add vetoes of their own.
    """
    changed = [
        f"{rule.name} (veto {rule.veto or 'none'}, weighed with {weight.veto or 'none'})"
        for rule, weight in zip(rules, weights.rules, strict=True)
        if rule.veto != weight.veto and (named or rule.veto)
    ]
    if changed:
        raise DataError(
            f"Vetoes differ from those that were weighed: {', '.join(changed)}. Rerun `encore-ray weigh`, or name the "
            "rules that were weighed by --rules."
        )
