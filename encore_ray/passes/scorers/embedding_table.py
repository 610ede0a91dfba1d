"""One vector of float16 for each response of a pair: how embeddings/ and features/ are written, and read by pair.

A number that float16 cannot hold would be another number there, and a refined reward or a fitted head that of another
response: its pair goes to quarantine.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from encore_ray.arrays import to_numpy
from encore_ray.errors import DataError
from encore_ray.folder.attempt import Attempt
from encore_ray.folder.pass_table import PassTable
from encore_ray.folder.reading.columns import places
from encore_ray.folder.reading.tables import TableUnit
from encore_ray.passes.scorers.outputs import OutputWriter, UnitOutputs, non_finite, write_rows
from encore_ray.schema import CHOSEN_EMBEDDING, PAIR_ID, REJECTED_EMBEDDING

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
    outputs: UnitOutputs,
    attempt: Attempt,
    *,
    columns: Mapping[str, pa.Array] | None = None,
    metadata: Mapping[bytes, bytes] | None = None,
) -> dict[str, int]:
    """Write the embeddings of one unit, and to quarantine the pairs without one; counts as of `write_rows`.

    Args:
        columns: N further ones, put behind the embeddings.
        metadata: of the file.
    """
    with np.errstate(over="ignore"):  # to infinity, which goes to quarantine
        half_N2D = outputs.embeddings_N2D.astype(np.float16)
    (wrong_W,) = np.nonzero(non_finite(half_N2D, outputs.single_N))
    return write_rows(
        outputs,
        attempt,
        {**embedding_columns(half_N2D), **(columns or {})},
        wrong=dict.fromkeys(wrong_W.tolist(), NOT_FINITE),
        metadata=metadata or {},
    )


@dataclass(frozen=True)
class EmbeddingWriter:
    """Writes embeddings/: the vectors alone, for a table of scores says all else of the same pairs."""

    def __call__(self, outputs: UnitOutputs, attempt: Attempt) -> Mapping[str, int]:
        return write_embeddings(outputs, attempt)


@dataclass(frozen=True)
class WithEmbeddings:
    """Writes what another writer does, and before it the embeddings of the same unit, unless they are there already.

    Attributes:
        writer: of the attempt's own table.
        table: embeddings/, opened.
    """

    writer: OutputWriter
    table: PassTable

    def __call__(self, outputs: UnitOutputs, attempt: Attempt) -> Mapping[str, int]:
        beside = attempt.beside(self.table)
        if beside is not None:
            beside.commit(write_embeddings(outputs, beside))
        return self.writer(outputs, attempt)


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
        found_N2D[there_N, side] = to_numpy(column.flatten()).reshape(-1, width)[row_N[there_N]]
    return found_N2D
