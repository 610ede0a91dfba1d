"""Rewards made elsewhere, to be compared with what is composed of the scores: the same pairs, another table."""

from collections.abc import Mapping, Sequence
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
from encore_ray.folder.reading.score_block import numbers
from encore_ray.folder.reading.tables import TableUnit, column_names, table_units
from encore_ray.folder.reading.vetoes import VETOES, decided_pairs
from encore_ray.schema import (
    CHOSEN_REFINED,
    CHOSEN_REWARD,
    PAIR_ID,
    REJECTED_REFINED,
    REJECTED_REWARD,
    WEIGHTS_FILE,
)
from encore_ray.storage import Folder

_SIDES = ((CHOSEN_REWARD, REJECTED_REWARD), (CHOSEN_REFINED, REJECTED_REFINED))


@dataclass(frozen=True)
class OtherRewards:
    """A table of rewards of the pairs that are compared.

    Attributes:
        name: what it is called beside the schemes.
        columns: of the chosen and of the rejected responses' rewards.
        tolerance: margins of at most so much are ties, by the weights beside the rewards; None where there are none.
        units: by name, the same units as those of the scores.
    """

    name: str
    columns: tuple[str, str]
    tolerance: float | None
    units: dict[str, TableUnit]


def open_rewards(name: str, uri: str, scores: Sequence[TableUnit]) -> OtherRewards:
    """Find a table of rewards, as of `compose` or `refine apply`, that has the units of a table of scores.

    Raises:
        ConfigError: nothing is there. DataError: it holds no rewards, or those of other pairs.
    """
    units = {unit.unit: unit for unit in table_units(uri)}
    missing = [unit.unit for unit in scores if unit.unit not in units]
    if missing:
        raise DataError(
            f"{name}: {uri} has no unit {missing[0]} of {scores[0].table_name}, so it belongs to other pairs. Compare "
            "with rewards of the same run, or of one that prepared the same inputs by the same options."
        )
    found = column_names(units[scores[0].unit])
    columns = next((sides for sides in _SIDES if set(sides) <= set(found)), None)
    if columns is None:
        expected = " or ".join(f"{chosen} and {rejected}" for chosen, rejected in _SIDES)
        raise DataError(f"{name}: {uri} holds no rewards. Expected {expected}; found {', '.join(found)}.")
    folder, tolerance = Folder(uri), None
    if folder.exists(WEIGHTS_FILE):
        tolerance = margin_tolerance(composed_weights(folder))
    return OtherRewards(name, columns, tolerance, units)


def other_margins(rewards: OtherRewards, unit: str, pair_ids: Sequence[str]) -> np.ndarray:
    """Chosen minus rejected reward of the named pairs of a unit, float64 [N].

    Exactly 0 where both are equal up to rounding; NaN where the table lacks the pair, or its rewards are not finite;
    infinite where a veto of its own decides the pair.

    Raises:
        DataError: the unit lacks ids or rewards, or rewards are no numbers.
    """
    columns = [PAIR_ID, *rewards.columns]
    source = rewards.units[unit]
    table = source.read([*columns, *VETOES])
    missing = [name for name in columns if name not in table.column_names]
    if missing:
        raise DataError(f"{rewards.name}: {source.folder.path(source.file)} lacks the column {', '.join(missing)}.")
    known = pa.array(first_texts([table.column(PAIR_ID)]), pa.string())
    row_N = row_numbers(pa.array(pair_ids, pa.string()), among=known)
    sides = [to_numpy(pa.array(numbers(source, table, name), pa.float64()).take(row_N)) for name in rewards.columns]
    with np.errstate(invalid="ignore", over="ignore"):
        margin_N = sides[0] - sides[1]
        rounding_N = tie_tolerances(np.abs(sides[0]) + np.abs(sides[1]))
        is_tie_N = np.abs(margin_N) <= (rounding_N if rewards.tolerance is None else rewards.tolerance)
    found_N = np.where(np.isfinite(margin_N), np.where(is_tie_N, 0.0, margin_N), np.nan)
    decided_N = decided_pairs(table)
    if decided_N is None:
        return found_N
    decided_N = to_numpy(to_arrow(decided_N).take(row_N), null=0)
    return np.where((decided_N != 0) & np.isfinite(found_N), np.copysign(np.inf, decided_N), found_N)


def check_some_known(lines: Sequence[Mapping[str, Any]], scores: str) -> None:
    """Raise DataError where other rewards know none of the pairs."""
    for line in lines:
        if not line["all"]["num_pairs"]:
            raise DataError(
                f"{line['name']}: {line['params']['rewards']} has rewards of none of the pairs of {scores}: "
                "they have other pair_ids. Compare with rewards of the same run."
            )
