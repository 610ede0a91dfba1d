"""How large the pages of a Parquet file are once they are decompressed, which only their own headers say.

A footer tells the size of a whole column; pyarrow decompresses a page as one, up to 2 GiB of it.

Source: github.com/apache/parquet-format, PageHeader; Thrift's compact protocol.
"""

from dataclasses import dataclass
from typing import IO

import pyarrow.parquet as pq

from encore_ray.errors import DataError

MAX_PAGE_BYTES = 512 << 20
_LARGE_DICTIONARY = 1 << 20  # about where writers end one
_MAX_DEPTH = 8
_BYTE, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = 3, 7, 8, 9, 10, 12
_SIZE, _STORED_SIZE = 2, 3  # fields of a PageHeader


@dataclass(frozen=True)
class Page:
    """Bytes of a page: decompressed, as stored, and of its header."""

    size: int
    stored: int
    header: int


def large_dictionaries(
    metadata: pq.FileMetaData, groups: range, handle: IO[bytes], uri: str, *, page_bytes: int = MAX_PAGE_BYTES
) -> dict[str, list[int]]:
    """Paths of columns whose dictionary has more than 1 MiB in some of these row groups, and in which.

    Raises:
        DataError: a page of more than `page_bytes`.
    """
    found: dict[str, list[int]] = {}
    for group in groups:
        stored = metadata.row_group(group)
        for index in range(stored.num_columns):
            chunk = stored.column(index)
            if chunk.total_uncompressed_size <= _LARGE_DICTIONARY:
                continue
            first = chunk.dictionary_page_offset
            if first is not None and chunk.physical_type == "BYTE_ARRAY":
                size = _read_page(handle, first).size
                _check(size, chunk, uri, page_bytes)
                if size > _LARGE_DICTIONARY:
                    found.setdefault(chunk.path_in_schema, []).append(group)
            if chunk.total_uncompressed_size > page_bytes:
                _check_pages(handle, chunk, uri, page_bytes)
    return found


def _check_pages(handle: IO[bytes], chunk: pq.ColumnChunkMetaData, uri: str, page_bytes: int) -> None:
    place = chunk.data_page_offset if chunk.dictionary_page_offset is None else chunk.dictionary_page_offset
    end = place + chunk.total_compressed_size
    while place < end:
        page = _read_page(handle, place)
        _check(page.size, chunk, uri, page_bytes)
        place += max(page.header + page.stored, 1)


def _check(size: int, chunk: pq.ColumnChunkMetaData, uri: str, page_bytes: int) -> None:
    if size > page_bytes:
        raise DataError(
            f"{uri}: a page of column {chunk.path_in_schema} has {size:,} bytes once it is decompressed; at most "
            f"{page_bytes:,} are read at once. Write the file with fewer rows a page (write_batch_size), or leave "
            "the value out that is so long."
        )


def _read_page(handle: IO[bytes], place: int) -> Page:
    handle.seek(place)
    reader = _Compact(handle)
    fields = reader.struct(0)
    return Page(max(fields.get(_SIZE, 0), 0), max(fields.get(_STORED_SIZE, 0), 0), handle.tell() - place)


class _Compact:
    """Reads Thrift's compact protocol, as much of it as page headers have; EOFError where it is none."""

    def __init__(self, handle: IO[bytes]):
        self._handle = handle

    def struct(self, depth: int) -> dict[int, int]:
        """The whole numbers of a struct by field; everything else in it is passed over."""
        fields: dict[int, int] = {}
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._whole()
            value = self._value(head & 15, depth)
            if value is not None:
                fields[number] = value
        return fields

    def _value(self, kind: int, depth: int) -> int | None:
        if kind in (1, 2):  # a bool, which its kind tells
            return None
        if kind == _BYTE:
            self._byte()
        elif kind < _DOUBLE:
            return self._whole()
        elif kind == _DOUBLE:
            self._handle.seek(8, 1)
        elif kind == _BINARY:
            self._handle.seek(self._varint(), 1)
        elif kind in (_LIST, _SET):
            head = self._byte()
            for _ in range(self._varint() if head >> 4 == 15 else head >> 4):
                self._value(head & 15, self._deeper(depth))
        elif kind == _STRUCT:
            self.struct(self._deeper(depth))
        else:
            raise EOFError("a page header is damaged")
        return None

    def _deeper(self, depth: int) -> int:
        if depth >= _MAX_DEPTH:
            raise EOFError("a page header is damaged")
        return depth + 1

    def _whole(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

    def _varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise EOFError("a page header is damaged")

    def _byte(self) -> int:
        data = self._handle.read(1)
        if not data:
            raise EOFError("the file ends within a page header")
        return data[0]
