"""Refine, apply: every response's reward, and its score under each rule, moved to where its energy is highest.

Both are passes over units, resumable; a worker loads the energies once.
"""

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from encore_ray.artifacts import LabelErrors
from encore_ray.composition.evaluate.calibration import LIKELY_ERROR, Logistic, beats_coin
from encore_ray.engine.pools import keeping_pool
from encore_ray.engine.work.unit_work import Write, unit_task
from encore_ray.errors import ResumeRefused
from encore_ray.folder.attempt import Attempt
from encore_ray.folder.pass_table import PassTable
from encore_ray.folder.protocol.commits import Commit, total_counts
from encore_ray.folder.reading.table_rules import rules_metadata, table_rules
from encore_ray.folder.reading.tables import table_units
from encore_ray.folder.spec import REFINE, REFINE_SCORES
from encore_ray.passes.refine.energies import REWARD_ENERGY, RULE_ENERGIES, EnergyFiles, fitted_energies
from encore_ray.passes.refine.fit_reward import MARGIN
from encore_ray.passes.refine.fit_rules import DIRECTIONS, directions
from encore_ray.passes.refine.rows import RefinedRows
from encore_ray.passes.refine.source import REWARD, EmbeddedRows, EmbeddedUnit, embedded_units, rule_heads
from encore_ray.passes.scorers.outputs import CARRIED
from encore_ray.rules import RuleSet
from encore_ray.run import Run
from encore_ray.schema import (
    CHOSEN_AT_END,
    CHOSEN_REFINED,
    LABEL_PROBABILITY,
    PAIR_ID,
    REFINED_MARGIN,
    REJECTED_AT_END,
    REJECTED_REFINED,
    SCHEMA_VERSION,
    SCORES_DIR,
)
from encore_ray.step import Record, Step
from encore_ray.storage import Folder

MOST_LISTED = 1000  # likely label errors, the least probable labels first


@dataclass(frozen=True)
class Refine(Step[dict[str, int]]):
    """Write refined/ from rewards/, embeddings/ and the fitted energies.

    Makes counts: rows, pairs, singles, without_embedding (rows), at_end (responses), outside (responses),
    likely_label_errors (pairs); with hard rules decided_by_veto (pairs), which have no margin and no probability.

    Raises:
        ResumeRefused: the folder holds rewards refined by other energies.
    """

    spec = REFINE

    def __call__(self, run: Run) -> dict[str, int]:
        output = run.table(REFINE).open({"energies": REWARD_ENERGY.digests(run.folder)}, overwrite=run.overwrite)
        units = embedded_units(run.folder, REWARD)
        REWARD_ENERGY.warn_if_other(run.folder, units)
        commits = _finish(run, output, units, partial(_RefineRewards, run.folder))
        counts = total_counts(commits.values())
        listed = heapq.nsmallest(
            MOST_LISTED, (tuple(found) for commit in commits.values() for found in commit.notes["label_errors"])
        )
        errors = {
            "schema_version": SCHEMA_VERSION,
            "below": LIKELY_ERROR,
            "num_pairs": counts["likely_label_errors"],
            "pairs": [{PAIR_ID: pair_id, LABEL_PROBABILITY: probability} for probability, pair_id in listed],
        }
        LabelErrors.of(errors).write(run.folder)
        output.seal([unit.table.unit for unit in units], commits, counts)
        return counts

    def record(self, made: dict[str, int]) -> Record:
        return Record(metrics=made, step=made["rows"])


@dataclass(frozen=True)
class RefineScores(Step[dict[str, int]]):
    """Write refined_scores/ from scores/, embeddings/ and the fitted energies of the rules.

    Its table is one of scores like any other. Its rules are the run's but that they clip: a refined score may leave its
    scale. Makes counts: rows, without_embedding (rows), at_end and outside (scores).

    Raises:
        ResumeRefused: rules have another direction than the energies were fitted for, or the folder holds scores
            refined by other energies.
    """

    spec = REFINE_SCORES

    def __call__(self, run: Run) -> dict[str, int]:
        rules = table_rules(table_units(run.path(SCORES_DIR)), run.rules)
        fitted = RULE_ENERGIES.facts(run.folder).get(DIRECTIONS)
        if fitted != directions(rules):
            raise ResumeRefused(
                f"{run.path(RULE_ENERGIES.description)} was fitted to other rules, or to other directions of them, "
                "than the run has now. Fit the energies again by `encore-ray refine fit --per-rule --overwrite`."
            )
        clipping = RuleSet(replace(rule, out_of_range="clip") for rule in rules)
        facts = {"energies": RULE_ENERGIES.digests(run.folder), "rules": clipping.fingerprint}
        output = run.table(REFINE_SCORES).open(facts, overwrite=run.overwrite)
        units = embedded_units(run.folder, rule_heads(rules))
        RULE_ENERGIES.warn_if_other(run.folder, units)
        commits = _finish(run, output, units, partial(_RefineScores, run.folder, clipping))
        counts = total_counts(commits.values())
        output.seal([unit.table.unit for unit in units], commits, counts)
        return counts

    def record(self, made: dict[str, int]) -> Record:
        return Record(metrics=made, step=made["rows"])


