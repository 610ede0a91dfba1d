"""Tables that a pass reads: our own pass folders, or Parquet files made elsewhere, as a list of units."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from encore_ray.errors import DataError
from encore_ray.folder.protocol.seal import read_manifest
from encore_ray.folder.reading.foreign import content_digests, footer_digest, foreign_files, parts
from encore_ray.folder.reading.parquet import OpenedTable, OpenTable, open_parquet
from encore_ray.schema import COMMITS_DIR, MANIFEST_FILE, PLAN_FILE
from encore_ray.storage import Folder, is_remote

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

    @property
    def folders_beside(self) -> list[Folder]:
        """Where a rules.yaml of its table may lie, see `folders_beside`."""
        return folders_beside(self.table_name)

    def read_all(self) -> pa.Table:
        with self.open() as opened:
            return opened.read()


def folders_beside(uri: str) -> list[Folder]:
    """Where a rules.yaml of a table may lie, nearest first: beside a file; in a folder, and beside it."""
    place = uri.rstrip("/")
    parent, _, name = place.rpartition("/")
    has_parent = parent.count("/") > 1 if is_remote(uri) else bool(parent)
    around = [Folder(parent)] if has_parent else []
    if not around or not Folder(parent).exists(name):
        return around
    return around if around[0].info(name)["type"] == "file" else [Folder(place), *around]


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
