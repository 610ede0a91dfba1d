"""The second table of weigh, of ratings whose entropies count: read in every form that scores are read in."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from encore_ray.config import WeighOptions
from encore_ray.errors import EncoreError
from encore_ray.folder.reading.table_rules import own_rules_beside
from encore_ray.folder.reading.tables import TableUnit, table_units
from encore_ray.foreign.form.naming import Naming
from encore_ray.foreign.table import score_table, table_content
from encore_ray.rules import RuleSet
from encore_ray.shell import option, reading_beside
from encore_ray.storage import Folder, absolute


@dataclass(frozen=True)
class SecondTable:
    """Ratings in the form of ours.

    Attributes:
        units: of the table.
        sentences: how one in another form was read.
    """

    units: Sequence[TableUnit]
    sentences: Sequence[str]


@contextlib.contextmanager
def open_ratings(options: WeighOptions, rules: RuleSet, *, scratch: Folder) -> Iterator[SecondTable | None]:
    """The table of ratings that the options name; None where they name none.

    Args:
        rules: of the scores. scratch: folder that every worker sees, for what is made of the table.

    Raises:
        ConfigError, DataError: as of `score_table`, of which they say that it is the second table.
    """
    if not options.ratings:
        yield None
        return
    uri = absolute(options.ratings)
    with contextlib.ExitStack() as held:
        with _said_of_ratings(), reading_beside():
            own = own_rules_beside(uri)
            opened = score_table(uri, Naming(), rules=(own or rules).names, scratch=scratch)
            table = held.enter_context(opened)
            units = table_units(table.uri)
        said = table.account.sentences(is_second=True) if table.account else []
        yield SecondTable(units, [f"ratings: {sentence}" for sentence in said])


def ratings_facts(options: WeighOptions) -> dict[str, Any]:
    """What the second table holds, where there is one."""
    if not options.ratings:
        return {}
    with _said_of_ratings():
        return {"ratings": table_content(absolute(options.ratings))}


@contextlib.contextmanager
def _said_of_ratings() -> Iterator[None]:
    try:
        yield
    except EncoreError as error:
        raise type(error)(f"{option('ratings', section='weigh')}: {error}") from None
