"""Columns that an exported dataset has beside those of its layout: ids, subsets, rewards, and what a corpus brought."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from encore_ray.errors import ConfigError
from encore_ray.passes.export.layouts import LAYOUTS, Row
from encore_ray.schema import CHOSEN, CHOSEN_VETOES, MARGIN, PROMPT, REJECTED, REJECTED_VETOES
from encore_ray.visible import short

ALL = "all"
_NEVER = (PROMPT, CHOSEN, REJECTED, MARGIN, CHOSEN_VETOES, REJECTED_VETOES)


@dataclass(frozen=True)
class Carried:
    """Columns to carry along.

    Attributes:
        fields: with their types.
    """

    fields: tuple[pa.Field, ...] = ()

    @property
    def names(self) -> list[str]:
        return [field.name for field in self.fields]

    def of(self, row: Row, *, turned: bool = False) -> Row:
        """The values of a row.

        Args:
            turned: whether its responses have changed places, and with them what is said of either.
        """
        return {name: row[self._other(name) if turned else name] for name in self.names}

    def _other(self, name: str) -> str:
        for one, other in ((CHOSEN, REJECTED), (REJECTED, CHOSEN)):
            if name.startswith(f"{one}_") and (twin := f"{other}{name.removeprefix(one)}") in self.names:
                return twin
        return name


def carried_columns(schema: pa.Schema, asked: Sequence[str] | None, *, layout: str, margin: str | None) -> Carried:
    """The columns of a table that a dataset carries.

    Args:
        schema: of the table.
        asked: names, or `ALL`; None: all where the layout is a plain table, and none for a trainer.
        margin: the column of margins.

    Raises:
        ConfigError: one is not there, or may not be carried.
    """
    own = {*LAYOUTS[layout].columns, margin}
    possible = [field for field in schema if field.name not in _NEVER and field.name not in own]
    names = [field.name for field in possible]
    unknown = [name for name in asked or () if name != ALL and name not in names and name not in own]
    if unknown:
        raise ConfigError(f"--carry {unknown[0]}: there is no such column; found {', '.join(map(short, names[:20]))}.")
    every = LAYOUTS[layout].is_plain if asked is None else ALL in asked
    return Carried(tuple(field for field in possible if every or field.name in (asked or ())))
