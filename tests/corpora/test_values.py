import datetime
from collections import Counter
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encore_ray.corpora.values import Shape, arrow_type, json_text, plain_type, shape_of, usual_shape

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([None, None], pa.null()),
        ([True, None], pa.bool_()),
        ([1, 2**63 - 1, -(2**63)], pa.int64()),
        ([1, 2.5], pa.float64()),
        ([2**53, 0.5], pa.float64()),
        ([2**53 + 1, 0.5], None),  # float64 cannot hold 2^53 + 1
        ([2**63], None),
        (["a", "\n\nHuman: b", None], pa.string()),
        (["1", 1], None),
        ([True, 1], None),
        ([[1]], None),
        ([{"a": 1}], None),
    ],
)
def test_a_column_gets_the_one_type_that_holds_its_values_exactly(values: list[Any], expected: pa.DataType | None):
    assert arrow_type(Counter(map(shape_of, values))) == expected


@given(values=st.lists(SCALARS, min_size=1, max_size=8))
def test_values_survive_the_chosen_type_unchanged(values: list[Any]):
    chosen = arrow_type(Counter(map(shape_of, values)))
    if chosen is not None:
        back = pa.array(values, chosen).to_pylist()
        assert back == values
        assert [type(a) for a in back] == [type(b) for b in values] or chosen == pa.float64()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("\n\nHuman: hi", Shape.TRANSCRIPT),
        ("Human: hi", Shape.TEXT),
        ([{"role": "user", "content": "a"}], Shape.MESSAGES),
        (["a", "b"], Shape.TEXTS),
        ([[{"role": "user", "content": "a"}]], Shape.CONVERSATIONS),
        ([{"name": "a"}], Shape.NESTED),
        ([], Shape.NESTED),
        ([[]], Shape.NESTED),
        ({}, Shape.NESTED),
    ],
)
def test_texts_and_lists_are_told_apart(value: Any, expected: Shape):
    assert shape_of(value) is expected


def test_a_few_bad_values_do_not_hide_what_a_column_is():
    assert usual_shape(Counter([Shape.TEXT] * 3 + [Shape.INT] * 2 + [Shape.NULL] * 9)) is Shape.TEXT
    assert usual_shape(Counter([Shape.NULL])) is Shape.NULL
    assert usual_shape(Counter()) is Shape.NULL


def test_encodings_of_parquet_are_no_types_of_their_own():
    assert plain_type(pa.dictionary(pa.int8(), pa.large_string())) == pa.string()
    assert plain_type(pa.string_view()) == pa.string()
    assert plain_type(pa.int32()) == pa.int32()


def test_json_text_holds_what_parquet_can():
    value = {"day": datetime.date(2025, 1, 2), "price": Decimal("1.50"), "bytes": b"\xff", "text": "é"}
    assert json_text(value) == '{"day": "2025-01-02", "price": "1.50", "bytes": "/w==", "text": "é"}'