def refine_all(run: Run) -> dict[str, dict[str, int]]:
    """Write refined/ and refined_scores/, as far as energies are fitted; the counts of each folder."""
    steps: dict[EnergyFiles, Step[dict[str, int]]] = {REWARD_ENERGY: Refine(), RULE_ENERGIES: RefineScores()}
    return {str(energies.refines.table): run.do(steps[energies]) for energies in fitted_energies(run.folder)}


def _finish(
    run: Run, output: PassTable, units: Sequence[EmbeddedUnit], factory: Callable[[], Write]
) -> dict[str, Commit]:
    tasks = [replace(unit_task(unit.table), input_digest=unit.digest, payload=unit) for unit in units]
    resources = run.engine.resources
    return run.finish(output, tasks, factory, pool=lambda num_units: keeping_pool(resources, num_units=num_units))


class _RefineRewards:
    """Refines the rewards of one unit: runs in a worker, as the one below."""

    def __init__(self, run: Folder):
        self._refiner = REWARD_ENERGY.load(run)
        calibration = self._refiner.facts["calibration"]
        source = next((one for one in calibration["sources"] if one["source"] == calibration["used"]), None)
        # An earlier version used what is worse than a coin, too.
        is_used = source is not None and beats_coin(slope=source["slope"], log_loss=source["log_loss"])
        self._logistic = Logistic(source["slope"], source["intercept"]) if source is not None and is_used else None
        self._reads_margin = calibration["used"] == MARGIN

    def __call__(self, unit: EmbeddedUnit, attempt: Attempt) -> Mapping[str, int]:
        (pair,) = unit.heads.columns
        table = unit.table.read([*CARRIED, *pair, *unit.heads.beside])
        rows = unit.rows(table)
        refined = RefinedRows.of(rows, self._refiner)
        r_N2, at_end_N2 = refined.r_N2K[:, :, 0], refined.at_end_N2K[:, :, 0]
        x_N = rows.r_N2K[:, 0, 0] - rows.r_N2K[:, 1, 0] if self._reads_margin else refined.odds_N
        probability_N = self._logistic.probability(x_N) if self._logistic else np.full(len(x_N), np.nan)
        single_N, decided_N = ~rows.pair_N, rows.decided_N != 0
        unknown_N = np.isnan(probability_N) | decided_N
        carried = [name for name in (*CARRIED, *unit.heads.beside) if name in table.column_names]
        columns: dict[str, Any] = {name: table.column(name) for name in carried}
        columns[CHOSEN_REFINED] = pa.array(r_N2[:, 0])
        columns[REJECTED_REFINED] = pa.array(r_N2[:, 1], mask=single_N)
        columns[REFINED_MARGIN] = pa.array(r_N2[:, 0] - r_N2[:, 1], mask=single_N | decided_N)
        columns[CHOSEN_AT_END] = pa.array(at_end_N2[:, 0])
        columns[REJECTED_AT_END] = pa.array(at_end_N2[:, 1], mask=single_N)
        columns[LABEL_PROBABILITY] = pa.array(probability_N, mask=unknown_N)
        attempt.write(pa.table(columns))
        wrong_N = ~unknown_N & (probability_N < LIKELY_ERROR)
        ids = table.column(PAIR_ID).to_pylist()
        found = [(float(probability_N[row]), ids[row]) for row in np.flatnonzero(wrong_N)]
        attempt.notes["label_errors"] = heapq.nsmallest(MOST_LISTED, found)
        return {
            **_counts(rows, refined),
            "pairs": int(rows.pair_N.sum()),
            "singles": int(single_N.sum()),
            "likely_label_errors": int(wrong_N.sum()),
            **({"decided_by_veto": int(decided_N.sum())} if set(unit.heads.beside) <= set(carried) else {}),
        }


class _RefineScores:
    """Refines the scores of one unit under every rule; all its other columns stay as they are."""

    def __init__(self, run: Folder, rules: RuleSet):
        self._refiner = RULE_ENERGIES.load(run)
        self._metadata = rules_metadata(rules)

    def __call__(self, unit: EmbeddedUnit, attempt: Attempt) -> Mapping[str, int]:
        table = unit.table.read_all()
        rows = unit.rows(table)
        refined = RefinedRows.of(rows, self._refiner)
        single_N = ~rows.pair_N
        for k, (pair, sign) in enumerate(zip(unit.heads.columns, unit.heads.sign_K, strict=True)):
            for side, (name, absent_N) in enumerate(zip(pair, (None, single_N), strict=True)):
                scores_N = (sign * refined.r_N2K[:, side, k]).astype(np.float32)
                table = table.set_column(table.schema.get_field_index(name), name, pa.array(scores_N, mask=absent_N))
        attempt.write(table.replace_schema_metadata({**(table.schema.metadata or {}), **self._metadata}))
        return _counts(rows, refined)


def _counts(rows: EmbeddedRows, refined: RefinedRows) -> dict[str, int]:
    return {
        "rows": len(rows.hash_N),
        "without_embedding": int((~rows.embedded_N).sum()),
        "at_end": int(refined.at_end_N2K.sum()),
        "outside": int(refined.outside_N2K.sum()),
    }
