"""Tables made elsewhere: known by what their files hold, whatever size, time and footer say."""

import os
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from encore_ray.errors import DataError
from encore_ray.folder.reading import foreign
from encore_ray.folder.reading.foreign import content_digests
from encore_ray.folder.reading.tables import by_content, table_units
from encore_ray.storage import Folder
from tests.object_store import Store


def write(path: Path, values: list[float]) -> None:
    """Not compressed: the same values in another order make a file of the same size, with the same footer."""
    table = pa.table({"pair_id": [f"p{row}" for row in range(len(values))], "score": values})
    pq.write_table(table, path, compression="none", use_dictionary=False)


def digests(uri: Path | str) -> list[str]:
    return [unit.digest for unit in by_content(table_units(str(uri)))]


def test_a_table_rewritten_in_place_with_the_same_size_time_and_footer_is_another_one(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    write(path, [0.25, 0.5, 1.0])
    before, state = digests(path), path.stat()
    footer = table_units(str(path))[0].footer
    assert digests(path) == before
    write(path, [1.0, 0.5, 0.25])
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    now = path.stat()
    assert (now.st_size, now.st_mtime_ns, table_units(str(path))[0].footer) == (
        state.st_size,
        state.st_mtime_ns,
        footer,
    )
    assert digests(path) != before


def test_a_copy_elsewhere_under_another_name_is_the_same_table(tmp_path: Path) -> None:
    write(tmp_path / "x.parquet", [0.25, 0.5])
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(tmp_path / "x.parquet", tmp_path / "elsewhere" / "y.parquet")  # of another time
    assert digests(tmp_path / "x.parquet") == digests(tmp_path / "elsewhere")


def test_the_digest_does_not_depend_on_how_much_is_read_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "x.parquet", [0.25] * 100)
    before = digests(tmp_path / "x.parquet")
    monkeypatch.setattr(foreign, "READ_BYTES", 7)
    assert digests(tmp_path / "x.parquet") == before


def test_a_store_without_etags_is_read() -> None:
    folder = Folder("memory://tables")
    for name in ("a", "b", "c"):
        folder.write_table(name, pa.table({"x": [1 if name == "c" else 0]}))
    a, b, c = content_digests([(folder, name) for name in ("a", "b", "c")])
    assert a == b != c


def test_a_store_tells_by_its_etag_what_an_object_holds(s3: Store) -> None:
    folder, told = Folder("s3://runs/tables"), []
    for values in ([0, 1], [0, 1], [1, 0]):
        folder.write_table("x.parquet", pa.table({"x": values}))
        told.append(digests("s3://runs/tables/x.parquet"))
    assert told[0] == told[1] != told[2]
    assert told[0][0].startswith("etag ")


def test_a_file_that_is_replaced_while_a_command_reads_it_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    write(path, [0.25, 0.5])
    (unit,) = table_units(str(path))
    write(path, [0.25, 0.75])
    with pytest.raises(DataError, match=r"x\.parquet was replaced while the command read it"):
        unit.read_all()
