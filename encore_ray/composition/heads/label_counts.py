"""What labels of responses there are, rule by rule, and which rules have theirs on the same responses."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encore_ray.errors import DataError
from encore_ray.rules import RuleSet


@dataclass(frozen=True, eq=False)
class LabelCounts:
    """What labels there are; merges exactly with ``+``.

    Attributes:
        num_responses: with a label of any rule.
        num_K, num_low_K, num_high_K, num_outside_K: labels; at the ends of the scale; outside of it or not finite.
        mark_K: uint64, sum of the marks of the labelled responses: rules with labels on the same ones have the same.
    """

    num_responses: int
    num_K: NDArray[np.int64]
    num_low_K: NDArray[np.int64]
    num_high_K: NDArray[np.int64]
    num_outside_K: NDArray[np.int64]
    mark_K: NDArray[np.uint64]

    @classmethod
    def of(cls, label_NK: NDArray[np.float64], mark_N: NDArray[np.uint64], *, rules: RuleSet) -> "LabelCounts":
        """Of the N labelled responses of a unit; labels are NaN where there are none, marks differ in all of them."""
        lo_K, hi_K = (np.array([getattr(rule.scale, end) for rule in rules]) for end in ("lo", "hi"))
        present_NK = ~np.isnan(label_NK)
        return cls(
            num_responses=len(label_NK),
            num_K=present_NK.sum(axis=0),
            num_low_K=(label_NK == lo_K).sum(axis=0),
            num_high_K=(label_NK == hi_K).sum(axis=0),
            num_outside_K=(present_NK & ~((label_NK >= lo_K) & (label_NK <= hi_K))).sum(axis=0),
            mark_K=np.where(present_NK, mark_N[:, None], np.uint64(0)).sum(axis=0, dtype=np.uint64),
        )

    def __add__(self, other: "LabelCounts") -> "LabelCounts":
        return LabelCounts(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))

    @property
    def is_yes_no_K(self) -> NDArray[np.bool_]:
        """Rules whose labels are all at an end of their scale."""
        return self.num_low_K + self.num_high_K == self.num_K

    @property
    def groups(self) -> list[list[int]]:
        """Rules with labels on the same responses, together."""
        by_mark: dict[tuple[int, int], list[int]] = {}
        for k, mark in enumerate(zip(self.num_K.tolist(), self.mark_K.tolist(), strict=True)):
            by_mark.setdefault(mark, []).append(k)
        return list(by_mark.values())

    @property
    def group_K(self) -> list[int]:
        return [next(g for g, members in enumerate(self.groups) if k in members) for k in range(len(self.num_K))]

    def check(self, rules: RuleSet, *, where: str) -> None:
        """Raise DataError where a rule has no label, one outside of its scale, or all at the same end of it."""
        unlabelled = [rule.name for rule, num in zip(rules, self.num_K, strict=True) if not num]
        if unlabelled:
            raise DataError(f"{where} has not one label of {', '.join(unlabelled)}. Leave them out of the rules.")
        outside = [
            f"{rule.name}: {bad:,} of {num:,} outside {rule.scale.lo:g} to {rule.scale.hi:g}"
            for rule, bad, num in zip(rules, self.num_outside_K, self.num_K, strict=True)
            if bad
        ]
        if outside:
            raise DataError(f"Labels in {where} leave their scale ({'; '.join(outside)}). Mend them, or rules.yaml.")
        alike = [
            f"{rule.name} ({num:,} of {rule.scale.lo if low else rule.scale.hi:g})"
            for rule, low, high, num in zip(rules, self.num_low_K, self.num_high_K, self.num_K, strict=True)
            if num in (low, high)
        ]
        if alike:
            raise DataError(
                f"All labels are the same in {where}, so there is nothing to learn: {', '.join(alike)}. A head of such "
                "a rule would say the same of every response, and weigh most by entropy. Leave them out of the rules."
            )
