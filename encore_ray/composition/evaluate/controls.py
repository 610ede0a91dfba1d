"""Rewards side by side on the same pairs: accuracies and differences to the base, with intervals over prompts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encore_ray.composition.inference.agreement import Interval, Tally
from encore_ray.composition.inference.jackknife import buckets_of, jackknife_interval, sum_buckets, without_each

BASE = "base"


@dataclass(frozen=True)
class Control:
    """One reward on the pairs.

    Attributes:
        accuracy: a tie is half a win.
        interval, difference_interval: 95 %, over prompts; None where one bucket of them holds all.
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
    ).astype(np.int64)
    assert len(points_NC), "no pair to compare rewards on"
    points_JC = sum_buckets(buckets_of(hash_N), points_NC)
    rest_JC = without_each(points_JC, points_JC[:, -1] > 0)
    if len(rest_JC) == 1:
        rest_JC = rest_JC[:0]  # there is nothing without the one bucket
    accuracy_JC = rest_JC[:, :-1] / (2 * rest_JC[:, -1:])
    base = names.index(BASE)
    base_accuracy = tallies[base].accuracy or 0.0
    controls = []
    for c, (name, tally) in enumerate(zip(names, tallies, strict=True)):
        accuracy = tally.accuracy or 0.0
        difference, difference_J = accuracy - base_accuracy, accuracy_JC[:, c] - accuracy_JC[:, base]
        interval = jackknife_interval(accuracy, accuracy_JC[:, c], low=0.0, high=1.0)
        difference_interval = jackknife_interval(difference, difference_J, low=-1.0, high=1.0)
        controls.append(Control(name, tally, accuracy, interval, difference, difference_interval))
    return controls
