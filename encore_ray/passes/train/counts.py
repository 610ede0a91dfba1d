"""What there is to train on, counted over all units before a worker starts."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encore_ray.composition.heads.label_counts import LabelCounts
from encore_ray.errors import DataError
from encore_ray.models.spec.training import Objective
from encore_ray.passes.heads.labels import LabelledUnit
from encore_ray.passes.train.rows import LAST_HASH, RowReader
from encore_ray.rules import RuleSet


@dataclass(frozen=True, eq=False)
class RowCounts:
    """Rows and targets; parts merge with ``+``.

    Attributes:
        num_rows: of all units.
        num_train, num_heldout: with a target, of either part.
        num_ties_K: pairs that a rule does not tell apart.
        num_K, total_K: targets that are trained on, and their sum in order of the rows.
        labels: of the ratings, where the objective has some.
        least_heldout: the smallest hash of a held-out prompt with a target; where there is none, the largest there is.
    """

    num_rows: int
    num_train: int
    num_heldout: int
    num_ties_K: NDArray[np.int64]
    num_K: NDArray[np.int64]
    total_K: NDArray[np.float64]
    labels: LabelCounts | None
    least_heldout: int

    def __add__(self, other: "RowCounts") -> "RowCounts":
        return RowCounts(
            num_rows=self.num_rows + other.num_rows,
            num_train=self.num_train + other.num_train,
            num_heldout=self.num_heldout + other.num_heldout,
            num_ties_K=self.num_ties_K + other.num_ties_K,
            num_K=self.num_K + other.num_K,
            total_K=self.total_K + other.total_K,
            labels=None if self.labels is None or other.labels is None else self.labels + other.labels,
            least_heldout=min(self.least_heldout, other.least_heldout),
        )

    @property
    def num_without(self) -> int:
        """Rows without any target: unlabelled, ties under every rule, single responses where pairs are asked for."""
        return self.num_rows - self.num_train - self.num_heldout

    def check(self, rules: RuleSet, *, where: str) -> None:
        """Raise DataError where labels leave their scale, or there are no rows to train on or to judge by."""
        if self.labels is not None:
            self.labels.check(rules, where=where)
        if not self.num_train or not self.num_heldout:
            raise DataError(
                f"Of {self.num_rows:,} rows in {where} {self.num_train:,} are there to train on and "
                f"{self.num_heldout:,} to judge by: a fifth of the prompts is held out. Train on a larger corpus, or "
                "look at its labels."
            )
        empty = [name for name, num in zip(rules.names, self.num_K, strict=True) if not num]
        if empty:
            raise DataError(f"{where} has nothing to train {', '.join(empty)} on. Leave them out of the rules.")

    def last_evaluated(self, num_rows: int) -> int:
        """Up to which hash held-out prompts are evaluated, to have about so many rows; at the least one prompt is.

        Prompts may have many rows, and be few, so that a share of the hashes can have none of them.
        """
        last = LAST_HASH if num_rows >= self.num_heldout else int(num_rows / self.num_heldout * LAST_HASH)
        return max(last, self.least_heldout)

    def first_biases(self, objective: Objective) -> tuple[float, ...]:
        """Where fresh heads start: at the mean rating, or the log odds of a label's share."""
        mean_K = self.total_K / np.maximum(self.num_K, 1)
        if objective == "regression":
            return tuple(mean_K.tolist())
        if objective == "multilabel":
            share_K = (self.total_K + 0.5) / (self.num_K + 1)  # none is 0 or 1
            return tuple(np.log(share_K / (1 - share_K)).tolist())
        return (0.0,) * len(mean_K)


class CountRows:
    """Counts one unit, in a worker."""

    def __init__(self, reader: RowReader):
        self._reader = reader

    def __call__(self, unit: LabelledUnit) -> RowCounts:
        rows = self._reader.read(unit)
        labels = None
        if rows.label_2NK is not None:
            labels = LabelCounts.of(np.concatenate(rows.label_2NK), np.tile(rows.hash_N, 2), rules=self._reader.rules)
        train_N = rows.has_target_N & ~rows.heldout_N
        heldout_N = rows.has_target_N & rows.heldout_N
        target_MK = rows.target_N2K[train_N].reshape(-1, len(self._reader.rules)).astype(np.float64)
        return RowCounts(
            num_rows=len(train_N),
            num_train=int(train_N.sum()),
            num_heldout=int(heldout_N.sum()),
            num_ties_K=rows.is_tie_NK.sum(axis=0),
            num_K=(~np.isnan(target_MK)).sum(axis=0),
            total_K=np.nansum(target_MK, axis=0),
            labels=labels,
            least_heldout=int(rows.hash_N[heldout_N].min(initial=LAST_HASH)),
        )
