"""A table of scores by its path: ours and what has its form are read where they lie, others are turned once.

What is made of another one lies in a folder of its own for as long as the command lasts. It is known by the bytes of
the files that it was made of, so that what is computed of it stands and resumes as with a table of ours.
"""

import contextlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from encore_ray.corpora.files.sources import current_stamp
from encore_ray.errors import ConfigError, DataError, EncoreError
from encore_ray.folder.reading.columns import holds_numbers
from encore_ray.folder.reading.foreign import content_digests, parquet_files
from encore_ray.folder.reading.parquet import OpenTable, open_parquet
from encore_ray.folder.reading.tables import TURNED_FILE, by_content, is_pass_folder, table_units
from encore_ray.foreign.files import TableFile, table_files
from encore_ray.foreign.form.forms import OWN, has_good_names
from encore_ray.foreign.form.naming import Naming
from encore_ray.foreign.scratch import scratch_table
from encore_ray.foreign.turn.account import Account
from encore_ray.foreign.turn.turning import VERSION, Turning
from encore_ray.schema import PAIR_ID, SIDE_SEPARATOR
from encore_ray.shell import option
from encore_ray.storage import Folder, fingerprint


@dataclass(frozen=True)
class ScoreTable:
    """A table in the form of ours.

    Attributes:
        uri: where it is read; of a turned one for as long as its context lasts.
        account: what became of a table that was turned; None of one that was not.
    """

    uri: str
    account: Account | None = None


@contextlib.contextmanager
def score_table(uri: str, naming: Naming, *, rules: Sequence[str] | None, scratch: Folder) -> Iterator[ScoreTable]:
    """Open a table of scores.

    Args:
        uri: absolute path or URL of a file or folder.
        naming: what a person says of its columns.
        rules: names, where they are known, in the order in which lists have them.
        scratch: folder that every worker sees, for what is made of it.

    Raises:
        ConfigError: columns that are named are not there, several forms fit, or a table of ours needs no names.
        DataError: no form fits, or what stands in it is no number.
    """
    if is_ours(uri, naming, rules):
        yield ScoreTable(uri)
        return
    with turned_table(uri, naming, rules=rules, scratch=scratch) as table:
        yield table


@contextlib.contextmanager
def turned_table(
    uri: str,
    naming: Naming,
    *,
    rules: Sequence[str] | None,
    scratch: Folder,
    finish: Callable[[pa.Table], pa.Table] = lambda part: part,
) -> Iterator[ScoreTable]:
    """A table in another form, see `score_table`.

    Args:
        finish: is called with each part of what is made of it.
    """
    with scratch_table(scratch) as folder:
        with said_of(uri):
            account = _turn(uri, naming, rules, folder, finish)
        yield ScoreTable(folder.uri, account)


def is_ours(uri: str, naming: Naming, rules: Sequence[str] | None) -> bool:
    """Whether a table is read as it is: one of a pass, Parquet in the form of ours, or none at all.

    Parquet is so where its columns are called as ours, those of scores hold numbers, and no row of it is known to lack
    one: a null is, by what the files say of themselves.
    """
    folder = Folder(uri)
    if is_pass_folder(folder):
        if naming.says_something:
            raise ConfigError(
                f"{uri} is a table of encore-ray: its columns have no other names. Leave out "
                f"{option('chosen')}, {option('rejected')} and {option('map')}."
            )
        return True
    if naming.says_something:
        return False
    files = parquet_files(uri)
    if not files:
        return not folder.exists()
    with open_parquet(*files[0]) as parquet:
        schema = parquet.schema_arrow
    names = [name for name in schema.names if name.startswith(OWN)]
    if rules is not None:
        names = [name for name in names if name.partition(SIDE_SEPARATOR)[2] in rules]
    if not (names and has_good_names(names) and PAIR_ID in schema.names):
        return False
    are_numbers = all(holds_numbers(pa.chunked_array([], field.type)) for field in schema if field.name in names)
    return are_numbers and _is_whole(files, names)


