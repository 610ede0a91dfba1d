"""Corpora that a command line names: which column of them holds what."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Annotated

import tyro

from encore_ray.cli.flags import flag, named_columns
from encore_ray.config import InputOptions
from encore_ray.storage import absolute


@dataclass(frozen=True, kw_only=True)
class InputColumns:
    """Which columns of the inputs hold what, where no layout tells it."""

    map: Annotated[list[str], flag("NAME=COLUMN")] = field(default_factory=list)
    """What the columns of all inputs hold, as prompt=question chosen=answer_a rejected=answer_b winner=label."""
    chosen_if: Annotated[str | None, flag("VALUE")] = None
    """Value of the winner under which the response in the column of chosen is the chosen one."""

    def inputs(self, paths: Iterable[str]) -> list[InputOptions]:
        """These paths as inputs, with what is said of their columns; ConfigError where that is no NAME=COLUMN."""
        columns = named_columns(self.map, example="prompt=question") or None
        return [InputOptions(path=absolute(path), columns=columns, chosen_if=self.chosen_if) for path in paths]


InputColumnFlags = Annotated[InputColumns, tyro.conf.arg(name="")]
