"""What the headers of pages say is what writers wrote, for every kind of page."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from encore_ray.corpora.files.sources import InputSpec, list_files
from encore_ray.corpora.kinds.parquet_pages import large_dictionaries
from encore_ray.corpora.kinds.tables import open_table
from encore_ray.errors import DataError

MB = 1 << 20


def write(path: Path, texts: list[str], **options) -> Path:
    pq.write_table(pa.table({"prompt": ["p"] * len(texts), "chosen": texts}), path, **options)
    return path


def find(path: Path, page_bytes: int = 512 * MB) -> list[str]:
    metadata = pq.ParquetFile(path).metadata
    with path.open("rb") as handle:
        return list(
            large_dictionaries(metadata, range(metadata.num_row_groups), handle, "a.parquet", page_bytes=page_bytes)
        )


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("codec", ["zstd", "snappy", "none"])
def test_a_page_over_the_limit_is_refused_wherever_it_lies(tmp_path: Path, version: str, codec: str):
    texts = ["a" * 1000] * 3000 + ["b" * 3 * MB] + ["c" * 1000] * 3000
    path = write(tmp_path / "a.parquet", texts, compression=codec, use_dictionary=False, data_page_version=version)
    assert find(path) == find(path, 6 * MB) == []  # 1,024 texts of 1,000 bytes and the long one are 4.0 MiB
    with pytest.raises(DataError, match=r"a\.parquet: a page of column chosen has [34],\d+,\d+ .*write_batch_size"):
        find(path, 2 * MB)


def test_dictionaries_are_found_by_their_size(tmp_path: Path):
    long = ["x" * 4 * MB] * 10
    assert find(write(tmp_path / "a.parquet", long, dictionary_pagesize_limit=1 << 30)) == ["chosen"]
    assert find(write(tmp_path / "b.parquet", [f"{n}" * 10 for n in range(10_000)])) == []
    with pytest.raises(DataError, match="a page of column chosen"):
        find(tmp_path / "a.parquet", 2 * MB)


def test_dictionaries_are_kept_for_their_long_values_alone(tmp_path: Path):
    # Either dictionary has 2 MB: 20,000 values of 100 bytes, or one that is longer than all of these together.
    short = [f"{number:0100}" for number in range(20_000)]
    for texts, is_kept in ((short, False), ([*short[:5000], "x" * 1_500_000], True)):
        write(tmp_path / "a.parquet", texts, dictionary_pagesize_limit=1 << 30, row_group_size=30_000)
        (file,) = list_files([InputSpec(str(tmp_path / "a.parquet"))])
        assert find(Path(file.uri)) == ["chosen"]
        with open_table(file) as table:
            batches = list(table.batches(0, 1, rows=1000))
        assert pa.types.is_dictionary(batches[0].column(1).type) is is_kept
        assert pa.Table.from_batches(batches).column(1).cast(pa.string()).to_pylist() == texts


def test_a_header_that_is_none_is_an_error_of_the_file(tmp_path: Path):
    path = write(tmp_path / "a.parquet", ["x" * 4 * MB] * 10, dictionary_pagesize_limit=1 << 30)
    first = pq.ParquetFile(path).metadata.row_group(0).column(1).dictionary_page_offset
    for spoilt in (b"\xff" * 64, b"\x1c" * 64, b"\x0d" * 64):
        data = bytearray(path.read_bytes())
        data[first : first + 64] = spoilt
        (tmp_path / "b.parquet").write_bytes(data)
        with pytest.raises((EOFError, DataError)):
            find(tmp_path / "b.parquet")
