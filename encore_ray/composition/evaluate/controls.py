"""Rewards side by side on the same pairs: accuracies and differences to the base, with Poisson-bootstrap intervals."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encore_ray.composition.measure.agreement import Interval, Tally
from encore_ray.composition.measure.bootstrap import MAX_ROWS, draw_replicates, percentile_interval, replicate_sums

BASE = "base"


@dataclass(frozen=True)
class Control:
    """One reward on the pairs.

    Attributes:
        accuracy: a tie is half a win.
        interval, difference_interval: 95 %, over prompts; None without a replicate that has pairs.
        difference: accuracy minus that of the base reward.
    """

    name: str
    tally: Tally
    accuracy: float
    interval: Interval | None
    difference: float
    difference_interval: Interval | None

    @property
    def differs(self) -> bool:
        """Whether the interval of the difference leaves out 0."""
        interval = self.difference_interval
        return interval is not None and (interval.low > 0 or interval.high < 0)

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "num_pairs": self.tally.num_pairs,
            "wins": self.tally.wins,
            "ties": self.tally.ties,
            "losses": self.tally.losses,
            "accuracy": self.accuracy,
            "accuracy_low": self.interval.low if self.interval else None,
            "accuracy_high": self.interval.high if self.interval else None,
            "difference_to_base": {
                "value": self.difference,
                "low": self.difference_interval.low if self.difference_interval else None,
                "high": self.difference_interval.high if self.difference_interval else None,
            },
        }


def compare_rewards(
    margin_by_name: Mapping[str, NDArray[np.float64]], *, hash_N: NDArray[np.uint64], tolerance: float
) -> list[Control]:
    """Compare rewards by their margins on the same N pairs, at least one.

    Args:
        margin_by_name: chosen minus rejected, finite, `base` among them.
        hash_N: hashes of the pairs' resampling keys.
        tolerance: margins of at most so much are ties.
    """
    names = list(margin_by_name)
    tallies = [Tally.of(margin_by_name[name], tolerance=tolerance) for name in names]
    # Twice the wins and once the ties of each reward, and in the last column the pairs.
    points_NC = np.stack(
        [1 + np.sign(np.where(np.abs(m_N) <= tolerance, 0.0, m_N)) for m_N in margin_by_name.values()]
        + [np.ones(len(hash_N))],
        axis=1,
    ).astype(np.float32)
    sum_BC = sum(
        replicate_sums(draw_replicates(hash_N[start : start + MAX_ROWS]), points_NC[start : start + MAX_ROWS])
        for start in range(0, len(hash_N), MAX_ROWS)
    )
    assert isinstance(sum_BC, np.ndarray), "no pair to compare rewards on"
    sum_BC = sum_BC[sum_BC[:, -1] > 0]
    accuracy_BC = sum_BC[:, :-1] / (2 * sum_BC[:, -1:])
    base = names.index(BASE)
    base_accuracy = tallies[base].accuracy or 0.0
    return [
        Control(
            name,
            tally,
            tally.accuracy or 0.0,
            percentile_interval(accuracy_BC[:, c]),
            (tally.accuracy or 0.0) - base_accuracy,
            percentile_interval(accuracy_BC[:, c] - accuracy_BC[:, base]),
        )
        for c, (name, tally) in enumerate(zip(names, tallies, strict=True))
    ]
