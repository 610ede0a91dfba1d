import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encore_ray.corpora.files.sources import InputSpec, list_files
from encore_ray.corpora.rows import MAX_DEPTH, BadRow, parse_object, read_rows, text_items
from encore_ray.corpora.scan import ranges
from encore_ray.errors import DataError
from encore_ray.schema import Reason


def rows_of(path: Path, *, range_bytes: int = 1 << 20) -> list[tuple[int, Any]]:
    """Line and values, or reason, of every row."""
    rows, line = [], 1
    for part in ranges(list_files([InputSpec(str(path))])[0], range_bytes=range_bytes):
        found = read_rows(part, first_line=line, columns=("a",))
        rows += [(row.line, row.problem.reason if row.problem else row.values) for row in found]
        line += sum(1 for _ in text_items(part)) if part.file.kind != "parquet" else 0
    return rows


@given(
    lines=st.lists(st.binary(max_size=6).map(lambda line: line.replace(b"\n", b"")), max_size=8),
    range_bytes=st.integers(1, 20),
    ends_in_newline=st.booleans(),
)
def test_every_line_is_in_exactly_one_range(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], range_bytes: int, ends_in_newline: bool
):
    path = tmp_path_factory.mktemp("lines") / "a.jsonl"
    data = b"\n".join(lines) + (b"\n" if ends_in_newline else b"")
    path.write_bytes(data)
    file = list_files([InputSpec(str(path))])[0]
    found = [item for part in ranges(file, range_bytes=range_bytes) for item in text_items(part)]
    expected = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    assert found == (expected if expected[-1] else expected[:-1])


def test_blank_lines_are_numbered_and_are_no_rows(tmp_path: Path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\n{"a": 1}\n  \r\n\n{"a": 2}')
    assert rows_of(path) == [(2, {"a": 1}), (5, {"a": 2})]
    assert rows_of(path, range_bytes=3) == rows_of(path)


@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_a_byte_order_mark_and_windows_line_ends_are_no_content(tmp_path: Path, name: str):
    (tmp_path / name).write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n{"a": 2}\r\n')
    assert rows_of(tmp_path / name) == [(1, {"a": 1}), (2, {"a": 2})]


@pytest.mark.parametrize(
    ("line", "reason", "detail"),
    [
        (b'{"a": ', Reason.MALFORMED_JSON, "Expecting value at character 7"),
        (b'{"a": 1} {"a": 2}', Reason.MALFORMED_JSON, "Extra data"),
        (b'{"a": "\x00"}', Reason.MALFORMED_JSON, "Invalid control character"),
        (b'{"a": 1, "a": 2}', Reason.MALFORMED_JSON, "'a' appears twice"),
        (b'{"a": {"b": 1, "b": 1}}', Reason.MALFORMED_JSON, "'b' appears twice"),
        (b'{"a": ' + b"9" * 5000 + b"}", Reason.MALFORMED_JSON, "digits"),
        (b'{"a": ' + b"[" * 101 + b"]" * 101 + b"}", Reason.MALFORMED_JSON, "nested deeper than 100"),
        (b"[" * 100_000, Reason.MALFORMED_JSON, "nested deeper than 100"),
        (b'{"a": "\xff"}', Reason.INVALID_UTF8, "byte 8 of the row"),
        (b'{"a": "\\ud800"}', Reason.INVALID_UTF8, "surrogate"),
        (b'{"\\uDFFF": 1}', Reason.INVALID_UTF8, "surrogate"),
        (b"[1]", Reason.NOT_AN_OBJECT, "found list"),
        (b"null", Reason.NOT_AN_OBJECT, "found NoneType"),
    ],
)
def test_a_line_that_is_no_object_says_why(line: bytes, reason: Reason, detail: str):
    with pytest.raises(BadRow, match=detail) as problem:
        parse_object(line)
    assert problem.value.reason is reason


@pytest.mark.parametrize(
    ("line", "value"),
    [
        (b'{"a": "\\u0000"}', "\0"),
        (b'{"a": "\\ud83d\\ude00 \\\\ud800"}', "😀 \\ud800"),
        (b'{"a": 123456789012345678901234567890}', 123456789012345678901234567890),
        (b'{"a": Infinity}', float("inf")),
        (b'{"a": "' + b"[{" * 200 + b'"}', "[{" * 200),
        (b'{"a": ' + b"[" * (MAX_DEPTH - 2) + b"]" * (MAX_DEPTH - 2) + b"}", None),
    ],
)
def test_unusual_but_whole_objects_are_read_as_they_are(line: bytes, value: Any):
    assert parse_object(line)["a"] == value if value is not None else parse_object(line)


def test_json_is_an_array_or_one_object_a_line(tmp_path: Path):
    objects = [{"a": 1}, {"a": "é"}, {"a": [2]}]
    (tmp_path / "lines.json").write_text("\n".join(map(json.dumps, objects)))
    (tmp_path / "array.json").write_text(" \n" + json.dumps(objects, indent=2) + "\n")
    assert rows_of(tmp_path / "lines.json") == rows_of(tmp_path / "array.json") == list(enumerate(objects, start=1))


def test_a_bad_element_of_an_array_is_a_bad_row(tmp_path: Path):
    path = tmp_path / "a.json"
    path.write_bytes(b'[{"a": 1}, 7, {"a": "\xff"}, {"b": 1, "b": 2}, {"a": 2}]')
    expected = [{"a": 1}, Reason.NOT_AN_OBJECT, Reason.INVALID_UTF8, Reason.MALFORMED_JSON, {"a": 2}]
    assert rows_of(path) == list(enumerate(expected, start=1))


@pytest.mark.parametrize("text", ['[{"a": 1}', '[{"a": 1} {"a": 2}]', '[{"a": 1}] x', "[{]", "[" * 100_000])
def test_a_broken_array_fails_by_name(tmp_path: Path, text: str):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError, match=r"a\.json as a JSON array"):
        rows_of(tmp_path / "a.json")


@pytest.mark.parametrize("text", ["[]", "[ ]\n", ""])
def test_an_empty_array_or_file_has_no_rows(tmp_path: Path, text: str):
    (tmp_path / "a.json").write_text(text)
    assert rows_of(tmp_path / "a.json") == []


def test_invalid_utf8_in_parquet_is_a_bad_row_and_its_neighbours_are_not(tmp_path: Path):
    buffers = pa.array([b"good", b"b\xff\xfed", b"fine"], pa.binary()).buffers()
    texts = pa.StringArray.from_buffers(3, buffers[1], buffers[2])
    pq.write_table(pa.table({"a": texts, "n": [1, 2, 3]}), tmp_path / "a.parquet")
    assert rows_of(tmp_path / "a.parquet") == [(1, {"a": "good"}), (2, Reason.INVALID_UTF8), (3, {"a": "fine"})]
    part = ranges(list_files([InputSpec(str(tmp_path / "a.parquet"))])[0])[0]
    bad = list(read_rows(part, first_line=1, columns=("a",)))[1]
    assert json.loads(bad.text()) == {"a": "b\\xff\\xfed", "n": 2}
    undecoded = [row.problem and row.problem.reason for row in read_rows(part, first_line=1, columns=("n",))]
    assert undecoded == [None, Reason.INVALID_UTF8, None]  # a column that is only passed through counts too
