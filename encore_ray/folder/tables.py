"""Tables that a pass reads: our own pass folders, or Parquet files made elsewhere, as a list of units."""

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from encore_ray.errors import ConfigError, DataError
from encore_ray.folder.parquet import OpenedTable, OpenTable, open_parquet
from encore_ray.folder.seal import read_manifest
from encore_ray.rules import RuleSet
from encore_ray.schema import (
    COMMITS_DIR,
    MANIFEST_FILE,
    PLAN_FILE,
    RULES_FILE,
    chosen_column,
    rejected_column,
)
from encore_ray.storage import Folder, fingerprint, from_json

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

    @property
    def where(self) -> str:
        """What messages call it."""
        return self.folder.path(self.file)

    @property
    def table_name(self) -> str:
        """What messages call the table that it is of."""
        return self.folder.uri

    @contextlib.contextmanager
    def open(self) -> Iterator[OpenedTable]:
        """The unit for reading; a file of our own (whole files are) must be what its commit says."""
        digest = self.digest if self.row_groups is None else None
        with open_parquet(self.folder, self.file, digest=digest) as parquet:
            yield OpenTable(parquet, self.row_groups)

    def read(self, columns: Sequence[str]) -> pa.Table:
        """The named columns in that order, those that the file lacks left out."""
        with self.open() as opened:
            return opened.read(columns)

    @property
    def schema(self) -> pa.Schema:
        """Columns and metadata of the file."""
        with open_parquet(self.folder, self.file) as parquet:
            return parquet.schema_arrow

    def rules_beside(self) -> RuleSet | None:
        """The rules.yaml beside its table; None where there is none."""
        return _rules_beside(self)

    def read_all(self) -> pa.Table:
        with self.open() as opened:
            return opened.read()


def table_units(uri: str) -> list[TableUnit]:
    """The units of a table: a finished pass folder, any folder of Parquet files, or one file.

    Raises:
        ConfigError: nothing is there. DataError: the pass has not finished, or a file is not Parquet.
    """
    folder = Folder(uri)
    if any(folder.exists(name) for name in (PLAN_FILE, MANIFEST_FILE, COMMITS_DIR)):
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


def count_numbers(uri: str) -> int:
    """Rows times columns of a table."""
    units = table_units(uri)
    return sum(unit.rows for unit in units) * len(column_names(units[0])) if units else 0


def column_names(unit: TableUnit) -> list[str]:
    """Top-level columns of a unit's file."""
    return list(unit.schema.names)


def rules_metadata(rules: RuleSet) -> dict[bytes, bytes]:
    """Rules for a file's metadata, where `stored_rules` finds them."""
    return {RULES_METADATA: json.dumps(rules.to_list()).encode()}


def stored_rules(unit: TableUnit) -> RuleSet | None:
    """The rules that a table of ours carries; None where it has none."""
    stored = (unit.schema.metadata or {}).get(RULES_METADATA)
    if not stored:
        return None
    try:
        rules = from_json(stored)
    except ValueError as error:
        raise DataError(
            f"{unit.where} carries rules that cannot be read: {error}. Name its rules.yaml with --rules."
        ) from None
    return RuleSet.from_list(rules, where=unit.table_name)


def run_rules(run: Folder) -> RuleSet | None:
    """The rules of a run as they are now: they may have been corrected after scoring. None where it has none."""
    if not run.exists(RULES_FILE):
        return None
    return RuleSet.from_yaml(run.read_file(RULES_FILE), where=run.path(RULES_FILE))


def carried_rules(unit: TableUnit) -> RuleSet | None:
    """The rules that stand with a table: those that our score pass stored in it, or a rules.yaml beside it."""
    return stored_rules(unit) or unit.rules_beside()


def _rules_beside(unit: TableUnit) -> RuleSet | None:
    """The rules.yaml in the folder of a table's files, or in the one that holds it; None where there is none."""
    parent = unit.folder.uri.rstrip("/").rpartition("/")[0]
    has_parent = bool(parent) if unit.folder.is_local else parent.count("/") > 1
    return run_rules(unit.folder) or (run_rules(Folder(parent)) if has_parent else None)


def table_rules(units: Sequence[TableUnit], rules: RuleSet | None, *, weighed: RuleSet | None = None) -> RuleSet:
    """The rules of a scores table: those given, those that our score pass stored in it, or a rules.yaml beside it.

    Args:
        weighed: rules of weights, which will do where the table has none of its own.

    Raises:
        ConfigError: there are none. DataError: the table lacks a column of a rule.
    """
    if not units:
        raise DataError("The scores table is empty: it has no file and no row.")
    names = set(column_names(units[0]))
    rules = rules or carried_rules(units[0]) or weighed
    if rules is None:
        raise ConfigError(
            f"{units[0].table_name} was not made by `encore-ray score`, so it does not carry its rules: name their "
            "rules.yaml with --rules, or put it beside the scores."
        )
    missing = [column for name in rules.names for column in (chosen_column(name), rejected_column(name))]
    missing = [column for column in missing if column not in names]
    if missing:
        rated = sorted(name.removeprefix("chosen__") for name in names if name.startswith("chosen__"))
        raise DataError(
            f"{units[0].table_name} lacks the columns {', '.join(missing[:6])}"
            f"{' …' if len(missing) > 6 else ''}; it has scores of: {', '.join(rated) or 'no rule'}. "
            "Use the rules.yaml that belongs to these scores."
        )
    return rules


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
