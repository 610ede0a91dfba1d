"""Arrow columns and numpy arrays: as pyarrow's own ways make them, which load pandas."""

import subprocess
import sys
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encore_ray.arrays import rows_to_table, to_arrow, to_numpy

COLUMNS = {
    "floats with nulls": pa.chunked_array([[1.0, None], [2.0]]),
    "one piece": pa.chunked_array([[1.0, 2.0]]),
    "nothing": pa.chunked_array([], pa.float64()),
    "a part": pa.array([1, 2, 3])[1:],
    "float32 with nulls": pa.array([1.5, None], pa.float32()),
    "truth": pa.array([True, False, True, True])[1:],
    "no truth": pa.array([], pa.bool_()),
}

VALUES: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.string(): st.text(),
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.uint8(): st.integers(0, 255),
    pa.int32(): st.integers(-(2**31), 2**31 - 1),
    pa.float64(): st.floats(allow_nan=False),
    pa.float32(): st.floats(width=32, allow_nan=False),
    pa.bool_(): st.booleans(),
    pa.list_(pa.string()): st.lists(st.text()),
    pa.list_(pa.int64()): st.lists(st.integers(-9, 9) | st.none()),
}
SCHEMA = pa.schema([(str(kind), kind) for kind in VALUES])


@pytest.mark.parametrize("column", COLUMNS.values(), ids=COLUMNS)
def test_a_column_is_the_array_that_pyarrow_makes_of_it(column: pa.Array | pa.ChunkedArray) -> None:
    expected = column.to_numpy(zero_copy_only=False) if isinstance(column, pa.Array) else column.to_numpy()
    found = to_numpy(column)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


def test_what_stands_for_null_is_one_of_the_columns_own_values() -> None:
    assert to_numpy(pa.chunked_array([[1, None], [3]]), null=-1).tolist() == [1, -1, 3]
    assert to_numpy(pa.array([1, None], pa.uint16()), null=0).tolist() == [1, 0]
    with pytest.raises(ValueError, match="NaN"):
        to_numpy(pa.array([1, None]))


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64])
def test_an_array_is_the_column_that_pyarrow_makes_of_it(dtype: type) -> None:
    number_N, null_N = np.arange(20, dtype=dtype)[::2], np.arange(10) % 3 == 0
    assert to_arrow(number_N).equals(pa.array(number_N))
    assert to_arrow(number_N, null_N=null_N).equals(pa.array(number_N, mask=null_N))


@given(st.lists(st.fixed_dictionaries({}, optional={str(kind): st.none() | some for kind, some in VALUES.items()})))
def test_rows_are_the_table_that_pyarrow_makes_of_them(rows: list[dict[str, Any]]) -> None:
    made = rows_to_table(rows, SCHEMA)
    made.validate(full=True)
    assert made.equals(pa.Table.from_pylist(rows, schema=SCHEMA))


def test_what_a_row_has_beyond_the_schema_is_left_out() -> None:
    assert rows_to_table([{"a": 1, "b": 2}], pa.schema([("b", pa.int64())])).to_pylist() == [{"b": 2}]


def test_none_of_it_loads_pandas() -> None:
    script = """
import sys
import numpy as np, pyarrow as pa
from encore_ray.arrays import rows_to_table, to_arrow, to_numpy
kinds = {"a": pa.string(), "b": pa.int64(), "c": pa.float64(), "d": pa.bool_()}
table = rows_to_table([{"a": "x", "b": 1, "c": 2.0, "d": True}], pa.schema(list(kinds.items())))
for name in "bcd":
    to_numpy(table.column(name))
to_numpy(rows_to_table([{}], pa.schema([("b", pa.int64())])).column("b"), null=-1)
to_arrow(np.arange(3.0))
sys.exit("pandas" in sys.modules)
"""
    subprocess.run([sys.executable, "-c", script], check=True)
