"""How the rows of one file become candidates: its layout, and the columns beside it that belong to the conversation.

A `system` column is a system turn and a `history` earlier turns, where a layout does not read them itself; a second
column of either is refused. Pictures, tools, documents and a context are more than a pair can hold, and so are an
`instruction`, an `input` or first steps whose text no column has that is read: a row that has any goes to quarantine,
unless they are ignored.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from encore_ray.corpora.files.columns import HISTORY, ID_COLUMN, SYSTEM, ColumnMap, at_path
from encore_ray.corpora.layouts.layout import Layout
from encore_ray.corpora.layouts.parts import history_of, with_history
from encore_ray.corpora.pairing.own_verdict import MARGIN, STATUS
from encore_ray.corpora.pairing.pairs import Candidate
from encore_ray.corpora.pairing.ratings import RatingColumns
from encore_ray.corpora.rows import BadRow
from encore_ray.corpora.turns.messages import text_of
from encore_ray.corpora.turns.standard import is_empty, standard
from encore_ray.corpora.turns.stored import spelt_out, stored_list
from encore_ray.corpora.turns.transcripts import Turn
from encore_ray.corpora.values import STORED, Shape, json_text
from encore_ray.schema import PROMPT, SUBSET, Reason

SYSTEM_COLUMNS = ("system", "system_prompt", "system_message")
HISTORY_COLUMNS = ("history", "chat_history", "conversation_history", "dialogue_history", "previous_turns")
PICTURES = ("images", "image", "videos", "video", "audios", "audio")
NEEDED = ("tools", "context", "documents")
PARTS = ("instruction", "input", "prefix", "initial_reason_steps")  # nothing where a column that is read has it
BESIDE = (*SYSTEM_COLUMNS, *HISTORY_COLUMNS, *PICTURES, *NEEDED, *PARTS)
LISTS_FROM_TEXT, SYSTEM_TURNS, HISTORIES = "lists_from_text", "system_from_column", "history_from_column"
TIES, UNREAD_TURNS = "ties", "unread_turns"

_PROMPTS = frozenset({PROMPT, "question", "instruction", "input"})
_LISTED = frozenset({Shape.MESSAGES, Shape.TEXTS, Shape.THREE_TEXTS, Shape.CONVERSATIONS, Shape.MESSAGE})


@dataclass(frozen=True)
class Beside:
    """Columns beside those of a layout that belong to the conversation; a name or a path each.

    Attributes:
        system, history: read as turns.
        refused: make a row bad where they say anything.
        lists: columns of the layout that hold lists, in some rows as text.
        talk: columns of messages that nobody reads.
    """

    system: str | None = None
    history: str | None = None
    refused: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()
    talk: tuple[str, ...] = ()

    @property
    def read(self) -> frozenset[str]:
        """Columns that become turns."""
        return frozenset(name for name in (self.system, self.history) if name)


@dataclass(frozen=True)
class Reading:
    """How the rows of one file become pairs.

    Attributes:
        digest: of the file's content; equal for a plain and a compressed copy of a text.
        ordinal: how many files before this one have the same digest; with it, ids made from rows are unique.
        id_column: the source column of `pair_id`, or None for ids made from digest, ordinal and line.
        prompt_id_column: the source column of `prompt_id`, or None for hashes of the prompts.
        subset: the name for all rows, or None.
        subset_column: the source column of `subset`, or None.
        used: source columns that are not passed through.
        beside: further columns of the conversation.
        columns: as a user maps them; None where the layout was detected or named.
        ignored: columns that are not asked for pictures, tools and the like.
        worths: columns that rate the chosen and the rejected response as a whole.
    """

    layout: Layout
    digest: str
    ordinal: int
    id_column: str | None
    subset: str | None
    subset_column: str | None
    ratings: RatingColumns | None
    used: frozenset[str]
    beside: Beside = Beside()
    columns: ColumnMap | None = None
    ignored: tuple[str, ...] = ()
    prompt_id_column: str | None = None
    worths: tuple[str, str] | None = None

    @property
    def decoded(self) -> frozenset[str]:
        """Source columns that a row's reading needs."""
        return (
            self.used
            | self.layout.shapes.keys()
            | self.layout.also
            | {
                *self.beside.refused,
                *self.beside.talk,
                *(self.worths or ()),
                STATUS,
                MARGIN,
            }
        )

    def prepare(self, values: Mapping[str, Any], notes: Counter[str]) -> dict[str, Any]:
        """The row as its layout reads it: lists as lists, messages in the one form; BadRow where that loses sense."""
        values = dict(values)
        for name in self.beside.refused:
            if not is_empty(values.get(name)) and not (name in PARTS and self._repeats(values, name)):
                raise _refusal(name)
        for name in self.beside.lists:
            items = stored_list(values[name]) if isinstance(values.get(name), str) else None
            if items is not None:
                values[name] = items
                notes[LISTS_FROM_TEXT] += 1
        for name in self._turned_into_turns:
            value = values.get(name)
            if isinstance(value, (list, dict)):
                values[name] = standard(value, where=name, notes=notes)
        return values

    @cached_property
    def _turned_into_turns(self) -> tuple[str, ...]:
        """Columns that may hold messages of any form."""
        return (*(self.layout.uses - self.layout.own_form), *self.beside.read)

    def _repeats(self, values: Mapping[str, Any], name: str) -> bool:
        """Whether the text of a column stands in one that the layout reads."""
        said = json_text(values[name]).strip('"').strip()
        return any(said in json_text(values.get(used)) for used in self.layout.uses)

    def candidates(self, rows: Sequence[Mapping[str, Any]], notes: Counter[str]) -> list[Candidate]:
        """The candidates of one prepared row, or of all that are joined."""
        made = self.layout.read(rows if self.layout.joined_by else rows[0])
        if self.beside.read:
            system, history = self._before(rows[0], notes)
            if system is not None or history:
                made = [_behind(candidate, system, history) for candidate in made]
        for candidate in made:
            if candidate.notes:
                notes.update(candidate.notes)
        if self.beside.talk and not self.layout.joined_by:
            notes[UNREAD_TURNS] += _tells_more([rows[0].get(name) for name in self.beside.talk], made)
        if len(made) > 1 and not self.layout.is_single and all(candidate.rejected is None for candidate in made):
            notes[TIES] += 1
        return made

    def _before(self, row: Mapping[str, Any], notes: Counter[str]) -> tuple[str | None, list[Turn]]:
        system, history = (at_path(row, name) if name else None for name in (self.beside.system, self.beside.history))
        turns: list[Turn] = []
        if not is_empty(history):
            value = spelt_out(history) if isinstance(history, str) else history
            assert self.beside.history
            turns = list(history_of(value, where=self.beside.history))
            notes[HISTORIES] += 1
        if is_empty(system):
            return None, turns
        notes[SYSTEM_TURNS] += 1
        return text_of(system, where=self.beside.system or SYSTEM), turns


