"""Tables that a pass reads: our own pass folders, or Parquet files made elsewhere, as a list of units."""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from encore_ray.errors import ConfigError, DataError
from encore_ray.passes.units import read_manifest
from encore_ray.rules import RuleSet
from encore_ray.schema import (
    GROUP_ID,
    MANIFEST_FILE,
    PAIR_ID,
    PLAN_FILE,
    PROMPT_ID,
    SUBSET,
    chosen_column,
    rejected_column,
)
from encore_ray.storage import Folder, fingerprint

FOREIGN_UNIT_ROWS = 65_536
RULES_METADATA = b"encore_ray.rules"


@dataclass(frozen=True)
class TableUnit:
    """A part of a table that one task reads: a whole file, or some row groups of a foreign one."""

    unit: str
    folder: Folder
    file: str
    rows: int
    digest: str
    row_groups: tuple[int, ...] | None = None

    def read(self, columns: Sequence[str]) -> pa.Table:
        """The named columns in that order, those that the file lacks left out."""
        with self._open() as parquet:
            present = set(parquet.schema_arrow.names)
            wanted = [column for column in columns if column in present]
            return self._read(parquet, wanted)

    def read_all(self) -> pa.Table:
        with self._open() as parquet:
            return self._read(parquet, None)

    def _open(self) -> contextlib.AbstractContextManager[pq.ParquetFile]:
        """The file; one of our own (whole files are) must be what its commit says."""
        return _open(self.folder, self.file, digest=self.digest if self.row_groups is None else None)

    def _read(self, parquet: pq.ParquetFile, columns: list[str] | None) -> pa.Table:
        if self.row_groups is None:
            table = parquet.read(columns=columns)
        else:
            table = parquet.read_row_groups(list(self.row_groups), columns=columns)
        return table if columns is None else table.select(columns)


def table_units(uri: str) -> list[TableUnit]:
    """The units of a table: a finished pass folder, any folder of Parquet files, or one file.

    Raises:
        ConfigError: nothing is there. DataError: the pass has not finished, or a file is not Parquet.
    """
    folder = Folder(uri)
    if folder.exists(PLAN_FILE) or folder.exists(MANIFEST_FILE):
        return [TableUnit(f.unit, folder, f.file, f.rows, f.digest) for f in read_manifest(folder)]
    # Spark and others write folders that are called x.parquet: what it is decides, not its name.
    files = [(folder, name) for name in folder.names() if name.endswith(".parquet")]
    if not files:
        files = [(folder, f"data/{name}") for name in folder.names("data") if name.endswith(".parquet")]
    if not files and uri.endswith(".parquet"):
        parent, _, name = uri.rpartition("/")
        files = [(Folder(parent or "/"), name)]
    if not files or not all(parent.exists(name) for parent, name in files):
        raise ConfigError(f"{uri}: no such table. Expected a folder of Parquet files, or one .parquet file.")
    return [unit for number, (parent, name) in enumerate(files) for unit in _foreign_units(parent, name, number)]


def column_names(unit: TableUnit) -> list[str]:
    """Top-level columns of a unit's file."""
    with _open(unit.folder, unit.file) as parquet:
        return list(parquet.schema_arrow.names)


def table_rules(units: Sequence[TableUnit], rules: RuleSet | None) -> RuleSet:
    """The rules of a scores table: those given, else those that our score pass stored in the file.

    Raises:
        ConfigError: neither is there. DataError: the table lacks a column of a rule.
    """
    if not units:
        raise DataError("The scores table is empty: it has no file and no row.")
    with _open(units[0].folder, units[0].file) as parquet:
        names = set(parquet.schema_arrow.names)
        stored = (parquet.schema_arrow.metadata or {}).get(RULES_METADATA)
    if rules is None and stored:
        rules = RuleSet.from_list(json.loads(stored), where=units[0].folder.uri)
    if rules is None:
        raise ConfigError(
            f"{units[0].folder.uri} was not made by `encore-ray score`, so it does not carry its rules: name their "
            "rules.yaml with --rules."
        )
    missing = [column for name in rules.names for column in (chosen_column(name), rejected_column(name))]
    missing = [column for column in missing if column not in names]
    if missing:
        rated = sorted(name.removeprefix("chosen__") for name in names if name.startswith("chosen__"))
        raise DataError(
            f"{units[0].folder.uri} lacks the columns {', '.join(missing[:6])}"
            f"{' …' if len(missing) > 6 else ''}; it has scores of: {', '.join(rated) or 'no rule'}. "
            "Use the rules.yaml that belongs to these scores."
        )
    return rules


@dataclass(frozen=True)
class ScoreBlock:
    """One unit's scores as arrays.

    Attributes:
        chosen_KN, rejected_KN: float64 columns, NaN where null.
        has_rejected_N: bool, False for single responses (every rejected score null).
        keys: resampling key of each row: prompt_id, else group_id, else pair_id.
        subsets: subset of each row, or None when the table has no such column.
    """

    table: pa.Table
    chosen_KN: list[np.ndarray]
    rejected_KN: list[np.ndarray]
    has_rejected_N: np.ndarray
    pair_ids: list[str]
    keys: list[str]
    subsets: list[str | None] | None


