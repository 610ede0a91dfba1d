"""Hard rules: which responses break one, and which pairs that decides.

A response that breaks any of them loses to every response that breaks none; where both responses of a pair break one,
or neither does, the rewards decide.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from encore_ray.composition.scales.binning import snap
from encore_ray.rules import Scale, Veto


class MayVeto(Protocol):
    """A rule, weighed or not."""

    @property
    def name(self) -> str: ...

    @property
    def scale(self) -> Scale: ...

    @property
    def veto(self) -> Veto | None: ...


def hard_rules(rules: Sequence[MayVeto]) -> tuple[str, ...]:
    """Names of the rules that have a veto, in rule order."""
    return tuple(rule.name for rule in rules if rule.veto)


def breaks(scores: ArrayLike, *, veto: Veto, scale: Scale) -> NDArray[np.bool_]:
    """Which scores are beyond the limit of a veto; never NaN.

    Scores are taken as `compose` takes them, ratings restored to declared levels. A score that equals the limit in
    float32, as which scores are stored, keeps the rule.
    """
    exact, stored = snap(scores, scale=scale), float(np.float32(veto.limit))
    return exact < min(veto.limit, stored) if veto.side == "below" else exact > max(veto.limit, stored)


def decide(
    chosen_N: NDArray[np.bool_], rejected_N: NDArray[np.bool_], *, is_pair_N: NDArray[np.bool_]
) -> NDArray[np.int8]:
    """1 where a veto decides a pair for the chosen response, -1 for the rejected one, 0 where it decides nothing.

    Args:
        chosen_N, rejected_N: which responses break a hard rule.
        is_pair_N: False for single responses.
    """
    return np.where(is_pair_N, rejected_N.astype(np.int8) - chosen_N.astype(np.int8), 0).astype(np.int8)


@dataclass(frozen=True, eq=False)
class BrokenRules:
    """Which of V hard rules the responses of N rows break.

    Attributes:
        names: of the hard rules.
        chosen_VN, rejected_VN: bool; False where there is no rejected response.
        is_pair_N: bool, False for single responses.
    """

    names: tuple[str, ...]
    chosen_VN: NDArray[np.bool_]
    rejected_VN: NDArray[np.bool_]
    is_pair_N: NDArray[np.bool_]

    @classmethod
    def of(
        cls,
        rules: Sequence[MayVeto],
        *,
        chosen_KN: Sequence[ArrayLike] | NDArray[np.floating],
        rejected_KN: Sequence[ArrayLike] | NDArray[np.floating],
        has_rejected_N: NDArray[np.bool_],
    ) -> "BrokenRules | None":
        """What the scores of N rows under K rules break; None where no rule has a veto."""
        hard = [(k, rule, rule.veto) for k, rule in enumerate(rules) if rule.veto]
        if not hard:
            return None
        chosen_VN = np.stack([breaks(chosen_KN[k], veto=veto, scale=rule.scale) for k, rule, veto in hard])
        rejected_VN = np.stack([breaks(rejected_KN[k], veto=veto, scale=rule.scale) for k, rule, veto in hard])
        return cls(hard_rules(rules), chosen_VN, rejected_VN & has_rejected_N, has_rejected_N)

    @property
    def chosen_N(self) -> NDArray[np.bool_]:
        """Which chosen responses break any."""
        return np.any(self.chosen_VN, axis=0)

    @property
    def rejected_N(self) -> NDArray[np.bool_]:
        """Which rejected responses break any."""
        return np.any(self.rejected_VN, axis=0)

    @property
    def decided_N(self) -> NDArray[np.int8]:
        """See `decide`."""
        return decide(self.chosen_N, self.rejected_N, is_pair_N=self.is_pair_N)

    @property
    def listed(self) -> tuple[list[list[str]], list[list[str] | None]]:
        """Of each row the names of the rules that the chosen response breaks, and the rejected; None without one."""
        chosen, rejected = (self._names(broken_VN) for broken_VN in (self.chosen_VN, self.rejected_VN))
        return chosen, [names if is_pair else None for names, is_pair in zip(rejected, self.is_pair_N, strict=True)]

    def _names(self, broken_VN: NDArray[np.bool_]) -> list[list[str]]:
        names: list[list[str]] = [[] for _ in range(broken_VN.shape[1])]
        for row, v in np.argwhere(broken_VN.T).tolist():
            names[row].append(self.names[v])
        return names

    def take(self, row_N: NDArray[np.bool_] | NDArray[np.intp]) -> "BrokenRules":
        """Some of the rows."""
        sides = self.chosen_VN[:, row_N], self.rejected_VN[:, row_N]
        return BrokenRules(self.names, *sides, self.is_pair_N[row_N])


@dataclass(frozen=True, eq=False)
class VetoCounts:
    """What hard rules decide of some rows; ``+`` is exact.

    Attributes:
        names: of V hard rules.
        chosen_V, rejected_V: int64, responses that break each.
        decided: pairs of which one response breaks a rule and the other none. right: where that is the rejected one.
        both: pairs of which both responses break a rule.
    """

    names: tuple[str, ...]
    chosen_V: NDArray[np.int64]
    rejected_V: NDArray[np.int64]
    decided: int
    right: int
    both: int

    @classmethod
    def of(cls, broken: BrokenRules) -> "VetoCounts":
        decided_N = broken.decided_N
        return cls(
            broken.names,
            broken.chosen_VN.sum(axis=1, dtype=np.int64),
            broken.rejected_VN.sum(axis=1, dtype=np.int64),
            decided=int(np.count_nonzero(decided_N)),
            right=int((decided_N > 0).sum()),
            both=int((broken.chosen_N & broken.rejected_N).sum()),
        )

    def __add__(self, other: "VetoCounts") -> "VetoCounts":
        assert self.names == other.names, "vetoes of different rules"
        return VetoCounts(
            self.names,
            self.chosen_V + other.chosen_V,
            self.rejected_V + other.rejected_V,
            self.decided + other.decided,
            self.right + other.right,
            self.both + other.both,
        )

    def to_dict(self) -> dict[str, object]:
        """The ``decided_by_veto`` object of metrics.json and comparison.json."""
        sides = zip(self.names, self.chosen_V.tolist(), self.rejected_V.tolist(), strict=True)
        return {
            "num_pairs": self.decided,
            "right": self.right,
            "both_break": self.both,
            "rules": {name: {"chosen": chosen, "rejected": rejected} for name, chosen, rejected in sides},
        }
