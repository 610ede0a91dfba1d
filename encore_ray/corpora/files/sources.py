"""The files of a corpus: where they are, what kind each is, and which bytes they held when they were listed.

An input is a path, a folder, a glob, or a URL of them: `s3://bucket/…`, `gs://bucket/…` (through gcsfs, untested
here), `hf://datasets/owner/name[@revision]/path-or-glob`. Files end in `.parquet`, `.arrow`, `.feather`, `.jsonl`,
`.ndjson`, `.json` (one array, or one object a line), `.csv` or `.tsv`, the text ones also in `.gz`. A folder may be one
that `datasets` saved; one that ends in `.lance` is a Lance data set.
"""

import contextlib
import glob
import gzip
import hashlib
import importlib.util
import itertools
import os
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any, Literal, cast

import pyarrow as pa

from encore_ray.corpora.files.columns import ColumnMap
from encore_ray.corpora.kinds.saved import data_files
from encore_ray.errors import ConfigError, DataError
from encore_ray.files.named import meant
from encore_ray.files.remote import describe, file_stamp, file_system, is_trouble
from encore_ray.storage import absolute, is_remote

Kind = Literal["jsonl", "json", "csv", "tsv", "parquet", "arrow", "lance"]

_KINDS: dict[str, Kind] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
}
_TEXT_KINDS = frozenset({"jsonl", "json", "csv", "tsv"})
_LANCE = ".lance"
KNOWN_EXTENSIONS = ".parquet, .arrow, .feather, .jsonl, .ndjson, .json, .csv, .tsv (the last five also with .gz)"

_PACKERS = (".zst", ".zstd", ".bz2", ".xz", ".lzma", ".lz4", ".br", ".gz")  # .gz: of tables
_ARCHIVES = (".zip", ".tar", ".tgz", ".tbz2", ".txz", ".7z", ".rar")


@dataclass(frozen=True)
class InputSpec:
    """One input as a user names it.

    Attributes:
        path: file, folder, glob or URL.
        subset: name given to all its pairs, instead of the one in their `subset` column.
        format: name of a layout, or "auto" to detect it file by file.
        columns: which column holds what, instead of a layout.
    """

    path: str
    subset: str | None = None
    format: str = "auto"
    columns: ColumnMap | None = None


@dataclass(frozen=True)
class SourceFile:
    """One file of a corpus.

    Attributes:
        uri: absolute local path, or URL.
        size: bytes as stored, i.e. compressed for `.gz`.
        stamp: cheap identity: size, mtime_ns and ctime_ns of a local file, size and ETag or blob id of a remote one.
        subset, format, columns: of the input that named it.
    """

    uri: str
    kind: Kind
    gzipped: bool
    size: int
    stamp: str
    subset: str | None = None
    format: str = "auto"
    columns: ColumnMap | None = None

    @property
    def facts(self) -> list[Any]:
        """What tells it from any other, without reading it."""
        columns = self.columns.to_facts() if self.columns else None
        return [self.uri, self.stamp, self.subset, self.format, columns]

    @property
    def is_settled(self) -> bool:
        """Whether its stamp changes with its content: not where times are whole seconds, or a store tells no mark."""
        if is_remote(self.uri):  # an ETag or a hash of the content: times are copied along
            return re.fullmatch(r"[\w+/=]{20,}(-\d+)?", self.stamp.partition("-")[2]) is not None
        changed_ns = self.stamp.rpartition("-")[2]
        return changed_ns.isdigit() and int(changed_ns) % 1_000_000_000 != 0


def list_files(specs: Iterable[InputSpec]) -> list[SourceFile]:
    """All files of the inputs: inputs in the order given, the files of one input by name.

    Files of other kinds in a folder are left out; a file or a glob that names one is an error.

    Raises:
        ConfigError: a path that is not there, a glob or folder without a known file, an unknown extension, a file
            that two inputs name, a file system whose package is not installed.
        DataError: a place that cannot be listed.
    """
    files: list[SourceFile] = []
    seen: dict[str, str] = {}
    for spec in specs:
        for file in _expand(spec):
            if file.uri in seen:
                raise ConfigError(
                    f"{file.uri} is an input twice: through {seen[file.uri]!r} and {spec.path!r}. Name it once."
                )
            seen[file.uri] = spec.path
            files.append(file)
    if not files:
        raise ConfigError("No input given: expected one or more paths of corpora.")
    return files


def open_bytes(file: SourceFile) -> IO[bytes]:
    """The file for reading, as stored; a context manager."""
    fs, inner = file_system(file.uri)
    return cast("IO[bytes]", fs.open(inner, "rb"))


@contextlib.contextmanager
def open_text(file: SourceFile) -> Iterator[IO[bytes]]:
    """The bytes of a text file, decompressed."""
    with open_bytes(file) as handle:
        if not file.gzipped:
            yield handle
            return
        with gzip.GzipFile(fileobj=handle, mode="rb") as text:
            yield cast("IO[bytes]", text)


