"""A table made elsewhere, turned into the form of ours, part by part."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from encore_ray.foreign.form.forms import Long, Wide
from encore_ray.foreign.form.naming import Naming
from encore_ray.foreign.form.recognising import find_form
from encore_ray.foreign.turn.account import Account
from encore_ray.foreign.turn.gaps import Gaps
from encore_ray.foreign.turn.long import Scores, pairs, partitions
from encore_ray.foreign.turn.wide import turn
from encore_ray.foreign.values import Texts
from encore_ray.schema import PAIR_ID
from encore_ray.storage import Folder

VERSION = 1  # of what is made of a table: raise it where another table is made of the same one
PART_PAIRS = 65_536


@dataclass
class Turning:
    """One table on its way.

    Attributes:
        table: what messages call it.
        form: as its first rows have it.
        rules: names that are known, None where they are not.
        texts: of a table of texts.
        names, further: its columns, and those that are no ids and hold no scores.
        num_pairs, num_without: rows so far, and rows that were left out without a score.
        gaps: rows that lack some of their scores.
        has_N: bool, which rows of the last part have a score, where a row is a pair.
    """

    table: str
    form: Wide | Long
    rules: Sequence[str] | None
    texts: Texts | None
    names: list[str]
    further: list[str]
    num_pairs: int = 0
    num_without: int = 0
    has_N: np.ndarray | None = None
    gaps: Gaps = field(default_factory=lambda: Gaps({}))
    _labels: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls, head: pa.Table, naming: Naming, *, table: str, rules: Sequence[str] | None, texts: Texts | None
    ) -> "Turning":
        """See `find_form`."""
        form = find_form(head, naming, texts=texts, rules=rules)
        used = {*form.ids.values(), *form.used}
        further = [name for name in head.column_names if name not in used]
        return cls(table, form, rules, texts, head.column_names, further)

    def parts(self, rows: Iterable[pa.Table], scratch: Folder) -> Iterator[pa.Table]:
        """Parts in the form of ours; what there is to tell of them is known behind the last one.

        Args:
            rows: parts of the table.
            scratch: folder for what does not fit in memory.

        Raises:
            DataError: as of `turn` and of `Scores`; behind the last part, where rows lack some of their scores.
        """
        made = self._wide(rows, self.form) if isinstance(self.form, Wide) else self._long(rows, self.form, scratch)
        for part in made:
            self.num_pairs += part.num_rows
            if part.num_rows:
                yield part
        self.gaps.refuse()

    def _wide(self, rows: Iterable[pa.Table], form: Wide) -> Iterator[pa.Table]:
        self._labels = dict(form.labels)
        self.gaps = Gaps.of(self._counted(form.scores), form.columns, has_ids=PAIR_ID in form.ids)
        first_row = 0
        for table in rows:
            turned = turn(table, form, texts=self.texts, first_row=first_row)
            self.num_without += int(np.count_nonzero(~turned.has_N))
            self.has_N = turned.has_N
            self.gaps.look(turned.table, first_row + 1 + np.flatnonzero(turned.has_N))
            first_row += table.num_rows
            yield turned.table

    def _long(self, rows: Iterable[pa.Table], form: Long, scratch: Folder) -> Iterator[pa.Table]:
        scores = Scores(form, self.rules or ())

        def compact() -> Iterator[pa.Table]:
            first_row = 0
            for table in rows:
                yield scores.read(table, texts=self.texts, first_row=first_row)
                first_row += table.num_rows

        for partition in partitions(compact(), scratch):
            table = pairs(partition, scores)
            self.gaps.columns = Gaps.of(self._counted([*scores.names.values()])).columns
            if table.num_rows:
                self.gaps.look(table)
            for start in range(0, table.num_rows, PART_PAIRS):
                yield table.slice(start, PART_PAIRS)
        self.num_without = scores.num_without
        self._labels = {name: label for label, name in scores.names.items()}

    def _counted(self, rules: Iterable[str]) -> list[str]:
        """The rules that count: those that are known, where all of them are there."""
        found = [*rules]
        return [*self.rules] if self.rules and set(self.rules) <= {*found} else found

    @property
    def account(self) -> Account:
        """What became of the table."""
        return Account(self.table, self.form, self._labels, self.num_pairs, self.num_without, self.further, self.texts)