def read_scores(unit: TableUnit, rules: RuleSet, *, extra: Sequence[str] = ()) -> ScoreBlock:
    """Read a unit's scores, ids and further columns; DataError when ids are missing."""
    chosen, rejected = [chosen_column(n) for n in rules.names], [rejected_column(n) for n in rules.names]
    table = unit.read(list(dict.fromkeys([PAIR_ID, PROMPT_ID, GROUP_ID, *extra, *chosen, *rejected])))
    missing = [name for name in (PAIR_ID, *chosen, *rejected) if name not in table.column_names]
    if missing:
        raise DataError(f"{unit.folder.path(unit.file)} lacks the column {', '.join(missing)}.")
    if table.column(PAIR_ID).null_count:
        raise DataError(f"{unit.folder.path(unit.file)}: {table.column(PAIR_ID).null_count} rows have no {PAIR_ID}.")
    pair_ids = [str(value) for value in table.column(PAIR_ID).to_pylist()]
    has_rejected_N = np.zeros(table.num_rows, dtype=bool)
    for name in rejected:
        has_rejected_N |= table.column(name).is_valid().to_numpy(zero_copy_only=False)
    return ScoreBlock(
        table=table,
        chosen_KN=[_floats(unit, table, name) for name in chosen],
        rejected_KN=[_floats(unit, table, name) for name in rejected],
        has_rejected_N=has_rejected_N,
        pair_ids=pair_ids,
        keys=resampling_keys(table, pair_ids),
        subsets=_subsets(unit, table),
    )


def _subsets(unit: TableUnit, table: pa.Table) -> list[str | None] | None:
    if SUBSET not in table.column_names:
        return None
    column = table.column(SUBSET)
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type) or pa.types.is_null(column.type)):
        raise DataError(f"{unit.folder.path(unit.file)}: column {SUBSET} must hold texts, found {column.type}.")
    return column.to_pylist()


def resampling_keys(table: pa.Table, pair_ids: Sequence[str]) -> list[str]:
    """The independent unit each row belongs to: its prompt_id, else its group_id, else its pair_id."""
    keys: list[Any] = list(pair_ids)
    for column in (GROUP_ID, PROMPT_ID):
        if column in table.column_names:
            found = table.column(column).to_pylist()
            keys = [key if value is None else str(value) for key, value in zip(keys, found, strict=True)]
    return keys


def _floats(unit: TableUnit, table: pa.Table, name: str) -> np.ndarray:
    column = table.column(name)
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type) or pa.types.is_null(column.type)):
        raise DataError(f"{unit.folder.path(unit.file)}: column {name} must hold numbers, found {column.type}.")
    try:
        return column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid as error:
        raise DataError(f"{unit.folder.path(unit.file)}: column {name} cannot be read as float64: {error}") from None


def _foreign_units(folder: Folder, file: str, number: int) -> Iterator[TableUnit]:
    with _open(folder, file) as parquet:
        stamp = fingerprint([file, parquet.metadata.num_rows, parquet.metadata.serialized_size, _stamp(folder, file)])
        sizes = [parquet.metadata.row_group(index).num_rows for index in range(parquet.metadata.num_row_groups)]
    group: list[int] = []
    rows = 0
    for index, size in enumerate(sizes):
        group.append(index)
        rows += size
        if rows >= FOREIGN_UNIT_ROWS or (rows and index == len(sizes) - 1):
            name = f"{number:05d}-{group[0]:05d}"
            yield TableUnit(name, folder, file, rows, f"{stamp}-{group[0]}-{len(group)}", tuple(group))
            group, rows = [], 0


def _stamp(folder: Folder, file: str) -> str:
    info = folder.info(file)
    return str(info.get("ETag") or info.get("mtime") or info.get("size"))


@contextlib.contextmanager
def _open(folder: Folder, file: str, *, digest: str | None = None) -> Iterator[pq.ParquetFile]:
    """A Parquet file of a folder, opened for reading; DataError names one that is missing, broken or not `digest`."""
    try:
        if digest is not None:
            data = folder.read_bytes(file)
            if hashlib.sha256(data).hexdigest() != digest:
                raise DataError(
                    f"{folder.path(file)} is not what its commit says: it was changed or damaged after it was written. "
                    "Delete it, and the same command makes it again."
                )
            yield pq.ParquetFile(pa.BufferReader(data))
            return
        with folder.open(file) as handle:
            yield pq.ParquetFile(handle)
    except FileNotFoundError:
        raise DataError(f"{folder.path(file)} is not there.") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"Cannot read {folder.path(file)} as Parquet: {error}") from None