def find_beside(
    layout: Layout,
    shapes: Mapping[str, Shape],
    *,
    columns: ColumnMap | None,
    ignored: Collection[str],
) -> Beside:
    """Which columns beside a layout's own belong to the conversation."""
    free = {name for name in shapes if name not in layout.uses and name not in ignored}
    taken = {path for _, path in columns.places} if columns else set()
    reads_prompt = columns is not None or bool(layout.uses & _PROMPTS)
    systems = [name for name in SYSTEM_COLUMNS if name in free and name not in taken]
    histories = [name for name in HISTORY_COLUMNS if name in free and name not in taken]
    refused = [name for name in (*PICTURES, *NEEDED, *PARTS) if name in free and name not in taken]
    if not reads_prompt:
        refused, histories = [*refused, *histories], []
    if columns is not None:
        systems = [columns[SYSTEM], *systems] if columns[SYSTEM] else systems
        histories = [columns[HISTORY], *histories] if columns[HISTORY] else histories
    system, history = (next(iter(names), None) for names in (systems, histories))
    refused += [*systems[1:], *histories[1:]]
    lists = tuple(
        name
        for name, expected in layout.shapes.items()
        if columns is None
        and expected & _LISTED
        and STORED.get(shapes.get(name, Shape.NULL), shapes.get(name)) in expected & _LISTED
    )
    taken |= {*refused, *layout.also, *(name for name in (system, history) if name)}
    talk = [name for name in free - taken if STORED.get(shapes[name], shapes[name]) is Shape.MESSAGES]
    return Beside(system, history, tuple(refused), lists, tuple(sorted(talk)))


def id_and_subset(
    layout: Layout, shapes: Mapping[str, Shape], columns: ColumnMap | None
) -> tuple[str | None, str | None]:
    """Columns or paths of ids and subsets that a mapping or a layout names."""
    if columns is not None:
        return columns[ID_COLUMN], columns[SUBSET]
    return None, layout.subset if layout.subset in shapes else None


def _behind(candidate: Candidate, system: str | None, history: list[Turn]) -> Candidate:
    sides = [
        side and with_history(side, system=system, history=history) for side in (candidate.chosen, candidate.rejected)
    ]
    assert sides[0]
    return replace(candidate, chosen=sides[0], rejected=sides[1])


def _tells_more(columns: Sequence[Any], made: Sequence[Candidate]) -> bool:
    """Whether a person says something in columns of messages that no conversation of a row has."""
    known = {
        content.strip()
        for candidate in made
        for side in (candidate.chosen, candidate.rejected or ())
        for _, content in side
    }
    values = [spelt_out(column) if isinstance(column, str) else column for column in columns]
    messages = [
        message for value in values if isinstance(value, list) for message in value if isinstance(message, dict)
    ]
    persons = [each for each in messages if each.get("role", each.get("from")) in ("user", "human")]
    said = [each.get("content", each.get("value")) for each in persons]
    return any(isinstance(text, str) and text.strip() and text.strip() not in known for text in said)


def _refusal(name: str) -> BadRow:
    if name in PICTURES:
        return BadRow(Reason.PICTURE, f"{name} is not empty, and only text is scored")
    return BadRow(Reason.UNREAD_COLUMN, f"{name} is not empty, and may belong to the conversation")
