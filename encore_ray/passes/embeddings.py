"""embeddings/: the vector that enters the heads, of both responses of each pair, unit by unit as the scores are."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from encore_ray.errors import DataError
from encore_ray.passes.tables import TableUnit
from encore_ray.schema import CHOSEN_EMBEDDING, PAIR_ID, REJECTED_EMBEDDING

SIDES = (CHOSEN_EMBEDDING, REJECTED_EMBEDDING)
_LARGEST = float(np.finfo(np.float16).max)


def embedding_table(pair_ids: pa.ChunkedArray, embeddings_N2D: np.ndarray) -> pa.Table:
    """The embeddings of N pairs as float16, those beyond its range cut to it.

    A rejected response that is not there has NaN: Parquet readers of Arrow fail on lists of fixed size that are null.
    """
    half_N2D = np.clip(embeddings_N2D, -_LARGEST, _LARGEST).astype(np.float16)
    width = half_N2D.shape[2]
    columns = {
        name: pa.FixedSizeListArray.from_arrays(pa.array(half_N2D[:, side].ravel()), width)
        for side, name in enumerate(SIDES)
    }
    return pa.table({PAIR_ID: pair_ids, **columns})


def read_embeddings(unit: TableUnit, pair_ids: pa.ChunkedArray) -> np.ndarray:
    """The embeddings of the given pairs of a unit, [N, 2, D] float16, NaN for no response.

    Raises:
        DataError: a pair has none, or the table is not one of embeddings.
    """
    table = unit.read([PAIR_ID, *SIDES])
    where = unit.folder.path(unit.file)
    if table.column_names != [PAIR_ID, *SIDES]:
        raise DataError(f"{where} holds no embeddings. Make them by `encore-ray score --keep-embeddings`.")
    row_N = pc.call_function("index_in", [pair_ids], pc.SetLookupOptions(table.column(PAIR_ID)))
    if row_N.null_count:
        missing = pair_ids.filter(row_N.is_null())[0]
        raise DataError(
            f"{where} has no embedding of the pair {missing}. Make them anew by `encore-ray score --keep-embeddings "
            "--overwrite`."
        )
    sides = [table.column(name).combine_chunks() for name in SIDES]
    width = sides[0].type.list_size
    row_N = row_N.to_numpy()
    return np.stack([side.flatten().to_numpy().reshape(-1, width)[row_N] for side in sides], axis=1)
