"""Columns of tables made elsewhere: numbers and texts in whatever way another program stores them."""

import decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encore_ray.folder.reading.columns import conversation_hashes, floats, holds_numbers, holds_texts, subsets
from encore_ray.schema import MESSAGES

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


TURNS = st.tuples(st.sampled_from(["user", "assistant", "system"]), st.sampled_from(["", "a", "b", "ab", "é", "user"]))


@given(st.lists(st.none() | st.lists(TURNS, max_size=3), min_size=1, max_size=12), st.integers(0, 3), st.booleans())
def test_conversations_have_one_hash_where_they_are_the_same(
    talks: list[list[tuple[str, str]] | None], start: int, in_pieces: bool
) -> None:
    dicts = [talk and [{"role": role, "content": content} for role, content in talk] for talk in talks]
    array = pa.array(dicts, MESSAGES)
    column = pa.chunked_array([array[:1], array[1:]] if in_pieces else [array]).slice(start)
    found = conversation_hashes(column).tolist()
    said = [tuple(talk or ()) for talk in talks[start:]]
    assert len(found) == len(said)
    assert all((found[i] == found[j]) == (said[i] == said[j]) for i in range(len(said)) for j in range(i))
    assert found == [conversation_hashes(column.slice(place, 1)).item() for place in range(len(said))]
