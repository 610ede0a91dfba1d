"""Tables made elsewhere: which files they are of, in which parts they are read, and what tells one from another.

A footer tells rows, places and extremes of columns, and no more: rows in another order leave it as it is. So what is
made from such a table is bound to the bytes of its files, or to the ETag that an object store changes with them. Size
and time are not asked: programs that copy keep them (`rsync -t`, `cp -p`, `touch -r`).
"""

import contextlib
import hashlib
import pickle
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow.parquet as pq
import xxhash

from encore_ray.errors import ConfigError, DataError
from encore_ray.folder.reading.parquet import open_parquet
from encore_ray.folder.spec import writer_of
from encore_ray.storage import READERS, Folder

FOREIGN_UNIT_ROWS = 65_536
READ_BYTES = 8 << 20  # at a time, of each file whose digest is taken


@dataclass(frozen=True)
class Part:
    """Row groups of a file that are read as one unit.

    Attributes:
        footer: digest of the file's footer, by which a worker knows that it reads the file that was planned.
    """

    rows: int
    row_groups: tuple[int, ...]
    footer: str


def foreign_files(uri: str) -> list[tuple[Folder, str]]:
    """The Parquet files of a table, by folder and name; ConfigError where there is none."""
    files = parquet_files(uri)
    if not files:
        folder = Folder(uri)
        raise ConfigError(f"{uri}: {_what_is_there(folder)}")
    return files


def parquet_files(uri: str) -> list[tuple[Folder, str]]:
    """The Parquet files of a table, by folder and name; none where there is none, or one of them is not there."""
    folder = Folder(uri)
    # Spark and others write folders that are called x.parquet: what it is decides, not its name.
    files = [(folder, name) for name in folder.names() if name.endswith(".parquet")]
    if not files:
        files = [(folder, f"data/{name}") for name in folder.names("data") if name.endswith(".parquet")]
    if not files and uri.endswith(".parquet"):
        parent, _, name = uri.rpartition("/")
        files = [(Folder(parent or "/"), name)]
    return files if all(parent.exists(name) for parent, name in files) else []


def _what_is_there(folder: Folder) -> str:
    """In place of a table."""
    if folder.names():
        return "this folder holds no Parquet file. Expected a folder of Parquet files, or one .parquet file."
    parent, _, name = folder.uri.rstrip("/").rpartition("/")
    with contextlib.suppress(FileNotFoundError, ConfigError, DataError):
        if Folder(parent or "/").info(name)["type"] == "file":
            return (
                "this is no Parquet file, as this table must be. Write it as one, as by "
                "pandas.read_csv(..).to_parquet(..)."
            )
    return f"no such table. In a run, {writer_of(folder.uri)} comes first."


def parts(folder: Folder, file: str) -> Iterator[Part]:
    """A file as units of about 64Ki rows; row groups stay whole."""
    with open_parquet(folder, file) as parquet:
        footer = footer_digest(parquet)
        sizes = [parquet.metadata.row_group(index).num_rows for index in range(parquet.metadata.num_row_groups)]
    group: list[int] = []
    rows = 0
    for index, size in enumerate(sizes):
        group.append(index)
        rows += size
        if rows >= FOREIGN_UNIT_ROWS or (rows and index == len(sizes) - 1):
            yield Part(rows, tuple(group), footer)
            group, rows = [], 0


def footer_digest(parquet: pq.ParquetFile) -> str:
    """Of what the footer says, to be compared within one command: another pyarrow may write it down otherwise."""
    return hashlib.sha256(pickle.dumps(parquet.metadata)).hexdigest()


def content_digests(files: Sequence[tuple[Folder, str]]) -> list[str]:
    """What each file holds: its ETag where a store tells one, else the XXH3-128 of its bytes, a few files at a time."""
    with ThreadPoolExecutor(READERS) as pool:
        return list(pool.map(lambda place: _content_digest(*place), files))


def _content_digest(folder: Folder, file: str) -> str:
    tag = None if folder.is_local else folder.info(file).get("ETag")
    if tag and not str(tag).startswith("W/"):
        return f"etag {tag}"
    digest = xxhash.xxh3_128()
    with folder.open(file) as handle:
        while data := handle.read(READ_BYTES):
            digest.update(data)
    return digest.hexdigest()
