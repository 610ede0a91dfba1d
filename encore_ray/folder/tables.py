"""Tables that a pass reads: our own pass folders, or Parquet files made elsewhere, as a list of units."""

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeVar, overload

import numpy as np
import pyarrow as pa

from encore_ray.composition.hashing.texts import Texts
from encore_ray.composition.measure.statistics import Subsets
from encore_ray.errors import ConfigError, DataError
from encore_ray.folder.columns import any_valid, first_texts, floats, subsets
from encore_ray.folder.parquet import OpenTable, open_parquet
from encore_ray.folder.pass_table import read_manifest
from encore_ray.rules import RuleSet
from encore_ray.schema import (
    GROUP_ID,
    MANIFEST_FILE,
    PAIR_ID,
    PLAN_FILE,
    PROMPT_ID,
    RULES_FILE,
    SUBSET,
    chosen_column,
    rejected_column,
)
from encore_ray.storage import Folder, fingerprint

FOREIGN_UNIT_ROWS = 65_536
RULES_METADATA = b"encore_ray.rules"

Item = TypeVar("Item")


@dataclass(frozen=True)
class TableUnit:
    """A part of a table that one task reads: a whole file, or some row groups of a foreign one."""

    unit: str
    folder: Folder
    file: str
    rows: int
    digest: str
    row_groups: tuple[int, ...] | None = None

    @contextlib.contextmanager
    def open(self) -> Iterator[OpenTable]:
        """The unit for reading; a file of our own (whole files are) must be what its commit says."""
        digest = self.digest if self.row_groups is None else None
        with open_parquet(self.folder, self.file, digest=digest) as parquet:
            yield OpenTable(parquet, self.row_groups)

    def read(self, columns: Sequence[str]) -> pa.Table:
        """The named columns in that order, those that the file lacks left out."""
        with self.open() as opened:
            return opened.read(columns)

    def read_all(self) -> pa.Table:
        with self.open() as opened:
            return opened.read()


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
    with open_parquet(unit.folder, unit.file) as parquet:
        return list(parquet.schema_arrow.names)


def rules_metadata(rules: RuleSet) -> dict[bytes, bytes]:
    """Rules for a file's metadata, where `stored_rules` finds them."""
    return {RULES_METADATA: json.dumps(rules.to_list()).encode()}


def stored_rules(unit: TableUnit) -> RuleSet | None:
    """The rules that a table of ours carries; None where it has none."""
    with open_parquet(unit.folder, unit.file) as parquet:
        stored = (parquet.schema_arrow.metadata or {}).get(RULES_METADATA)
    return RuleSet.from_list(json.loads(stored), where=unit.folder.uri) if stored else None


def run_rules(run: Folder) -> RuleSet | None:
    """The rules of a run as they are now: they may have been corrected after scoring. None where it has none."""
    if not run.exists(RULES_FILE):
        return None
    return RuleSet.from_yaml(run.read_bytes(RULES_FILE).decode(), where=run.path(RULES_FILE))


def table_rules(units: Sequence[TableUnit], rules: RuleSet | None) -> RuleSet:
    """The rules of a scores table: those given, else those that our score pass stored in the file.

    Raises:
        ConfigError: neither is there. DataError: the table lacks a column of a rule.
    """
    if not units:
        raise DataError("The scores table is empty: it has no file and no row.")
    names = set(column_names(units[0]))
    rules = rules or stored_rules(units[0])
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
        table: the columns that were read, as they were read.
        chosen_KN, rejected_KN: columns in float32 where they are stored so, else in float64; NaN where null.
        has_rejected_N: bool, False for single responses (every rejected score null).
        keys: resampling key of each row: prompt_id, else group_id, else pair_id.
        subsets: subset of each row, or None when the table has no such column.
    """

    table: pa.Table
    chosen_KN: Sequence[np.ndarray]
    rejected_KN: Sequence[np.ndarray]
    has_rejected_N: np.ndarray
    pair_ids: Sequence[str]
    keys: Texts
    subsets: Subsets | None


def read_scores(unit: TableUnit, rules: RuleSet, *, extra: Sequence[str] | None = ()) -> ScoreBlock:
    """Read a unit's scores, ids and further columns (None: all); DataError when ids are missing."""
    chosen, rejected = [chosen_column(n) for n in rules.names], [rejected_column(n) for n in rules.names]
    with unit.open() as opened:
        _check_columns(unit, opened, [*chosen, *rejected])
        columns = [PAIR_ID, PROMPT_ID, GROUP_ID, *(extra or ()), *chosen, *rejected]
        table = opened.read(None if extra is None else list(dict.fromkeys(columns)))
    return ScoreBlock(
        table=table,
        chosen_KN=[numbers(unit, table, name) for name in chosen],
        rejected_KN=[numbers(unit, table, name) for name in rejected],
        has_rejected_N=any_valid(table.column(name) for name in rejected),
        pair_ids=first_texts([table.column(PAIR_ID)]),
        keys=resampling_keys(table),
        subsets=_subsets(unit, table),
    )