def _is_whole(files: Sequence[tuple[Folder, str]], names: Sequence[str]) -> bool:
    """Whether no column of chosen scores has a null and all of rejected ones have as many, as files say themselves."""
    nulls: Counter[str] = Counter()
    for folder, file in files:
        with open_parquet(folder, file) as parquet:
            opened = OpenTable(parquet)
            if not {*names} <= {*opened.names}:
                return True  # it is refused where it is read
            nulls.update(opened.all_nulls(names))
    chosen = [name for name in names if name.startswith(OWN[0])]
    return not any(nulls[name] for name in chosen) and len({nulls[name] for name in names if name not in chosen}) <= 1


@contextlib.contextmanager
def said_of(table: str) -> Iterator[None]:
    """Errors say of which table they are."""
    try:
        yield
    except EncoreError as error:
        if str(error).startswith(table) or ("/" in table and table in str(error)):
            raise
        raise type(error)(f"{table}: {error}") from None


def _turn(
    uri: str,
    naming: Naming,
    rules: Sequence[str] | None,
    folder: Folder,
    finish: Callable[[pa.Table], pa.Table],
) -> Account:
    """Write a table into a folder, in the form of ours, and beside it what it was made of."""
    files = table_files(uri)
    stamps = [current_stamp(file.source) for file in files]
    turning = _begin(files, naming, table=uri, rules=rules)
    digests = content_digests([place_of(file.uri) for file in files])
    digest = fingerprint([VERSION, naming.facts, rules, digests])
    parts: list[dict[str, Any]] = []
    for number, table in enumerate(turning.parts(_all_parts(files, turning.names), folder)):
        written = folder.write_table(f"{number:05d}.parquet", finish(table))
        unit = {"unit": f"{number:05d}-00000", "file": written.file, "rows": written.rows}
        parts.append({**unit, "digest": f"{digest}-{number}"})
    for file, stamp in zip(files, stamps, strict=True):
        if current_stamp(file.source) != stamp:
            raise DataError(f"{file.uri} was replaced while the command read it. Give the command again.")
    folder.write_json(TURNED_FILE, {"table": uri, "beside": place_of(files[0].uri)[0].uri, "parts": parts})
    return turning.account


def table_content(uri: str) -> str:
    """What a table holds, in whichever form, in one digest: of its bytes where it is to be turned.

    Raises:
        ConfigError, DataError: as of `table_units` and `table_files`.
    """
    folder = Folder(uri)
    if is_pass_folder(folder) or parquet_files(uri) or not folder.exists():
        return fingerprint([[unit.unit, unit.digest] for unit in by_content(table_units(uri))])
    return fingerprint([VERSION, content_digests([place_of(file.uri) for file in table_files(uri)])])


def names_of(uri: str) -> list[str]:
    """The columns of a table in any form, as its first rows have them; none where it has no row."""
    with said_of(uri):
        head = next(itertools.chain.from_iterable(file.parts() for file in table_files(uri)), None)
        return [] if head is None else head.column_names


def _begin(files: Sequence[TableFile], naming: Naming, *, table: str, rules: Sequence[str] | None) -> Turning:
    head = next(itertools.chain.from_iterable(file.parts() for file in files), None)
    if head is None or not head.num_rows:
        raise DataError("it has no row.")
    return Turning.of(head, naming, table=table, rules=rules, texts=files[0].texts)


def _all_parts(files: Sequence[TableFile], names: Sequence[str]) -> Iterator[pa.Table]:
    """Parts of all files, each with the columns of the first."""
    for file in files:
        for table in file.parts():
            missing = [name for name in names if name not in table.column_names]
            if missing and file.source.kind not in ("jsonl", "json"):
                raise DataError(f"{file.uri} lacks the column {', '.join(missing[:6])}, which other files have.")
            for name in missing:
                table = table.append_column(name, pa.nulls(table.num_rows))
            yield table.select(list(names))


def place_of(uri: str) -> tuple[Folder, str]:
    """Folder and name of a file."""
    parent, _, name = uri.rpartition("/")
    return Folder(parent or "/"), name
