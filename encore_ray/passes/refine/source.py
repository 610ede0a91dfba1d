"""What a refinement reads: rewards/ or scores/ of a run and its embeddings/, unit beside unit."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa

from encore_ray.composition.hashing.keys import hash_keys, heldout_halves
from encore_ray.errors import DataError
from encore_ray.folder.reading.columns import floats
from encore_ray.folder.reading.score_block import resampling_keys
from encore_ray.folder.reading.tables import TableUnit, table_units
from encore_ray.folder.reading.vetoes import VETOES, decided_pairs
from encore_ray.folder.status import pass_tables
from encore_ray.models.energy.pair_blocks import PairBlock, PairBlocks
from encore_ray.passes.scorers.embedding_table import read_embeddings
from encore_ray.rules import RuleSet
from encore_ray.schema import (
    CHOSEN_REWARD,
    EMBEDDINGS_DIR,
    GROUP_ID,
    PAIR_ID,
    PROMPT_ID,
    REJECTED_REWARD,
    REWARDS_DIR,
    SCORES_DIR,
    chosen_column,
    rejected_column,
)
from encore_ray.storage import Folder


@dataclass(frozen=True)
class Heads:
    """The K numbers of a response that are refined.

    Attributes:
        folder: of the run, whose table has them.
        columns: of the chosen and of the rejected response, K pairs.
        beside: further columns of the table, which tell what vetoes decide.
        sign_K: 1 or -1; the number times its sign is higher for a better response.
    """

    folder: str
    columns: tuple[tuple[str, str], ...]
    sign_K: tuple[int, ...]
    beside: tuple[str, ...] = ()


REWARD = Heads(REWARDS_DIR, ((CHOSEN_REWARD, REJECTED_REWARD),), (1,), VETOES)


def rule_heads(rules: RuleSet) -> Heads:
    """The scores of K rules."""
    columns = tuple((chosen_column(name), rejected_column(name)) for name in rules.names)
    return Heads(SCORES_DIR, columns, tuple(rule.polarity for rule in rules))


@dataclass(frozen=True)
class EmbeddedUnit:
    """A unit of rewards or scores with its unit of embeddings."""

    heads: Heads
    table: TableUnit
    embeddings: TableUnit

    @property
    def digest(self) -> str:
        return f"{self.table.digest}-{self.embeddings.digest}"

    def rows(self, table: pa.Table) -> "EmbeddedRows":
        """Heads and embeddings of the rows of a table that has the unit's ids and the heads' columns."""
        sides = [
            [floats(table.column(pair[side])).astype(np.float64) for pair in self.heads.columns] for side in range(2)
        ]
        r_N2K = np.array(sides).transpose(2, 0, 1) * np.array(self.heads.sign_K)
        keys = resampling_keys(table)
        validation_N, test_N = heldout_halves(keys)
        e_N2D = read_embeddings(self.embeddings, table.column(PAIR_ID))
        decided_N = decided_pairs(table)
        decided_N = np.zeros(len(keys), dtype=np.int8) if decided_N is None else decided_N
        return EmbeddedRows(r_N2K, e_N2D, validation_N, test_N, hash_keys(keys), decided_N)

    def read_pairs(self) -> "EmbeddedRows":
        """The pairs of the unit that have embeddings; single responses left out, and pairs that a veto decides."""
        columns = [column for pair in self.heads.columns for column in pair]
        rows = self.rows(self.table.read([PAIR_ID, PROMPT_ID, GROUP_ID, *columns, *self.heads.beside]))
        return rows.take(rows.pair_N & rows.embedded_N & (rows.decided_N == 0))


@dataclass(frozen=True, eq=False)
class EmbeddedRows:
    """N rows of a unit.

    Attributes:
        r_N2K: float64, of chosen and rejected under K heads, signed; NaN where there is no rejected response.
        e_N2D: float16 embeddings, NaN where there is none.
        validation_N, test_N: bool, the two halves of what is held out.
        hash_N: of the resampling keys.
        decided_N: int8, what vetoes decide, see `encore_ray.folder.reading.vetoes.decided_pairs`.
    """

    r_N2K: np.ndarray
    e_N2D: np.ndarray
    validation_N: np.ndarray
    test_N: np.ndarray
    hash_N: np.ndarray
    decided_N: np.ndarray

    @property
    def pair_N(self) -> np.ndarray:
        """Bool, which rows have two responses."""
        return ~np.any(np.isnan(self.r_N2K[:, 1]), axis=1)

    @property
    def embedded_N(self) -> np.ndarray:
        """Bool, which rows have an embedding."""
        return ~np.any(np.isnan(self.e_N2D[:, 0]), axis=1)

    def take(self, kept_N: np.ndarray) -> "EmbeddedRows":
        return EmbeddedRows(*(values[kept_N] for values in vars(self).values()))


def embedded_units(run: Folder, heads: Heads) -> list[EmbeddedUnit]:
    """The units of a run that has the heads' table and embeddings.

    Raises:
        DataError: a unit of the table has no embeddings, or embeddings and scores are of different models.
        ConfigError: there is no such table, or no embeddings.
    """
    _check_one_model(run)
    embeddings = {unit.unit: unit for unit in table_units(run.child(EMBEDDINGS_DIR).uri)}
    units = table_units(run.child(heads.folder).uri)
    missing = [unit.unit for unit in units if unit.unit not in embeddings]
    if missing:
        raise DataError(
            f"{run.path(EMBEDDINGS_DIR)} lacks {len(missing)} of {len(units)} units of {heads.folder}/, first of all "
            f"{missing[0]}. Make them by `encore-ray score --keep-embeddings`."
        )
    return [EmbeddedUnit(heads, unit, embeddings[unit.unit]) for unit in units]


def _check_one_model(run: Folder) -> None:
    tables = pass_tables(run)
    scored, embedded = ((tables[name].standing_facts() or {}).get("model") for name in ("score", "embed"))
    if scored and embedded and scored != embedded:
        raise DataError(
            f"{run.path(EMBEDDINGS_DIR)} is of model {embedded[:12]}, {run.path(SCORES_DIR)} of model {scored[:12]}: "
            "embeddings must be those that enter the heads. Make them by `encore-ray score --keep-embeddings "
            "--overwrite` with the model of the scores."
        )


def training_blocks(units: Sequence[EmbeddedUnit], *, noise: float, seed: int) -> PairBlocks:
    """The pairs that may be learnt from: all but those that rewards are tested on.

    Args:
        noise: share of the pairs, drawn by the seed and the unit's number, whose label is turned round.
    """
    return PairBlocks(len(units), partial(_read_block, tuple(units), noise, seed))


def _read_block(units: tuple[EmbeddedUnit, ...], noise: float, seed: int, number: int) -> PairBlock:
    rows = units[number].read_pairs()
    turned_N = np.random.default_rng([seed, number]).random(len(rows.r_N2K)) < noise
    r_N2K, e_N2D = rows.r_N2K.copy(), rows.e_N2D.copy()
    r_N2K[turned_N], e_N2D[turned_N] = r_N2K[turned_N, ::-1], e_N2D[turned_N, ::-1]
    kept_N = ~rows.test_N
    return PairBlock(e_N2D[kept_N], r_N2K[kept_N], rows.validation_N[kept_N])
