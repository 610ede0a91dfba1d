"""What a person says of the columns of a table made elsewhere."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from encore_ray.errors import ConfigError
from encore_ray.schema import GROUP_ID, PAIR_ID, PROMPT_ID, SUBSET
from encore_ray.shell import option, options

RULE, SIDE, SCORE = "rule", "side", "score"
IDS = (PAIR_ID, PROMPT_ID, GROUP_ID, SUBSET)
KNOWN = (*IDS, RULE, SIDE, SCORE)
_PLACE = "{rule}"


@dataclass(frozen=True)
class Naming:
    """Names of columns; those that nobody names are looked for.

    Attributes:
        chosen, rejected: where the scores of a side stand: the columns of all rules, as 'score_{rule}_a'; one column of
            lists or of structs; or one of plain numbers, which is one rule. Of a table with a row a score, what the
            column `side` says of that side.
        columns: what stands in which column: names of `KNOWN` to columns of the table.
    """

    chosen: str | None = None
    rejected: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = [name for name in self.columns if name not in KNOWN]
        if unknown:
            raise ConfigError(f"{option('map', {unknown[0]: '..'})}: known names are {', '.join(KNOWN)}.")
        if self.rejected and not self.chosen:
            raise ConfigError(
                f"{option('rejected')} needs {option('chosen')}: together they say where the scores of a pair stand."
            )
        if self.chosen and self.rejected and (_PLACE in self.chosen) != (_PLACE in self.rejected):
            raise ConfigError(
                f"{options(chosen=self.chosen, rejected=self.rejected)}: both have {_PLACE} in them, or neither."
            )

    @property
    def is_pattern(self) -> bool:
        """Whether sides are named by the columns of all rules."""
        return self.chosen is not None and _PLACE in self.chosen

    @property
    def says_something(self) -> bool:
        return bool(self.chosen or self.columns)

    @property
    def facts(self) -> dict[str, Any]:
        return {"chosen": self.chosen, "rejected": self.rejected, "columns": dict(self.columns)}


def rules_by_pattern(pattern: str, names: Sequence[str]) -> dict[str, str]:
    """Columns that a pattern with {rule} fits, by what stands in its place."""
    before, after = pattern.split(_PLACE, 1)
    fits = re.compile(f"{re.escape(before)}(.+){re.escape(after)}", re.DOTALL)
    return {found[1]: name for name in names if (found := fits.fullmatch(name))}
