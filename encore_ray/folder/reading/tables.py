"""Tables that a pass reads: our own pass folders, or Parquet files made elsewhere, as a list of units."""

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from encore_ray.errors import ConfigError, DataError
from encore_ray.folder.protocol.seal import read_manifest
from encore_ray.folder.reading.foreign import content_digests, footer_digest, foreign_files, parts
from encore_ray.folder.reading.parquet import OpenedTable, OpenTable, open_parquet
from encore_ray.rules import RuleSet
from encore_ray.schema import (
    COMMITS_DIR,
    MANIFEST_FILE,
    PLAN_FILE,
    RULES_FILE,
    chosen_column,
    rejected_column,
)
from encore_ray.storage import Folder, from_json
from encore_ray.visible import short

RULES_METADATA = b"encore_ray.rules"
TURNED_FILE = "turned.json"  # beside what was made of a table in another form: what it is of


@dataclass(frozen=True)
class TableUnit:
    """A part of a table that one task reads: a whole file, or some row groups of a foreign one.

    Attributes:
        digest: of its content; "" of a foreign one, until `by_content` has read it.
        row_groups, footer: of a foreign one, what is read, and the digest of the footer that its file must have.
        table: where the table is that it is of; "" for its folder.
        beside: folder of the files that it was made of, where it was turned into the form of ours; else "".
    """

    unit: str
    folder: Folder
    file: str
    rows: int
    digest: str
    row_groups: tuple[int, ...] | None = None
    footer: str = ""
    table: str = ""
    beside: str = ""

    @property
    def is_foreign(self) -> bool:
        """Whether it was made elsewhere, where nobody has looked at its ids."""
        return self.row_groups is not None

    @property
    def where(self) -> str:
        """What messages call it."""
        return self.table if self.beside else self.folder.path(self.file)

    @property
    def table_name(self) -> str:
        """What messages call the table that it is of."""
        return self.table or self.folder.uri

    @contextlib.contextmanager
    def open(self) -> Iterator[OpenedTable]:
        """The unit for reading; a file of our own (whole files are) must be what its commit says."""
        digest = self.digest if self.row_groups is None else None
        with open_parquet(self.folder, self.file, digest=digest) as parquet:
            if self.footer and footer_digest(parquet) != self.footer:
                raise DataError(f"{self.where} was replaced while the command read it. Give the command again.")
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
        ConfigError: nothing is there. DataError: the pass has not finished, what it sealed is not what is there, or a
            file is not Parquet.
    """
    folder = Folder(uri)
    if is_pass_folder(folder):
        return [TableUnit(f.unit, folder, f.file, f.rows, f.digest) for f in read_manifest(folder)]
    if folder.exists(TURNED_FILE):
        return list(_turned_units(folder))
    return [
        TableUnit(
            f"{number:05d}-{part.row_groups[0]:05d}", parent, name, part.rows, "", part.row_groups, part.footer, uri
        )
        for number, (parent, name) in enumerate(foreign_files(uri))
        for part in parts(parent, name)
    ]


def is_pass_folder(folder: Folder) -> bool:
    """Whether a pass of ours made a table there, finished or not."""
    return any(folder.exists(name) for name in (PLAN_FILE, MANIFEST_FILE, COMMITS_DIR))


def _turned_units(folder: Folder) -> Iterator[TableUnit]:
    """The units of what was made of a table in another form."""
    made = folder.read_json(TURNED_FILE)
    for part in made["parts"]:
        yield TableUnit(**part, folder=folder, row_groups=(0,), table=made["table"], beside=made["beside"])


def by_content(units: Sequence[TableUnit]) -> list[TableUnit]:
    """The same units; those of tables made elsewhere get a digest of what their files hold, which takes a read."""
    files = list(dict.fromkeys((unit.folder, unit.file) for unit in units if not unit.digest))
    digests = dict(zip(files, content_digests(files), strict=True))

    def known(unit: TableUnit) -> TableUnit:
        if unit.digest or unit.row_groups is None:
            return unit
        content = digests[unit.folder, unit.file]
        return replace(unit, digest=f"{content}-{unit.row_groups[0]}-{len(unit.row_groups)}")

    return [known(unit) for unit in units]


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
    """The rules.yaml in the folder of a table's files; of a table that is a folder, also in the one that holds it."""
    folder = Folder(unit.beside) if unit.beside else unit.folder
    parent = folder.uri.rstrip("/").rpartition("/")[0]
    has_parent = bool(parent) if folder.is_local else parent.count("/") > 1
    is_folder = unit.table_name.rstrip("/") == folder.uri.rstrip("/")
    return run_rules(folder) or (run_rules(Folder(parent)) if has_parent and is_folder else None)


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
        lacks = f"{units[0].table_name} lacks the columns {', '.join(missing[:6])}{' …' if len(missing) > 6 else ''}"
        if not rated:
            found = ", ".join(short(name) for name in column_names(units[0])[:6])
            raise DataError(
                f"{lacks}: it has no scores under such names, but {found}{' …' if len(names) > 6 else ''}. Each rule "
                "needs two columns of numbers, chosen__RULE and rejected__RULE; --chosen and --rejected name others."
            )
        raise DataError(
            f"{lacks}; it has scores of: {', '.join(rated)}. Name the rules.yaml that belongs to these scores with "
            "--rules; without it, one beside the scores is taken."
        )
    return rules
