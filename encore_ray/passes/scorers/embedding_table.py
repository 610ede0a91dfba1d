"""One vector of float16 for each response of a pair: how embeddings/ and features/ are written, and read by pair.

A number that float16 cannot hold would be another number there, and a refined reward or a fitted head that of another
response: its pair goes to quarantine.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from encore_ray.errors import DataError
from encore_ray.folder.attempt import Attempt
from encore_ray.folder.columns import places
from encore_ray.folder.commits import LeftOut
from encore_ray.folder.tables import TableUnit
from encore_ray.passes.scorers.score_table import non_finite, without, write_rows
from encore_ray.schema import CHOSEN_EMBEDDING, PAIR_ID, REJECTED, REJECTED_EMBEDDING

SIDES = (CHOSEN_EMBEDDING, REJECTED_EMBEDDING)
NOT_FINITE = "an embedding holds a number that is not a finite float16"


def embedding_columns(half_N2D: np.ndarray) -> dict[str, pa.Array]:
    """The columns of N pairs' float16 embeddings.

    A rejected response that is not there has NaN: Parquet readers of Arrow fail on lists of fixed size that are null.
    """
    return {
        name: pa.FixedSizeListArray.from_arrays(pa.array(half_N2D[:, side].ravel()), half_N2D.shape[2])
        for side, name in enumerate(SIDES)
    }


def write_embeddings(
    unit: TableUnit,
    attempt: Attempt,
    table: pa.Table,
    embeddings_N2D: np.ndarray,
    *,
    bad: Sequence[LeftOut],
    columns: Mapping[str, Any] | None = None,
    metadata: Mapping[bytes, bytes] | None = None,
) -> dict[str, int]:
    """Write the embeddings of one unit, and to quarantine the pairs without one; arguments and counts of `write_rows`.

    Args:
        embeddings_N2D: of the pairs of the table that are not in `bad`.
        columns: further ones, put behind the embeddings.
    """
    with np.errstate(over="ignore"):  # to infinity, which goes to quarantine
        half_N2D = embeddings_N2D.astype(np.float16)
    single_N = without(table, bad).column(REJECTED).is_null().to_numpy(zero_copy_only=False)
    (wrong_W,) = np.nonzero(non_finite(half_N2D, single_N))
    return write_rows(
        unit,
        attempt,
        table,
        {**embedding_columns(half_N2D), **(columns or {})},
        bad=bad,
        wrong=dict.fromkeys(wrong_W.tolist(), NOT_FINITE),
        metadata=metadata or {},
    )


def read_embeddings(unit: TableUnit, pair_ids: pa.ChunkedArray) -> np.ndarray:
    """The embeddings of the given pairs of a unit, [N, 2, D] float16; NaN for no response, and for a pair without any.

    Raises:
        DataError: the table is not one of embeddings.
    """
    table = unit.read([PAIR_ID, *SIDES])
    if table.column_names != [PAIR_ID, *SIDES]:
        where = unit.folder.path(unit.file)
        raise DataError(f"{where} holds no embeddings. Make them by `encore-ray score --keep-embeddings`.")
    row_N = places(pair_ids, among=table.column(PAIR_ID))
    there_N = row_N >= 0
    sides = [table.column(name).combine_chunks() for name in SIDES]
    width = sides[0].type.list_size
    found_N2D = np.full((len(row_N), 2, width), np.nan, dtype=np.float16)
    for side, column in enumerate(sides):
        found_N2D[there_N, side] = column.flatten().to_numpy().reshape(-1, width)[row_N[there_N]]
    return found_N2D
