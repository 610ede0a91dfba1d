"""Columns of tables made elsewhere: numbers and texts in whatever way another program stores them."""

import decimal

import numpy as np
import pyarrow as pa
import pytest

from encore_ray.folder.columns import floats, holds_numbers, holds_texts, subsets

VALUES = [0.5, None, 2.0]
NUMBERS = {
    "float16": pa.array(np.array([0.5, 0.0, 2.0], dtype=np.float16), mask=np.array([False, True, False])),
    "float32": pa.array(VALUES, pa.float32()),
    "decimal": pa.array([decimal.Decimal("0.50"), None, decimal.Decimal("2.00")]),
    "decimal256": pa.array([decimal.Decimal("0.50"), None, decimal.Decimal("2.00")], pa.decimal256(50, 2)),
    "categories": pa.array(VALUES).dictionary_encode(),
}
TEXTS = {
    "string": pa.array(["a", None, "b"]),
    "large": pa.array(["a", None, "b"], pa.large_string()),
    "view": pa.array(["a", None, "b"], pa.string_view()),
    "categories": pa.array(["a", None, "b"]).dictionary_encode(),
}


@pytest.mark.parametrize("kind", NUMBERS)
def test_numbers_are_read_from_any_type_of_number(kind: str) -> None:
    column = pa.chunked_array([NUMBERS[kind]])
    assert holds_numbers(column) and not holds_texts(column)
    np.testing.assert_array_equal(floats(column), [0.5, np.nan, 2.0])


@pytest.mark.parametrize("kind", TEXTS)
def test_subsets_are_read_from_any_type_of_text(kind: str) -> None:
    column = pa.chunked_array([TEXTS[kind]])
    assert holds_texts(column) and not holds_numbers(column)
    found = subsets(column)
    assert [None if code < 0 else found.names[code] for code in found.code_N] == ["a", None, "b"]


@pytest.mark.parametrize(
    "other", [pa.array([True]), pa.array([b"a"]), pa.array([[1.0]]), pa.array([0], pa.timestamp("s"))]
)
def test_anything_else_is_neither(other: pa.Array) -> None:
    column = pa.chunked_array([other])
    assert not holds_numbers(column) and not holds_texts(column)
