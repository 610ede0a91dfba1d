"""Files on any file system: atomic writes, records that the first writer wins, tables with digests.

One `Folder` is a run folder or a part of it, local or remote (anything fsspec opens). A local file appears
under its name only when it is whole and on disk (see `encore_ray.files.durable`); an object store gives the
same by itself. `create_once` is the one primitive that decides between two attempts at the same work.
"""

import contextlib
import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import IO, TYPE_CHECKING, Any, cast

import xxhash

from encore_ray.errors import ConfigError, DataError
from encore_ray.files import durable
from encore_ray.files.fence import ask_leave
from encore_ray.files.named import meant
from encore_ray.files.remote import describe, file_stamp, file_system, is_taken, is_trouble, read_whole
from encore_ray.redaction import redact

if TYPE_CHECKING:  # imported where they are used: a command that only tells its help needs neither
    import fsspec
    import pyarrow as pa

READERS = 16  # files that a process reads at a time: the wait is the file system's


def is_remote(path: str) -> bool:
    """Whether a path names a file system by URL, as in s3://bucket/key."""
    return "://" in path and not path.startswith("file://")


def absolute(path: str, *, base: str | None = None) -> str:
    """A path that means the same on every machine: URLs unchanged, local ones absolute (from `base`).

    Raises:
        ConfigError: a URL with credentials in it, which would get into plans, tables and logs.
    """
    if is_remote(path):
        if redact(path) != path:
            raise ConfigError(
                f"{path}: leave credentials out of paths, which are written into the run folder. Set them in the "
                "environment (AWS_PROFILE, AWS_ACCESS_KEY_ID, HF_TOKEN, ...) of every node."
            )
        return path.rstrip("/")
    path = os.path.expanduser(path.removeprefix("file://"))
    return os.path.normpath(os.path.join(base or os.getcwd(), path))


def require_paths(paths: Iterable[str | None]) -> None:
    """ConfigError that names all paths which are not there; None and names on a model hub are left out."""
    places = [path for path in paths if path and (path.startswith("/") or is_remote(path))]
    missing = [path for path in places if not Folder(path).exists()]
    if missing:
        close = filter(None, map(meant, missing))
        raise ConfigError(f"No such file or folder: {', '.join(missing)}.{next(close, '')}")


def standing_above(path: str) -> str:
    """The local path itself where it is there, else the nearest one above it that is."""
    while not os.path.lexists(path):
        path = os.path.dirname(path) or "."
    return path


def content_digest(data: Any) -> str:
    """XXH3-128 of a file's bytes, in hexadecimal: finds damage at the speed of memory; forgers can make collisions.

    Source: github.com/Cyan4973/xxHash.
    """
    return xxhash.xxh3_128_hexdigest(data)


@dataclass(frozen=True)
class Written:
    """A table file as written: path relative to its folder, number of rows, `content_digest` of its bytes."""

    file: str
    rows: int
    digest: str


