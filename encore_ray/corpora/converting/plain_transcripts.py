"""Rows of two transcripts that part at their last turn become pairs some hundred at a time, not one by one.

Such are nearly all rows of HH-RLHF. What `Reading` and `canonical_pair` would make of one, and of no other row, is made
here, to the last byte.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from encore_ray.arrays import to_texts
from encore_ray.corpora.converting.plain_rows import PlainPairs
from encore_ray.corpora.pairing.conversations import Conversations, content_ids, short_hashes, single_turns
from encore_ray.corpora.pairing.pairs import repeats, says_something
from encore_ray.corpora.reading import Beside, Reading
from encore_ray.corpora.rows import SourceRow
from encore_ray.corpora.tables import TableSpec
from encore_ray.corpora.turns.transcripts import ASSISTANT, USER, Turn, last_replies
from encore_ray.schema import CHOSEN, REJECTED


@dataclass(slots=True)
class Alike:
    """Turns that both sides have, and what either goes on with; the line and size of their row."""

    prompt: tuple[Turn, ...]
    chosen: str
    rejected: str
    line: int
    num_bytes: int


@dataclass(frozen=True)
class PlainTranscripts:
    """Which rows of a text file are such, and their pairs.

    Attributes:
        table: what the pairs look like.
        max_field_bytes: a row of more is not plain.
    """

    reading: Reading
    table: TableSpec
    max_field_bytes: int

    @property
    def may_be(self) -> bool:
        """Whether there can be any: where a file has the two transcripts, and nothing else that is read or kept."""
        reading = self.reading
        named = (reading.id_column, reading.prompt_id_column, reading.subset_column, reading.ratings)
        is_alone = reading.beside == Beside() and not any(named) and not self.table.rated_rules
        kept = {column.source for column in self.table.passthrough}
        return reading.layout.is_transcripts and is_alone and kept <= reading.used

    def of(self, row: SourceRow) -> Alike | None:
        """What a row comes to; None where it has to be looked at."""
        chosen, rejected = row.values.get(CHOSEN), row.values.get(REJECTED)
        if not isinstance(chosen, str) or not isinstance(rejected, str):
            return None
        if len(row.values) > 2 or len(row.raw) > self.max_field_bytes:
            return None
        found = last_replies(chosen, rejected)
        if found is None:
            return None
        prompt, better, worse = found
        roles = [role for role, _ in prompt]
        if roles != [USER, ASSISTANT] * (len(roles) // 2) + [USER]:
            return None
        if True in [not content or content.isspace() for _, content in prompt]:
            return None
        if not says_something(better) or not says_something(worse) or repeats(prompt[-1][1], (better, worse)):
            return None
        return Alike(prompt, better, worse, row.line, len(row.raw))

    def pairs(self, rows: Sequence[Alike]) -> PlainPairs:
        """Their pairs."""
        reading, size = self.reading, len(rows)
        prompts = Conversations([row.prompt for row in rows])
        chosen, rejected = [row.chosen for row in rows], [row.rejected for row in rows]
        sides = [single_turns(ASSISTANT, to_texts(texts)) for texts in (chosen, rejected)]
        asked = prompts.json
        key = f"{reading.digest}:{reading.ordinal}:%d:0".encode()
        columns = [
            short_hashes(key % row.line for row in rows),
            content_ids(asked, *(texts for _, texts in sides)),
            short_hashes(asked),
            pa.nulls(size, pa.string()),
            prompts.column,
            *(column for column, _ in sides),
            to_texts([reading.subset] * size),
        ]
        columns += [pa.nulls(size, field.type) for field in list(self.table.schema)[len(columns) :]]
        identical = sum([one == other for one, other in zip(chosen, rejected, strict=True)])
        return PlainPairs(pa.Table.from_arrays(columns, schema=self.table.schema), 0, identical)
