"""scores/: one float32 column a side and rule, with how they were made in the metadata of the file."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from encore_ray.folder.attempt import Attempt
from encore_ray.folder.reading.table_rules import rules_metadata
from encore_ray.passes.scorers.outputs import UnitOutputs, non_finite, write_rows
from encore_ray.rules import RuleSet
from encore_ray.schema import CHOSEN, REJECTED, chosen_column, rejected_column


@dataclass(frozen=True)
class ScoreWriter:
    """Writes the scores of a unit, and to quarantine the pairs without scores or with one that is not finite.

    The commit notes the range of each rule's scores.

    Attributes:
        rules: K rules, for the columns.
    """

    rules: RuleSet

    def __call__(self, outputs: UnitOutputs, attempt: Attempt) -> Mapping[str, int]:
        scores_N2K, single_N = outputs.values_N2K, outputs.single_N
        wrong_N = non_finite(scores_N2K, single_N)
        arrays: dict[str, Any] = {}
        for k, name in enumerate(self.rules.names):
            arrays[chosen_column(name)] = pa.array(scores_N2K[:, 0, k])
            arrays[rejected_column(name)] = pa.array(scores_N2K[:, 1, k], mask=single_N)
        attempt.notes.update(_ranges(scores_N2K[~wrong_N]))
        return write_rows(
            outputs,
            attempt,
            {**arrays, **outputs.columns},
            wrong={i: self._describe(scores_N2K[i]) for i in np.flatnonzero(wrong_N).tolist()},
            metadata={**outputs.metadata, **rules_metadata(self.rules)},
        )

    def _describe(self, scores_2K: np.ndarray) -> str:
        """The scores of a pair that are not finite."""
        return "; ".join(
            f"{side} {name}: {score}"
            for side, scores_K in zip((CHOSEN, REJECTED), scores_2K, strict=True)
            for name, score in zip(self.rules.names, scores_K, strict=True)
            if not np.isfinite(score)
        )


def _ranges(scores_N2K: np.ndarray) -> dict[str, list[float | None]]:
    """Smallest and largest score of each rule in the unit; None where it has no score."""
    if not len(scores_N2K):
        nothing: list[float | None] = [None] * scores_N2K.shape[2]
        return {"low": nothing, "high": nothing}
    return {
        "low": [float(value) for value in np.nanmin(scores_N2K, axis=(0, 1))],
        "high": [float(value) for value in np.nanmax(scores_N2K, axis=(0, 1))],
    }