@contextlib.contextmanager
def stream_scores(unit: TableUnit, rules: RuleSet, *, extra: Sequence[str] = ()) -> Iterator[ScoreBlock]:
    """As `read_scores`, yet scores are read column by column, when they are asked for, inside the block.

    So they are still in the processor's cache when they are used. The pair_ids are only read for a message, or for
    keys. The block's table has no scores.
    """
    chosen, rejected = [chosen_column(n) for n in rules.names], [rejected_column(n) for n in rules.names]
    with unit.open() as opened:
        _check_columns(unit, opened, [*chosen, *rejected])
        table = opened.read([PROMPT_ID, GROUP_ID, *extra])
        if PROMPT_ID not in table.column_names or table.column(PROMPT_ID).null_count:
            table = opened.read([PAIR_ID, PROMPT_ID, GROUP_ID, *extra])
        pair_ids = cache(lambda: first_texts([opened.read([PAIR_ID]).column(0)]))
        yield ScoreBlock(
            table=table,
            chosen_KN=_Late(len(rules), lambda k: numbers(unit, opened.read([chosen[k]]), chosen[k])),
            rejected_KN=_Late(len(rules), lambda k: numbers(unit, opened.read([rejected[k]]), rejected[k])),
            has_rejected_N=any_valid(opened.read([name]).column(0) for name in rejected),
            pair_ids=_Late(unit.rows, lambda row: pair_ids()[row]),
            keys=resampling_keys(table),
            subsets=_subsets(unit, table),
        )


class _Late(Sequence[Item]):
    """Items that are read when they are asked for."""

    def __init__(self, size: int, read: Callable[[int], Item]):
        self._size, self._read = size, read

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        picked = range(self._size)[index]
        return self._read(picked) if isinstance(picked, int) else [self._read(number) for number in picked]


def _check_columns(unit: TableUnit, opened: OpenTable, columns: Sequence[str]) -> None:
    missing = [name for name in (PAIR_ID, *columns) if name not in opened.names]
    if missing:
        raise DataError(f"{unit.folder.path(unit.file)} lacks the column {', '.join(missing)}.")
    num_nameless = opened.num_nulls(PAIR_ID)
    if num_nameless:
        raise DataError(f"{unit.folder.path(unit.file)}: {num_nameless} rows have no {PAIR_ID}.")


def resampling_keys(table: pa.Table) -> Texts:
    """The independent unit each row belongs to: its prompt_id, else its group_id, else its pair_id."""
    return first_texts([table.column(name) for name in (PROMPT_ID, GROUP_ID, PAIR_ID) if name in table.column_names])


def _subsets(unit: TableUnit, table: pa.Table) -> Subsets | None:
    if SUBSET not in table.column_names:
        return None
    column = table.column(SUBSET)
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type) or pa.types.is_null(column.type)):
        raise DataError(f"{unit.folder.path(unit.file)}: column {SUBSET} must hold texts, found {column.type}.")
    return subsets(column)


def numbers(unit: TableUnit, table: pa.Table, name: str) -> np.ndarray:
    """A column of a unit's table as `floats`; DataError names a column that holds something else."""
    column = table.column(name)
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type) or pa.types.is_null(column.type)):
        raise DataError(f"{unit.folder.path(unit.file)}: column {name} must hold numbers, found {column.type}.")
    try:
        return floats(column)
    except pa.ArrowInvalid as error:
        raise DataError(f"{unit.folder.path(unit.file)}: column {name} cannot be read as float64: {error}") from None


def _foreign_units(folder: Folder, file: str, number: int) -> Iterator[TableUnit]:
    with open_parquet(folder, file) as parquet:
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
