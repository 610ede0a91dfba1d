"""Rows of tables are measured before they are read out, and those that are too long never are."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from encore_ray.corpora.columnar.row_sizes import pieces, row_sizes
from encore_ray.corpora.files.sources import InputSpec, list_files
from encore_ray.corpora.scan import ranges, scan
from tests.corpora.files.test_bounded import LONG, ROW, prepare_bounded
from tests.corpora.layouts.published import OASST_TREES

TEXTS = ["xx", None, "yyyyy"]


@pytest.mark.parametrize(
    ("column", "sizes"),
    [
        (pa.array(TEXTS), [2, 0, 5]),
        (pa.array(TEXTS, pa.large_string()), [2, 0, 5]),
        (pa.array(TEXTS, pa.string_view()), [2, 0, 5]),
        (pa.array(TEXTS).dictionary_encode(), [2, 0, 5]),
        (pa.array([None, None, None], pa.dictionary(pa.int32(), pa.string())), [0, 0, 0]),
        (pa.array([1, 2, None]), [8, 8, 8]),
        (pa.nulls(3), [0, 0, 0]),
        (pa.array([[{"role": "user", "content": "hello"}], [], None]), [9, 0, 0]),  # user and hello
        (pa.array([["ab", "c"], [], ["def"]], pa.large_list(pa.string())), [3, 0, 3]),
        (pa.array([[("k", "v")], [], [("key", "value")]], pa.map_(pa.string(), pa.string())), [2, 0, 8]),
        (pa.array([["a", "b"], ["c", "d"], None], pa.list_(pa.string_view())), [2, 2, 0]),
    ],
)
def test_sizes_are_those_of_the_values_whatever_holds_them(column, sizes):
    assert row_sizes(pa.record_batch({"a": column})).tolist() == sizes
    assert row_sizes(pa.record_batch({"a": column, "b": column}).slice(1)).tolist() == [2 * size for size in sizes[1:]]


def test_pieces_hold_every_row_once_and_none_is_read_out_beyond_the_limit():
    shared = pa.DictionaryArray.from_arrays(pa.array([0, 1] * 500, pa.int32()), pa.array(["x" * (1 << 20), "y"]))
    batch = pa.record_batch({"text": shared, "n": pa.array(range(1000))})
    found = list(pieces([batch], 1 << 19))
    assert [n for piece in found for n in piece.batch.column("n").to_pylist()] == list(range(1, 1000, 2))
    assert [bool(size) for piece in found for size in piece.too_long] == [True, False] * 500
    whole = list(pieces([batch], 1 << 21))
    assert sum(len(piece.too_long) for piece in whole) == sum(piece.batch.num_rows for piece in whole) == 1000
    assert max(int(row_sizes(piece.batch).sum()) for piece in whole) <= 64 << 20 < int(row_sizes(batch).sum())


@pytest.mark.parametrize("kind", ["plain", "dictionary", "view", "list"])
def test_a_row_of_a_table_over_the_limit_goes_to_quarantine_with_its_short_values(tmp_path: Path, kind: str):
    rows = [ROW, LONG, {**ROW, "chosen": "c"}]
    table = pa.Table.from_pylist(rows)
    chosen = table.column("chosen").combine_chunks()
    columns = {"dictionary": chosen.dictionary_encode(), "view": chosen.cast(pa.string_view())}
    table = table.set_column(1, "chosen", columns.get(kind, chosen))
    if kind == "list":
        talk = [[{"role": "user", "content": "p"}, {"role": "assistant", "content": row["chosen"]}] for row in rows]
        other = [[{"role": "user", "content": "p"}, {"role": "assistant", "content": "b"}]] * 3
        table = pa.table({"chosen": talk, "rejected": other, "prompt": ["p"] * 3})
    pq.write_table(table, tmp_path / "a.parquet")
    done = prepare_bounded(tmp_path / "a.parquet")
    assert len(done.pairs) == 2 and done.reasons == {"row_too_large": 1}
    (bad,) = done.quarantine
    assert bad["line"] == 2 and "at most 200 bytes (prepare.max_row_bytes)" in bad["detail"]
    assert json.loads(bad["raw"])["prompt"] == "p"


def test_rows_of_trees_that_are_too_long_are_shown():
    # Arrow 25 ended the process where a slice of such a column was cast to its own type.
    batch = pa.RecordBatch.from_pylist(OASST_TREES[:1] * 3)
    (piece,) = pieces([batch], 10)
    assert all(piece.too_long)
    assert [json.loads(piece.head(row)) for row in range(3)] == OASST_TREES[:1] * 3


def test_a_small_file_whose_rows_share_one_long_text_is_read_row_by_row(tmp_path: Path):
    # 4,096 rows of 4 MB each are 16 GB; the file has 190 kilobytes.
    shared = pa.DictionaryArray.from_arrays(pa.array(np.zeros(4096, np.int32)), pa.array(["x" * 4_000_000]))
    table = pa.table({"prompt": ["p"] * 4096, "chosen": shared})
    pq.write_table(table, tmp_path / "a.parquet", dictionary_pagesize_limit=1 << 30, store_schema=False)
    assert (tmp_path / "a.parquet").stat().st_size < 200_000
    (file,) = list_files([InputSpec(str(tmp_path / "a.parquet"))])
    (part,) = ranges(file)
    assert scan(part, row_bytes=1 << 20).num_rows == 4096
