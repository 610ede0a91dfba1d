"""Rewards made elsewhere, to be compared with what is composed of the scores: the same pairs, another table."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from encore_ray.arrays import to_arrow, to_numpy
from encore_ray.composition.scales.ties import tie_tolerances
from encore_ray.composition.weigh.rewards import margin_tolerance
from encore_ray.errors import DataError
from encore_ray.folder.composed import composed_weights
from encore_ray.folder.reading.columns import first_texts, row_numbers
from encore_ray.folder.reading.foreign import parquet_files
from encore_ray.folder.reading.score_block import numbers
from encore_ray.folder.reading.tables import TableUnit, column_names, is_pass_folder, table_units
from encore_ray.folder.reading.vetoes import VETOES, decided_pairs
from encore_ray.foreign.form.naming import Naming
from encore_ray.foreign.rewards import turned_rewards
from encore_ray.foreign.table import names_of
from encore_ray.foreign.turn.account import Account
from encore_ray.schema import (
    CHOSEN_REFINED,
    CHOSEN_REWARD,
    PAIR_ID,
    REJECTED_REFINED,
    REJECTED_REWARD,
    WEIGHTS_FILE,
)
from encore_ray.shell import reading_beside
from encore_ray.storage import Folder
from encore_ray.visible import short

_MOST = 8  # names in a sentence
_SIDES = ((CHOSEN_REWARD, REJECTED_REWARD), (CHOSEN_REFINED, REJECTED_REFINED))


@dataclass(frozen=True)
class OtherRewards:
    """A table of rewards of the pairs that are compared.

    Attributes:
        name: what it is called beside the schemes.
        columns: of the chosen and of the rejected responses' rewards.
        tolerance: margins of at most so much are ties, by the weights beside the rewards; None where there are none.
        units: by name; of a pass the same units as those of the scores.
        account: how one in another form was read.
    """

    name: str
    columns: tuple[str, str]
    tolerance: float | None
    units: dict[str, TableUnit]
    account: Account | None = None

    @property
    def sentences(self) -> list[str]:
        """How a table in another form was read."""
        said = self.account.sentences(of_rules=False, is_second=True) if self.account else []
        return [f"{self.name}: {sentence}" for sentence in said]

    def sources(self, unit: str) -> Iterator[TableUnit]:
        """Where the rewards of a unit of scores stand: in that of its name, and of a table made elsewhere in any."""
        if unit in self.units:
            yield self.units[unit]
        yield from (other for name, other in self.units.items() if name != unit and other.is_foreign)


@contextlib.contextmanager
def open_beside(
    beside: Mapping[str, str], scores: Sequence[TableUnit], *, scratch: Folder
) -> Iterator[list[OtherRewards]]:
    """Tables of rewards by what they are called beside the schemes, in any form that `evaluate` reads.

    Args:
        scores: the units of the scores that are compared.
        scratch: folder that every worker sees, for what is made of them.

    Raises:
        ConfigError: nothing is there. DataError: one holds no rewards, or those of other pairs.
    """
    with contextlib.ExitStack() as held:
        with reading_beside():
            others = [held.enter_context(_opened(name, uri, scores, scratch)) for name, uri in beside.items()]
        yield others


@contextlib.contextmanager
def _opened(name: str, uri: str, scores: Sequence[TableUnit], scratch: Folder) -> Iterator[OtherRewards]:
    folder = Folder(uri)
    if is_pass_folder(folder) or not folder.exists() or (parquet_files(uri) and PAIR_ID in names_of(uri)):
        yield open_rewards(name, uri, scores)
        return
    sides = _sides_of(name, uri, names_of(uri))
    with turned_rewards(uri, Naming(*sides), scratch=scratch) as table:
        units = {unit.unit: unit for unit in table_units(table.uri)}
        yield OtherRewards(name, _SIDES[0], None, units, table.account)


def open_rewards(name: str, uri: str, scores: Sequence[TableUnit]) -> OtherRewards:
    """Find a table of rewards, as of `compose` or `refine apply`, of the pairs of a table of scores.

    Raises:
        ConfigError: nothing is there. DataError: it holds no rewards, or those of other pairs.
    """
    units = {unit.unit: unit for unit in table_units(uri)}
    is_foreign = bool(units) and all(unit.is_foreign for unit in units.values())
    missing = [unit.unit for unit in scores if unit.unit not in units]
    if missing and not is_foreign:
        raise DataError(
            f"{name}: {uri} has no unit {missing[0]} of {scores[0].table_name}, so it belongs to other pairs. Compare "
            "with rewards of the same run, or of one that prepared the same inputs by the same options."
        )
    columns = _sides_of(name, uri, column_names(next(iter(units.values()))))
    folder, tolerance = Folder(uri), None
    if folder.exists(WEIGHTS_FILE):
        tolerance = margin_tolerance(composed_weights(folder))
    return OtherRewards(name, columns, tolerance, units)


def _sides_of(name: str, uri: str, found: Sequence[str]) -> tuple[str, str]:
    """The columns of a table that are rewards; DataError where it has none."""
    columns = next((sides for sides in _SIDES if set(sides) <= set(found)), None)
    if columns is None:
        expected = " or ".join(f"{chosen} and {rejected}" for chosen, rejected in _SIDES)
        raise DataError(
            f"{name}: {uri} holds no rewards. Expected {expected}; found {', '.join(map(short, found[:_MOST]))}"
            f"{' …' if len(found) > _MOST else ''}. Call its columns so."
        )
    return columns


def other_margins(rewards: OtherRewards, unit: str, pair_ids: Sequence[str]) -> np.ndarray:
    """Chosen minus rejected reward of the named pairs of a unit, float64 [N].

    Exactly 0 where both are equal up to rounding; NaN where the table lacks the pair, or its rewards are not finite;
    infinite where a veto of its own decides the pair.

    Raises:
        DataError: the unit lacks ids or rewards, or rewards are no numbers.
    """
    found_N = np.full(len(pair_ids), np.nan)
    missing_N = np.ones(len(pair_ids), dtype=bool)
    for source in rewards.sources(unit):
        margin_N, is_there_N = _margins(rewards, source, pair_ids)
        found_N[missing_N] = margin_N[missing_N]
        missing_N &= ~is_there_N
        if not missing_N.any():  # as a rule in the first
            break
    return found_N


def _margins(rewards: OtherRewards, source: TableUnit, pair_ids: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """As `other_margins`, of one unit of rewards, and which pairs it has."""
    columns = [PAIR_ID, *rewards.columns]
    table = source.read([*columns, *VETOES])
    missing = [name for name in columns if name not in table.column_names]
    if missing:
        raise DataError(f"{rewards.name}: {source.where} lacks the column {', '.join(missing)}.")
    known = pa.array(first_texts([table.column(PAIR_ID)]), pa.string())
    row_N = row_numbers(pa.array(pair_ids, pa.string()), among=known)
    sides = [to_numpy(pa.array(numbers(source, table, name), pa.float64()).take(row_N)) for name in rewards.columns]
    with np.errstate(invalid="ignore", over="ignore"):
        margin_N = sides[0] - sides[1]
        rounding_N = tie_tolerances(np.abs(sides[0]) + np.abs(sides[1]))
        is_tie_N = np.abs(margin_N) <= (rounding_N if rewards.tolerance is None else rewards.tolerance)
    found_N = np.where(np.isfinite(margin_N), np.where(is_tie_N, 0.0, margin_N), np.nan)
    is_there_N = to_numpy(row_N.is_valid())
    decided_N = decided_pairs(table)
    if decided_N is None:
        return found_N, is_there_N
    decided_N = to_numpy(to_arrow(decided_N).take(row_N), null=0)
    return np.where((decided_N != 0) & np.isfinite(found_N), np.copysign(np.inf, decided_N), found_N), is_there_N


def check_some_known(lines: Sequence[Mapping[str, Any]], scores: str) -> None:
    """Raise DataError where other rewards know none of the pairs."""
    for line in lines:
        if not line["all"]["num_pairs"]:
            raise DataError(
                f"{line['name']}: {line['params']['rewards']} has rewards of none of the pairs of {scores}: "
                "they have other pair_ids. Compare with rewards of the same run."
            )
