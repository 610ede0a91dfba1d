"""The columns that tell which hard rules each response breaks."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from encore_ray.arrays import rows_to_table, to_numpy
from encore_ray.composition.measure.vetoes import BrokenRules, decide
from encore_ray.errors import DataError
from encore_ray.schema import CHOSEN_VETOES, REJECTED_VETOES

VETOES = (CHOSEN_VETOES, REJECTED_VETOES)
_SCHEMA = pa.schema([pa.field(name, pa.list_(pa.string())) for name in VETOES])


def veto_columns(broken: BrokenRules | None) -> dict[str, pa.ChunkedArray]:
    """For each response the names of the hard rules that it breaks, null where there is none; {} without hard rules."""
    if broken is None:
        return {}
    chosen, rejected = broken.listed
    table = rows_to_table(
        ({CHOSEN_VETOES: a, REJECTED_VETOES: b} for a, b in zip(chosen, rejected, strict=True)), _SCHEMA
    )
    return {name: table.column(name) for name in VETOES}


def read_vetoes(table: pa.Table, names: Sequence[str], *, where: str) -> BrokenRules | None:
    """What a table says of the named hard rules; None without any.

    Raises:
        DataError: its columns are missing, hold no lists of names, or name other rules.
    """
    if not names:
        return None
    for column in VETOES:
        if column not in table.column_names or not pa.types.is_list(table.schema.field(column).type):
            raise DataError(
                f"{where} does not tell which hard rules the responses break: it lacks the column {column}, or holds "
                "no lists of names there. Compose again by these weights."
            )
    is_pair_N = to_numpy(table.column(REJECTED_VETOES).is_valid())
    chosen_VN, rejected_VN = (_broken(table.column(column), names, where) for column in VETOES)
    return BrokenRules(tuple(names), chosen_VN, rejected_VN, is_pair_N)


def decided_pairs(table: pa.Table) -> np.ndarray | None:
    """`BrokenRules.decided_N` of a table, whatever its hard rules are; None where it tells of none."""
    if not set(VETOES) <= set(table.column_names):
        return None
    lengths = (pc.call_function("list_value_length", [table.column(column)]) for column in VETOES)
    chosen_N, rejected_N = (to_numpy(length, null=0) > 0 for length in lengths)
    return decide(chosen_N, rejected_N, is_pair_N=to_numpy(table.column(REJECTED_VETOES).is_valid()))


def _broken(column: pa.ChunkedArray, names: Sequence[str], where: str) -> np.ndarray:
    """Bool [V, N]."""
    lists = column.combine_chunks()
    row = to_numpy(pc.call_function("list_parent_indices", [lists])).astype(np.int64)
    named = pc.call_function("list_flatten", [lists]).to_pylist()
    number = {name: v for v, name in enumerate(names)}
    other = set(named) - number.keys()
    if other:
        raise DataError(f"{where} names {sorted(map(str, other))[0]}, which has no veto in the weights. Compose again.")
    broken_VN = np.zeros((len(names), len(lists)), dtype=bool)
    broken_VN[[number[name] for name in named], row] = True
    return broken_VN
