"""What the refinement reads: rewards/ and embeddings/ of a run, unit beside unit."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa

from encore_ray.composition.keys import hash_keys, heldout_halves
from encore_ray.errors import DataError
from encore_ray.models.energy_training import PairBlock, PairBlocks
from encore_ray.passes.columns import floats
from encore_ray.passes.embeddings import read_embeddings
from encore_ray.passes.tables import TableUnit, resampling_keys, table_units
from encore_ray.schema import CHOSEN_REWARD, EMBEDDINGS_DIR, GROUP_ID, PAIR_ID, PROMPT_ID, REJECTED_REWARD, REWARDS_DIR
from encore_ray.storage import Folder


@dataclass(frozen=True)
class RewardedUnit:
    """A unit of rewards with its unit of embeddings."""

    rewards: TableUnit
    embeddings: TableUnit

    @property
    def digest(self) -> str:
        return f"{self.rewards.digest}-{self.embeddings.digest}"

    def read(self, table: pa.Table, *, pairs_only: bool) -> "RewardedRows":
        """Rewards and embeddings of the rows of a table of the unit's rewards."""
        columns = [floats(table.column(name)).astype(np.float64) for name in (CHOSEN_REWARD, REJECTED_REWARD)]
        r_N2 = np.stack(columns, axis=1)
        e_N2D = read_embeddings(self.embeddings, table.column(PAIR_ID))
        keys = resampling_keys(table)
        validation_N, test_N = heldout_halves(keys)
        rows = RewardedRows(r_N2, e_N2D, validation_N, test_N, hash_keys(keys))
        return rows.take(~np.isnan(r_N2[:, 1])) if pairs_only else rows

    def read_pairs(self) -> "RewardedRows":
        """The pairs of the unit; single responses left out."""
        columns = [PAIR_ID, PROMPT_ID, GROUP_ID, CHOSEN_REWARD, REJECTED_REWARD]
        return self.read(self.rewards.read(columns), pairs_only=True)


@dataclass(frozen=True, eq=False)
class RewardedRows:
    """N rows of a unit.

    Attributes:
        r_N2: float64 rewards, NaN where there is no rejected response.
        e_N2D: float16 embeddings.
        validation_N, test_N: bool, the two halves of what is held out.
        hash_N: of the resampling keys.
    """

    r_N2: np.ndarray
    e_N2D: np.ndarray
    validation_N: np.ndarray
    test_N: np.ndarray
    hash_N: np.ndarray

    def take(self, kept_N: np.ndarray) -> "RewardedRows":
        return RewardedRows(*(values[kept_N] for values in vars(self).values()))


def rewarded_units(run: Folder) -> list[RewardedUnit]:
    """The units of a run that is composed and has embeddings.

    Raises:
        DataError: a unit of the rewards has no embeddings. ConfigError: there are no rewards or no embeddings.
    """
    embeddings = {unit.unit: unit for unit in table_units(run.child(EMBEDDINGS_DIR).uri)}
    rewards = table_units(run.child(REWARDS_DIR).uri)
    missing = [unit.unit for unit in rewards if unit.unit not in embeddings]
    if missing:
        raise DataError(
            f"{run.path(EMBEDDINGS_DIR)} lacks {len(missing)} of {len(rewards)} units of the rewards, first of all "
            f"{missing[0]}. Make them by `encore-ray score --keep-embeddings`."
        )
    return [RewardedUnit(unit, embeddings[unit.unit]) for unit in rewards]


def training_blocks(units: Sequence[RewardedUnit], *, noise: float, seed: int) -> PairBlocks:
    """The pairs that may be learnt from: all but those that rewards are judged on.

    Args:
        noise: share of the pairs, drawn by the seed and the unit's number, whose label is turned round.
    """
    return PairBlocks(len(units), partial(_read_block, tuple(units), noise, seed))


def _read_block(units: tuple[RewardedUnit, ...], noise: float, seed: int, number: int) -> PairBlock:
    rows = units[number].read_pairs()
    turned_N = np.random.default_rng([seed, number]).random(len(rows.r_N2)) < noise
    r_N2, e_N2D = rows.r_N2.copy(), rows.e_N2D.copy()
    r_N2[turned_N], e_N2D[turned_N] = r_N2[turned_N, ::-1], e_N2D[turned_N, ::-1]
    kept_N = ~rows.test_N
    return PairBlock(e_N2D[kept_N], r_N2[kept_N][:, :, None], rows.validation_N[kept_N])
