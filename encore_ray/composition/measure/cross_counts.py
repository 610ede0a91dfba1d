"""How often two small numbers occur together: what every table of a corpus is counted by, and weighs its time."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


class CrossCounter:
    """Counts tables of the same few shapes again and again, in less than half the time of `numpy.bincount`.

    That one needs both numbers put into one of int64, and looks through it for its ends before it counts. A sparse
    matrix of ones, made dense, needs neither. Making one takes as long as counting with it: each is kept and filled
    anew. So a counter is for one thread.
    """

    def __init__(self) -> None:
        self._sparse: dict[tuple[int, int], Any] = {}
        self._one_N = np.ones(0, dtype=np.int64)

    def count(self, row_N: NDArray[np.int32], column_N: NDArray[np.int32], shape: tuple[int, int]) -> NDArray[np.int64]:
        """int64 table of the shape: how often each row number stands beside each column number.

        Both must be inside the shape, which nothing looks at: others would be counted outside of the table's memory.
        """
        from scipy.sparse import coo_array

        if shape not in self._sparse:
            self._sparse[shape] = coo_array(shape, dtype=np.int64)
        if len(self._one_N) < len(row_N):
            self._one_N = np.ones(len(row_N), dtype=np.int64)
        sparse = self._sparse[shape]
        sparse.coords, sparse.data = (row_N, column_N), self._one_N[: len(row_N)]
        return sparse.toarray()
