"""Evaluate: how often the composed reward agrees with the human label, in all and per subset."""

from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from encore_ray.composition.evaluation import RewardStatistics
from encore_ray.composition.rewards import tie_tolerance
from encore_ray.composition.weights import Weights
from encore_ray.errors import DataError
from encore_ray.passes.committed import Watch, ignore_progress
from encore_ray.passes.nodes import Visible
from encore_ray.passes.pools import Resources
from encore_ray.passes.reduce import reduce_units
from encore_ray.passes.tables import TableUnit, resampling_keys, table_units
from encore_ray.schema import (
    CHOSEN_CHARS,
    CHOSEN_TOKENS,
    GROUP_ID,
    MARGIN,
    METRICS_FILE,
    PAIR_ID,
    PROMPT_ID,
    REJECTED_CHARS,
    REJECTED_TOKENS,
    SUBSET,
    WEIGHTS_FILE,
)
from encore_ray.storage import Folder

LENGTHS = ((CHOSEN_TOKENS, REJECTED_TOKENS), (CHOSEN_CHARS, REJECTED_CHARS))


def evaluate_rewards(
    rewards: str,
    output: Folder,
    *,
    have: Resources,
    visible: Visible | None = None,
    watch: Watch = ignore_progress,
) -> dict[str, Any]:
    """Write metrics.json from a rewards folder; returns its content.

    Args:
        rewards: folder written by `compose`, with its copy of weights.json.
        output: where metrics.json goes.
        have: resources of the cluster.
        visible: what each node must see.
        watch: told of the progress in pairs.
    """
    units = table_units(rewards)
    if not units:
        raise DataError(f"{rewards} holds no rewards: there is nothing to evaluate.")
    weights = Weights.from_dict(Folder(rewards).read_json(WEIGHTS_FILE))
    statistics = reduce_units(
        "evaluate", partial(_Measure, tie_tolerance(weights)), units, have=have, visible=visible, watch=watch
    )
    metrics = statistics.metrics(entropy_accuracy=weights.entropy_accuracy)
    output.write_json(METRICS_FILE, metrics)
    return metrics


class _Measure:
    """Statistics of one unit of rewards: runs in a worker."""

    def __init__(self, tolerance: float):
        self._tolerance = tolerance

    def __call__(self, unit: TableUnit) -> RewardStatistics:
        lengths = [name for pair in LENGTHS for name in pair]
        table = unit.read([PAIR_ID, PROMPT_ID, GROUP_ID, SUBSET, MARGIN, *lengths])
        known = next((pair for pair in LENGTHS if set(table.column_names).issuperset(pair)), None)
        return RewardStatistics.measure(
            _floats(table, MARGIN),
            tolerance=self._tolerance,
            keys=resampling_keys(table, [str(value) for value in table.column(PAIR_ID).to_pylist()]),
            subsets=table.column(SUBSET).to_pylist(),
            chosen_length_N=_floats(table, known[0]) if known else None,
            rejected_length_N=_floats(table, known[1]) if known else None,
        )


def _floats(table: pa.Table, name: str) -> np.ndarray:
    return table.column(name).cast(pa.float64()).to_numpy(zero_copy_only=False)
