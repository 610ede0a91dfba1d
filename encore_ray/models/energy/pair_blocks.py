"""The pairs that energies learn from, as they are read: a corpus in numbered blocks, which need not fit into memory."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class PairBlock:
    """N pairs as they are read.

    Attributes:
        e_N2D: embeddings of chosen and rejected, any float type.
        r_N2K: rewards, float64.
        heldout_N: bool, pairs that stop the fit and are not trained on.
    """

    e_N2D: NDArray[np.floating]
    r_N2K: NDArray[np.float64]
    heldout_N: NDArray[np.bool_]

    @property
    def agrees_NK(self) -> NDArray[np.bool_]:
        """Which pairs each energy is trained on: those whose rewards agree with the label (conflict filter)."""
        return self.r_N2K[:, 0] > self.r_N2K[:, 1]


@dataclass(frozen=True)
class PairBlocks:
    """A corpus as numbered blocks; each is read once for the moments and once an epoch."""

    num_blocks: int
    read: Callable[[int], PairBlock]
