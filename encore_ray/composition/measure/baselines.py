"""The trivial baselines: rewards that look at nothing but the length of a response."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Baseline:
    """One trivial reward.

    Attributes:
        name: as in metrics.json and comparison.json.
        label: what the report calls it.
        margins: of N pairs, from the length of the rejected minus that of the chosen response; NaN stays NaN.
    """

    name: str
    label: str
    margins: Callable[[NDArray[np.float64]], NDArray[np.float64]]


BASELINES = (
    Baseline("shorter_wins", "The shorter response wins", lambda shorter_N: shorter_N),
    Baseline("longer_wins", "The longer response wins", lambda shorter_N: -shorter_N),
)