@dataclass(frozen=True)
class Folder:
    """A folder by absolute path or URL; small, immutable and picklable, so that workers can hold it."""

    uri: str

    @cached_property
    def _fs(self) -> "tuple[fsspec.AbstractFileSystem, str]":
        # Other processes write here too: a listing that s3fs remembers would hide what they wrote.
        return file_system(self.uri, caches_listings=False)

    def __getstate__(self) -> dict[str, Any]:
        return {"uri": self.uri}

    @property
    def name(self) -> str:
        return self.uri.rstrip("/").rsplit("/", 1)[-1]

    @property
    def is_local(self) -> bool:
        from fsspec.implementations.local import LocalFileSystem

        return isinstance(self._fs[0], LocalFileSystem)

    def child(self, *parts: str) -> "Folder":
        return Folder("/".join([self.uri.rstrip("/"), *parts]))

    def path(self, name: str) -> str:
        """Full path or URL of a file in this folder, for people and for other programs."""
        return f"{self.uri.rstrip('/')}/{name}"

    def _inner(self, name: str) -> str:
        return f"{self._fs[1].rstrip('/')}/{name}" if name else self._fs[1]

    def exists(self, name: str = "") -> bool:
        """Whether there is such a file or folder."""
        with self._reaching(name):
            return self._fs[0].exists(self._inner(name))

    def open(self, name: str) -> IO[bytes]:
        """The file for reading, seekable; FileNotFoundError if it is not there."""
        with self._reading(name):
            return cast("IO[bytes]", self._fs[0].open(self._inner(name), "rb"))

    def info(self, name: str) -> dict[str, Any]:
        """Size and whatever else the file system tells of a file (mtime, ETag)."""
        with self._reading(name):
            return self._fs[0].info(self._inner(name))

    def read_bytes(self, name: str) -> bytes:
        """The whole file; FileNotFoundError if it is not there, DataError if it is a folder."""
        with self._reading(name):
            return read_whole(self._fs[0], self._inner(name))

    def read_file(self, name: str) -> bytes:
        """As `read_bytes`; DataError when it is missing or is a folder."""
        try:
            return self.read_bytes(name)
        except FileNotFoundError:
            raise DataError(f"{self.path(name)} is not there.") from None
        except OSError as error:
            raise DataError(f"Cannot read {self.path(name)}: {error}") from None

    def read_json(self, name: str) -> Any:
        """A JSON file; DataError when it is missing or is not JSON."""
        data = self.read_file(name)
        try:
            return from_json(data)
        except ValueError as error:
            raise DataError(f"{self.path(name)} is not valid JSON: {error}") from None

    def names(self, name: str = "", *, kept: bool = True) -> list[str]:
        """Names directly inside a subfolder, sorted; none when it does not exist or is a file.

        Args:
            kept: those of what is kept; else of what writers have there for a while.
        """
        inner = self._inner(name)
        with self._reaching(name):
            try:
                # fsspec takes each name of a local folder through several functions: 0.1 s for 10,000.
                entries = os.listdir(inner) if self.is_local else self._fs[0].ls(inner, detail=False)
            except (FileNotFoundError, NotADirectoryError):
                return []
        paths = (str(entry).rstrip("/") for entry in entries)
        # A file lists itself, and so does an object store's marker of an empty folder.
        names = (path.rsplit("/", 1)[-1] for path in paths if path != inner.rstrip("/"))
        return sorted(entry for entry in names if entry.startswith(durable.TEMP_PREFIX) != kept)

    def stamps(self, name: str) -> dict[str, str]:
        """What tells that a file inside a subfolder has changed, without reading it, by its name; see `file_stamp`."""
        with self._reaching(name):
            try:
                found = self._fs[0].ls(self._inner(name), detail=True)
            except (FileNotFoundError, NotADirectoryError):
                return {}
        files = {info["name"]: info for info in found if info["type"] == "file"}
        return {path.rsplit("/", 1)[-1]: file_stamp(path, info) for path, info in files.items()}

    def write_atomic(self, name: str, data: bytes) -> None:
        """Write or replace a file; a reader sees the old or the new one, never a part."""
        ask_leave(self.path(name))
        with self._reaching(name):
            if self.is_local:
                durable.replace_file(self._inner(name), [data])
            else:
                self._fs[0].pipe_file(self._inner(name), data)

    def write_stream(self, name: str, chunks: Iterable[bytes]) -> None:
        """Write a file piece by piece, for what does not fit in memory; it appears only when whole."""
        fs = self._fs[0]
        ask_leave(self.path(name))
        with self._reaching(name):
            if self.is_local:
                durable.replace_file(self._inner(name), chunks)
                return
            # The transaction discards what was uploaded when a chunk cannot be made.
            with fs.transaction, fs.open(self._inner(name), "wb") as handle:
                cast("IO[bytes]", handle).writelines(chunks)

    def create_once(self, name: str, data: bytes) -> bool:
        """Create a file if nobody has: True for the first writer, False (nothing written) for any later one.

        A writer whose success was not answered (a lost connection to a store, to NFS) asks again, and meets its own
        file: the same content counts as won, so what decides between attempts must tell them apart.
        """
        fs, final = self._fs[0], self._inner(name)
        with self._reaching(name):
            try:
                if self.is_local:
                    durable.create_file(final, data)
                else:
                    fs.pipe_file(final, data, mode="create")
            except OSError as error:
                if not is_taken(error):
                    raise
                with contextlib.suppress(FileNotFoundError):  # it was another's, and is deleted since
                    return self.read_bytes(name) == data
                return False
        return True

    def write_json(self, name: str, value: Any) -> None:
        self.write_atomic(name, to_json(value))

    def write_table(self, name: str, table: "pa.Table") -> Written:
        """Write a Parquet file atomically (zstd, plain encoding: several times faster than dictionaries)."""
        import pyarrow.parquet as pq

        buffer = io.BytesIO()
        pq.write_table(table, buffer, compression="zstd", use_dictionary=False)
        data = buffer.getvalue()
        self.write_atomic(name, data)
        return Written(name, table.num_rows, content_digest(data))

    def read_table(self, name: str, *, columns: list[str] | None = None) -> "pa.Table":
        """A Parquet file; columns by exact name. DataError names a file that cannot be read."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        from encore_ray.files.pickled import refuse_pickles

        try:
            # The file is opened by us: pyarrow would read hive-style partitions into a path's folder names.
            with self.open(name) as handle:
                file = pq.ParquetFile(handle, page_checksum_verification=True)
                refuse_pickles(file.schema_arrow, self.path(name))
                return file.read(columns=columns)
        except FileNotFoundError:
            raise DataError(f"{self.path(name)} is not there.") from None
        except Exception as error:
            if is_trouble(error) or isinstance(error, pa.ArrowInvalid):
                raise DataError(f"Cannot read {self.path(name)} as Parquet: {describe(error)}") from None
            raise

    def delete(self, name: str) -> None:
        """Remove a file; nothing happens if it is not there."""
        ask_leave(self.path(name))
        with self._reaching(name), contextlib.suppress(FileNotFoundError, NotADirectoryError):
            self._fs[0].rm_file(self._inner(name))

    def delete_tree(self, name: str = "") -> None:
        """Remove a subfolder and all in it; nothing happens if it is not there."""
        ask_leave(self.path(name))
        with self._reaching(name), contextlib.suppress(FileNotFoundError):
            self._fs[0].rm(self._inner(name), recursive=True)
        self._fs[0].invalidate_cache()

    def sweep_temporaries(self, name: str = "") -> None:
        """Remove what writers that were killed left under temporary names (only local writers leave any)."""
        if self.is_local:
            durable.sweep_temporaries(self._inner(name))

    @contextlib.contextmanager
    def _reading(self, name: str) -> Iterator[None]:
        """As `_reaching`; what is not there is FileNotFoundError, which a caller may expect, and decides upon."""
        with self._reaching(name, passing=(FileNotFoundError,)):
            try:
                yield
            except IsADirectoryError:
                raise DataError(f"{self.path(name)} is a folder, where a file belongs.") from None

    @contextlib.contextmanager
    def _reaching(self, name: str, *, passing: tuple[type[OSError], ...] = ()) -> Iterator[None]:
        """Name the place that cannot be reached or written: no right, no bucket, no credentials, a full disk."""
        try:
            yield
        except passing:
            raise
        except Exception as error:
            if is_trouble(error):
                place = self.path(name).rstrip("/")
                raise ConfigError(f"Cannot reach or write {place}: {describe(error)}") from error
            raise


def to_json(value: Any) -> bytes:
    """JSON as we store it: UTF-8, indented, never NaN."""
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def from_json(data: str | bytes) -> Any:
    """The value of a JSON text; ValueError for what is none, or is nested too deep to be one of ours."""
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def fingerprint(value: Any) -> str:
    """SHA-256 of a JSON value, independent of key order."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
