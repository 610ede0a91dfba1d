"""RM-Bench from rewards: three chosen and three rejected responses to a prompt, each in three styles.

Source: RM-Bench, arXiv 2410.16184; compute_accuracy of github.com/THU-KEG/RM-Bench. Styles are concise, detailed, and
detailed with markup. A tie is a loss.
"""

import math
from dataclasses import dataclass

import numpy as np

from encore_ray.composition.evaluate.rewardbench2 import Responses
from encore_ray.composition.measure.vetoes import BrokenRules

NUM_STYLES = 3
_PLACES = {(f"c{c}", f"r{r}"): (c, r) for c in range(NUM_STYLES) for r in range(NUM_STYLES)}


@dataclass(frozen=True)
class RMBench:
    """Groups of nine pairs of every chosen and every rejected style; ``+`` is exact.

    Attributes:
        num_groups: prompts.
        wins: pairs won at chosen style c and rejected style r, at place 3 c + r.
    """

    num_groups: int = 0
    wins: tuple[int, ...] = (0,) * NUM_STYLES**2

    @classmethod
    def measure(cls, responses: Responses | None, *, tolerance: float, broken: BrokenRules | None = None) -> "RMBench":
        """Measure one unit; all pairs of a group lie in it. `broken`: as of `RewardStatistics.measure`."""
        if responses is None:
            return cls()
        margin_N = np.asarray(responses.chosen_reward_N, dtype=np.float64) - np.asarray(
            responses.rejected_reward_N, dtype=np.float64
        )
        if broken is not None:
            decided_N = broken.decided_N
            margin_N = np.where(decided_N != 0, np.copysign(np.inf, decided_N), margin_N)
        groups: dict[str, dict[tuple[int, int], float]] = {}
        columns = (responses.group_ids, responses.chosen_ids, responses.rejected_ids, margin_N.tolist())
        for group_id, chosen_id, rejected_id, margin in zip(*columns, strict=True):
            place = _PLACES.get((chosen_id or "", rejected_id or ""))
            if group_id is not None and place is not None and not math.isnan(margin):
                groups.setdefault(group_id, {})[place] = margin
        whole = [margins for margins in groups.values() if len(margins) == len(_PLACES)]
        wins = tuple(sum(margins[place] > tolerance for margins in whole) for place in _PLACES.values())
        return cls(len(whole), wins)

    def __add__(self, other: "RMBench") -> "RMBench":
        wins = tuple(a + b for a, b in zip(self.wins, other.wins, strict=True))
        return RMBench(self.num_groups + other.num_groups, wins)

    def scores(self) -> dict[str, float | None] | None:
        """Share of pairs won where the chosen style is plainer than the rejected one (hard), the same (normal) and
        richer (easy), and the mean of the three; None without any group."""
        if not self.num_groups:
            return None
        wins_33 = np.array(self.wins).reshape(NUM_STYLES, NUM_STYLES)
        upper = np.triu_indices(NUM_STYLES, k=1)
        parts = {"easy": wins_33.T[upper], "normal": np.diag(wins_33), "hard": wins_33[upper]}
        scores = {name: float(won.sum()) / (NUM_STYLES * self.num_groups) for name, won in parts.items()}
        return {**scores, "mean": math.fsum(scores.values()) / len(scores)}