def current_stamp(file: SourceFile) -> str:
    """The stamp that the file has now; DataError if it is gone."""
    fs, inner = file_system(file.uri)
    fs.invalidate_cache()
    with reading(file.uri):
        return file_stamp(inner, _of_lance(fs, inner) if file.kind == "lance" else fs.info(inner))


@contextlib.contextmanager
def reading(uri: str) -> Iterator[None]:
    """Turn whatever a damaged, forbidden or unreachable file raises into a DataError that names the file."""
    try:
        yield
    except Exception as error:
        if is_trouble(error) or isinstance(error, EOFError | zlib.error | pa.ArrowException | UnicodeError):
            said = describe(error, otherwise="Mend the file, or leave it out of the inputs.")
            raise DataError(f"Cannot read {uri}: {said}") from error
        raise


def _expand(spec: InputSpec) -> list[SourceFile]:
    if spec.path.startswith(("gs://", "gcs://")) and importlib.util.find_spec("gcsfs") is None:
        raise ConfigError(f"{spec.path}: reading gs:// needs one more package: pip install 'encore-ray[gcs]'")
    fs, inner = file_system(absolute(spec.path))
    with reading(spec.path):
        infos, chosen_by_name = _find(fs, inner)
    if not infos:
        if not chosen_by_name:
            raise ConfigError(f"{spec.path}: no file below it ends in {KNOWN_EXTENSIONS}.")
        what = "no file matches" if glob.has_magic(inner) else "no such file or folder"
        raise ConfigError(f"{absolute(spec.path)}: {what}.{meant(absolute(spec.path))}")
    files = []
    for name in sorted(infos):
        kind, gzipped = ("lance", False) if infos[name]["type"] == "directory" else _kind(name)
        uri = fs.unstrip_protocol(name) if is_remote(spec.path) else name
        if kind is None:
            raise ConfigError(f"{uri}: unknown kind of file; expected a name that ends in {KNOWN_EXTENSIONS}.")
        info = infos[name]
        stamp = file_stamp(name, info)
        files.append(SourceFile(uri, kind, gzipped, info["size"], stamp, spec.subset, spec.format, spec.columns))
    return files


def _find(fs: Any, inner: str) -> tuple[dict[str, dict[str, Any]], bool]:
    """Files by name, and whether the user named them (one by one or by a glob) rather than their folder."""
    fs.invalidate_cache()
    try:
        info = fs.info(inner)  # not exists() or isfile(): for them a server that is down is a missing file
    except FileNotFoundError:
        # Only now: a file may well be called "a[1].jsonl".
        found = fs.glob(inner, detail=True) if glob.has_magic(inner) else {}
        return {name: info for name, info in found.items() if info["type"] == "file"}, True
    if info["type"] == "file":
        return {inner: info}, True
    if inner.rstrip("/").endswith(_LANCE):
        return {inner.rstrip("/"): _of_lance(fs, inner)}, True
    if info["type"] != "directory":
        raise ConfigError(f"{inner} is neither a file nor a folder.")  # a pipe that nobody fills would be read for ever
    found = {name: each for name, each in fs.find(inner, detail=True).items() if each["type"] == "file"}
    known = {n: i for n, i in found.items() if _kind(n)[0] and not _is_hidden(n[len(inner) :])}
    _refuse_packed(inner, [name for name in found if name not in known and not _is_hidden(name[len(inner) :])])
    kept = data_files(fs, known)
    return {name: info for name, info in known.items() if name in kept}, False


def _refuse_packed(folder: str, names: Iterable[str]) -> None:
    """ConfigError where a folder has data that would be left out for how it is packed."""
    packed = []
    for name in names:
        stem, extension = os.path.splitext(name.lower())
        holds_data = extension in _PACKERS and os.path.splitext(stem)[1] in (*_KINDS, ".tar")
        if holds_data or extension in _ARCHIVES:
            packed.append(os.path.basename(name))
    if packed:
        more = f" and {len(packed) - 3} more" if len(packed) > 3 else ""
        raise ConfigError(
            f"{folder} has files that are packed in a way that is not read: {', '.join(sorted(packed)[:3])}{more}. "
            "Unpack them (text files may be packed by gzip), or leave them out by naming the others, as in "
            f"{folder.rstrip('/')}/*.jsonl."
        )


def _of_lance(fs: Any, inner: str) -> dict[str, Any]:
    """What is known of a Lance data set as of a file: its size, and a stamp that changes with any of its files."""
    files = {name: f"{info['size']}" for name, info in sorted(fs.find(inner, detail=True).items())}
    stamp = hashlib.sha256("\0".join(itertools.chain(*files.items())).encode()).hexdigest()[:16]
    return {"size": sum(map(int, files.values())), "etag": stamp, "type": "directory"}


def _kind(name: str) -> tuple[Kind | None, bool]:
    stem, extension = os.path.splitext(name.lower())
    gzipped = extension == ".gz"
    kind = _KINDS.get(os.path.splitext(stem)[1] if gzipped else extension)
    return (None, gzipped) if gzipped and kind not in _TEXT_KINDS else (kind, gzipped)


def _is_hidden(name: str) -> bool:
    return any(part.startswith((".", "_")) for part in name.split("/"))
