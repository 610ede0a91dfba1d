"""The rows of a unit as energies refine them: what is not there, or has no embedding, stays as it is."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from encore_ray.composition.evaluate.calibration import density_deviations, log_odds_of_densities
from encore_ray.errors import DataError
from encore_ray.models.spec.energy import NUM_GRID
from encore_ray.passes.refine.source import EmbeddedRows, EmbeddedUnit

if TYPE_CHECKING:
    from encore_ray.models.energy.refiner import Refiner

LEAST_HELDOUT = 20  # pairs of either half; with fewer no probability can be calibrated or tested


@dataclass(frozen=True, eq=False)
class RefinedRows:
    """N rows of a unit under K heads.

    Attributes:
        r_N2K: float64 refined numbers of chosen and rejected, signed as the heads are; those of the unit where a
            response has no embedding, NaN where there is none.
        at_end_N2K, outside_N2K: bool, see `Refined`.
        energy_KN2G: float32, NaN where nothing was refined.
        grid_KG: float64, see `Refined`.
    """

    r_N2K: np.ndarray
    at_end_N2K: np.ndarray
    outside_N2K: np.ndarray
    energy_KN2G: np.ndarray
    grid_KG: np.ndarray

    @classmethod
    def of(cls, rows: EmbeddedRows, refiner: "Refiner") -> "RefinedRows":
        there_N2 = np.stack([rows.embedded_N, rows.embedded_N & rows.pair_N], axis=1)
        refined = refiner.refine(rows.e_N2D[there_N2], rows.r_N2K[there_N2])
        at_end_N2K, outside_N2K = np.zeros((2, *rows.r_N2K.shape), dtype=bool)
        r_N2K = rows.r_N2K.copy()
        energy_KN2G = np.full((r_N2K.shape[2], len(r_N2K), 2, NUM_GRID), np.nan, dtype=np.float32)
        r_N2K[there_N2] = refined.reward_NK
        at_end_N2K[there_N2], outside_N2K[there_N2] = refined.boundary_NK, refined.outside_NK
        energy_KN2G[:, there_N2] = refined.energy_KNG
        return cls(r_N2K, at_end_N2K, outside_N2K, energy_KN2G, refined.grid_KG)

    @property
    def odds_N(self) -> np.ndarray:
        """Log odds by density that the chosen response has the higher first head; NaN where either is not refined."""
        return log_odds_of_densities(self.energy_KN2G[0, :, 0], self.energy_KN2G[0, :, 1])

    @property
    def width_N(self) -> np.ndarray:
        """Standard deviation of the chosen response's density under the first head."""
        return density_deviations(self.energy_KN2G[0, :, 0], self.grid_KG[0])


def heldout_rows(units: Sequence[EmbeddedUnit]) -> Iterator[EmbeddedRows]:
    """The held-out pairs, unit by unit.

    Raises:
        DataError: at the end, where there are too few in either half, the one that tests and the one that does not.
    """
    num_validation, num_test = 0, 0
    for unit in units:
        rows = unit.read_pairs()
        rows = rows.take(rows.validation_N | rows.test_N)
        num_validation += int(rows.validation_N.sum())
        num_test += int(rows.test_N.sum())
        if len(rows.hash_N):
            yield rows
    if min(num_test, num_validation) < LEAST_HELDOUT:
        raise DataError(
            f"Of the held-out pairs {num_validation} are there to calibrate on and {num_test} to judge by; each "
            f"needs {LEAST_HELDOUT} or more. A tenth of the prompts goes to either: refine a larger corpus."
        )


def refit_rewards(rows: EmbeddedRows, refiner: "Refiner", weight_KD: np.ndarray) -> np.ndarray:
    """What plain linear heads on standardised embeddings give the pairs, [N, 2, K]."""
    num_pairs, _, width = rows.e_N2D.shape
    standard_ND = refiner.embedding.apply(rows.e_N2D.reshape(2 * num_pairs, width))
    return (standard_ND @ weight_KD.T).reshape(num_pairs, 2, -1)
