"""Refine, apply: every response's reward moved to where its energy is highest, unit by unit, resumable."""

import heapq
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from encore_ray.composition.calibration import LIKELY_ERROR, Logistic
from encore_ray.errors import ConfigError
from encore_ray.models.refiner import Refiner
from encore_ray.passes.commits import total_counts
from encore_ray.passes.committed import Watch, ignore_progress, run_committed
from encore_ray.passes.nodes import Visible
from encore_ray.passes.pools import Resources, task_pool
from encore_ray.passes.refine_fit import MARGIN, refined_odds
from encore_ray.passes.refine_source import RewardedUnit, rewarded_units
from encore_ray.passes.unit_work import Task
from encore_ray.passes.units import Attempt, PassTable
from encore_ray.schema import (
    CHOSEN_AT_END,
    CHOSEN_REFINED,
    CHOSEN_REWARD,
    ENERGY_FILE,
    ENERGY_TENSORS_FILE,
    GROUP_ID,
    LABEL_ERRORS_FILE,
    LABEL_PROBABILITY,
    PAIR_ID,
    PROMPT_ID,
    REFINED_MARGIN,
    REJECTED_AT_END,
    REJECTED_REFINED,
    REJECTED_REWARD,
    SCHEMA_VERSION,
    SUBSET,
)
from encore_ray.storage import Folder, content_digest

MOST_LISTED = 1000  # likely label errors, the least probable labels first


def apply_refinement(
    run: Folder,
    output: PassTable,
    *,
    have: Resources,
    visible: Visible | None = None,
    overwrite: bool = False,
    watch: Watch = ignore_progress,
) -> dict[str, int]:
    """Write refined/ from rewards/, embeddings/ and the fitted energies.

    Returns:
        Counts: rows, pairs, singles, at_end (responses), outside (responses), likely_label_errors (pairs).

    Raises:
        ConfigError: no energies are fitted. ResumeRefused: the folder holds rewards refined by other energies.
    """
    units = rewarded_units(run)
    if not run.exists(ENERGY_FILE):
        raise ConfigError(f"{run.path(ENERGY_FILE)} is not there: run `encore-ray refine fit` first.")
    digests = [content_digest(run.read_bytes(name)) for name in (ENERGY_TENSORS_FILE, ENERGY_FILE)]
    output = output.open({"energies": digests}, overwrite=overwrite)
    tasks = [
        Task(unit.rewards.unit, unit.digest, unit.rewards.rows, unit, unit.rewards.folder.path(unit.rewards.file))
        for unit in units
    ]
    commits = run_committed(
        output,
        tasks,
        partial(_Refine, run),
        pool=lambda num_units: task_pool(have),
        visible=visible,
        watch=watch,
        overwrite=overwrite,
    )
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
    run.write_json(LABEL_ERRORS_FILE, errors)
    output.seal([task.unit for task in tasks], commits, counts)
    return counts


def load_refiner(run: Folder) -> Refiner:
    """The fitted energies of a run."""
    tensors, description = (run.read_bytes(name) for name in (ENERGY_TENSORS_FILE, ENERGY_FILE))
    return Refiner.from_files(tensors, description, where=run.path(ENERGY_FILE))


class _Refine:
    """Refines one unit: runs in a worker."""

    def __init__(self, run: Folder):
        self._refiner = load_refiner(run)
        calibration = self._refiner.facts["calibration"]
        source = next(one for one in calibration["sources"] if one["source"] == calibration["used"])
        self._logistic = Logistic(source["slope"], source["intercept"])
        self._reads_margin = calibration["used"] == MARGIN

    def __call__(self, unit: RewardedUnit, attempt: Attempt) -> Mapping[str, int]:
        table = unit.rewards.read([PAIR_ID, PROMPT_ID, GROUP_ID, SUBSET, CHOSEN_REWARD, REJECTED_REWARD])
        rows = unit.read(table, pairs_only=False)
        pair_N = ~np.isnan(rows.r_N2[:, 1])
        # The energy of a response that is not there is never looked at: the chosen one stands in for it.
        r_N2 = np.where(pair_N[:, None], rows.r_N2, rows.r_N2[:, :1])
        e_N2D = np.where(pair_N[:, None, None], rows.e_N2D, rows.e_N2D[:, :1])
        refined = self._refiner.refine(e_N2D.reshape(2 * len(r_N2), -1), r_N2.reshape(-1, 1))
        refined_N2, at_end_N2 = refined.reward_NK.reshape(-1, 2), refined.boundary_NK.reshape(-1, 2)
        x_N = r_N2[:, 0] - r_N2[:, 1] if self._reads_margin else refined_odds(refined, 1.0)[0]
        probability_N = self._logistic.probability(x_N)
        single_N = ~pair_N
        columns: dict[str, Any] = {
            name: table.column(name) for name in (PAIR_ID, PROMPT_ID, GROUP_ID, SUBSET) if name in table.column_names
        }
        columns[CHOSEN_REFINED] = pa.array(refined_N2[:, 0])
        columns[REJECTED_REFINED] = pa.array(refined_N2[:, 1], mask=single_N)
        columns[REFINED_MARGIN] = pa.array(refined_N2[:, 0] - refined_N2[:, 1], mask=single_N)
        columns[CHOSEN_AT_END] = pa.array(at_end_N2[:, 0])
        columns[REJECTED_AT_END] = pa.array(at_end_N2[:, 1], mask=single_N)
        columns[LABEL_PROBABILITY] = pa.array(probability_N, mask=single_N)
        attempt.write(pa.table(columns))
        wrong_N = pair_N & (probability_N < LIKELY_ERROR)
        ids = table.column(PAIR_ID).to_pylist()
        found = [(float(probability_N[row]), ids[row]) for row in np.flatnonzero(wrong_N)]
        attempt.notes["label_errors"] = heapq.nsmallest(MOST_LISTED, found)
        there_N2 = np.stack([np.ones_like(pair_N), pair_N], axis=1)
        outside_N2 = refined.outside_NK.reshape(-1, 2)
        return {
            "rows": len(pair_N),
            "pairs": int(pair_N.sum()),
            "singles": int(single_N.sum()),
            "at_end": int((at_end_N2 & there_N2).sum()),
            "outside": int((outside_N2 & there_N2).sum()),
            "likely_label_errors": int(wrong_N.sum()),
        }
