"""Whatever a file holds, a limit of bytes a row holds while it is read."""

import csv
import gzip
import io
import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encore_ray.corpora.converting.convert import ConvertSettings
from encore_ray.corpora.files.bounded import array_elements
from encore_ray.corpora.files.sources import InputSpec, list_files
from encore_ray.corpora.rows import text_items
from encore_ray.corpora.scan import ranges, scan
from encore_ray.errors import DataError
from tests.corpora.prepared import prepare

ROW = {"prompt": "p", "chosen": "a", "rejected": "b"}
LONG = {**ROW, "chosen": "x" * 500}
BOUNDED = ConvertSettings(max_row_bytes=200)


def lines(*rows: dict[str, str]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def prepare_bounded(path: Path):
    return prepare(path, settings=BOUNDED, row_bytes=200)


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
@pytest.mark.parametrize("last", [b"\n", b""])
def test_a_line_over_the_limit_goes_to_quarantine_and_its_neighbours_are_kept(tmp_path: Path, name: str, last: bytes):
    data = lines(ROW, LONG, ROW, LONG).removesuffix(b"\n") + last
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    done = prepare_bounded(tmp_path / name)
    assert [pair["pair_id"] is not None for pair in done.pairs] == [True, True]
    assert done.reasons == {"row_too_large": 2} and [row["line"] for row in done.quarantine] == [2, 4]
    size = len(json.dumps(LONG))
    said = f"the row has {size} bytes: expected at most 200 bytes (prepare.max_row_bytes)"
    assert done.quarantine[0]["detail"] == said
    assert json.dumps(LONG).startswith(done.quarantine[0]["raw"])


@pytest.mark.parametrize("more", [0, 1])
def test_the_limit_is_that_of_a_line_without_its_end(tmp_path: Path, more: int):
    line = json.dumps(LONG).encode()
    (tmp_path / "a.jsonl").write_bytes(line + b"\n" + line)
    (file,) = list_files([InputSpec(str(tmp_path / "a.jsonl"))])
    (part,) = ranges(file)
    kept = [isinstance(item, bytes) for item in text_items(part, row_bytes=len(line) - more)]
    assert kept == [not more] * 2


@given(st.lists(st.integers(0, 60), max_size=8), st.integers(1, 40), st.integers(1, 50))
def test_ranges_and_limits_change_neither_digest_nor_number_of_rows(tmp_path_factory, lengths, limit, range_bytes):
    path = tmp_path_factory.mktemp("lines") / "a.jsonl"
    path.write_bytes(b"\n".join(b"x" * length for length in lengths))
    (file,) = list_files([InputSpec(str(path))])

    def found(row_bytes: int):
        scans = [scan(part, row_bytes=row_bytes) for part in ranges(file, range_bytes=range_bytes)]
        return sum(one.num_rows for one in scans), sum((one.digest for one in scans), scans[0].digest.__class__())

    assert found(limit) == found(1000)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)


class Drops(io.BytesIO):
    """A file that gives a few bytes at a time."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(min(size or 0, 7))


@given(st.lists(JSON, max_size=6), st.sampled_from([None, 1]), st.booleans())
def test_elements_are_the_same_however_little_is_read_at_once(values, indent, is_ascii):
    data = json.dumps(values, indent=indent, ensure_ascii=is_ascii).encode("utf-8", "surrogatepass")
    found = list(array_elements(Drops(data), "a.json", 10_000))
    assert [json.loads(item.decode("utf-8", "surrogatepass")) for item in found] == values


@pytest.mark.parametrize("name", ["a.json", "a.json.gz"])
def test_an_element_of_an_array_over_the_limit_is_refused_with_the_option(tmp_path: Path, name: str):
    data = json.dumps([ROW, LONG, ROW]).encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    with pytest.raises(DataError, match=r"a\.json.*element at character \d+: .*at most 200 bytes \(prepare.max_row_b"):
        prepare_bounded(tmp_path / name)


@pytest.mark.parametrize("spoil", ["{}", '"{}', '{}\n"open', "{},{}"])
def test_a_row_of_a_csv_file_over_the_limit_is_refused_with_the_option(tmp_path: Path, spoil: str):
    text = "prompt,chosen,rejected\na,b,c\n" + spoil.format("x" * 300, "y") + "\n" * 150
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(DataError, match=r"a\.csv: row \d .*at most 200 bytes \(prepare.max_row_bytes\).*quote"):
        prepare_bounded(tmp_path / "a.csv")


def test_many_short_rows_of_a_csv_file_are_no_long_one(tmp_path: Path):
    with (tmp_path / "a.csv").open("w", newline="") as handle:
        csv.writer(handle).writerows([["prompt", "chosen", "rejected"], *[["p", "a\nb", "c"]] * 100])
    assert len(prepare_bounded(tmp_path / "a.csv").pairs) == 100


PEAK = """
import resource, sys
from encore_ray.corpora.scan import ranges, scan
from encore_ray.corpora.files.sources import InputSpec, list_files
from encore_ray.errors import DataError
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    for file in list_files([InputSpec(sys.argv[1])]):
        print(sum(scan(part).num_rows for part in ranges(file)))
except DataError as error:
    print("max_row_bytes" in str(error))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.parametrize(
    ("name", "begin", "end", "found"),
    [
        ("a.jsonl.gz", b'{"prompt": "', b'"}\n', "1"),
        ("a.json.gz", b'[{"prompt": "', b'"}]', "True"),
        ("a.csv.gz", b'prompt,chosen,rejected\n"', b'",a,b\n', "True"),
    ],
)
def test_a_small_archive_of_one_huge_row_takes_little_memory(tmp_path: Path, name, begin, end, found):
    with gzip.GzipFile(tmp_path / name, "wb", compresslevel=1) as handle:
        handle.write(begin)
        for _ in range(300):
            handle.write(b"x" * (1 << 20))
        handle.write(end)
    shown = subprocess.run(
        [sys.executable, "-c", PEAK, str(tmp_path / name)], capture_output=True, text=True, check=True
    )
    said, mb = shown.stdout.split()
    assert said == found
    assert int(mb) < 200  # of 300 MiB in one row; the limit is 16 MiB, held as bytes and as text


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet"])
def test_a_file_of_nothing_but_rows_that_are_too_long_is_refused_with_the_option(tmp_path: Path, name: str):
    (tmp_path / "a.jsonl").write_bytes(lines(LONG, LONG))
    pq.write_table(pa.Table.from_pylist([LONG, LONG]), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"all of its 2 rows are longer than prepare.max_row_bytes"):
        prepare_bounded(tmp_path / name)
