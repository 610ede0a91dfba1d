"""What a layout is, and the shapes that its columns have."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from encore_ray.corpora.pairing.pairs import Candidate
from encore_ray.corpora.values import NUMERIC, TEXTUAL, WHOLE, Shape
from encore_ray.schema import CHOSEN, PROMPT, REJECTED

Row = Mapping[str, Any]

TEXT = TEXTUAL
MESSAGES = frozenset({Shape.MESSAGES})
TALK = TEXT | MESSAGES  # a text, or turns
MESSAGE = frozenset({Shape.MESSAGE})
REPLY = TALK | MESSAGE
LISTS = frozenset({Shape.TEXTS, Shape.THREE_TEXTS, Shape.CONVERSATIONS})
THREE = frozenset({Shape.THREE_TEXTS})
NESTED = frozenset({Shape.NESTED})
TRANSCRIPT = frozenset({Shape.TRANSCRIPT})
ID = WHOLE | TEXT
NUMBER = NUMERIC | {Shape.NUMBER}  # also one that a text spells out
SIDES = frozenset({CHOSEN, REJECTED})
PAIR = SIDES | {PROMPT}


@dataclass(frozen=True)
class Layout:
    """One way to lay out preference data.

    Attributes:
        name: as in `--format`; variants of one layout share it.
        shapes: columns that it needs, each with the shapes that a typical value has.
        uses: columns whose content becomes prompt and responses.
        read: the candidates of a row; raises BadRow. Where rows are joined, it takes a list of them.
        is_grouped: one row gives several pairs, which stay together.
        is_single: responses without a counterpart.
        can_be_rated: whether ratings of one chosen and one rejected response make sense in a row.
        lacks: columns by which its files are told from those of another layout: they have none of these.
        rules: what its candidates bring ratings of.
        has_ids: whether its column `id` tells rows apart.
        subset: its column for the name of a subset, where there is none of that name.
        joined_by: rows with the same value in this column that follow each other are read together.
        check: of joined rows, what raises BadRow for one that is bad by itself.
        also: further columns that it reads where they are there, and passes through.
        own_form: columns whose messages it reads as they are.
        plain: columns of the prompt and its one or two responses, the better one first, where each is a text that is
            content and nothing else: then it is a user turn with its replies, if all further columns of `uses` are
            empty. None where only `read` knows.
        is_transcripts: whether a row has two whole conversations as transcripts of HH-RLHF.
        has_trees: whether its candidates say which tree they are of.
    """

    name: str
    shapes: dict[str, frozenset[Shape]]
    uses: frozenset[str]
    read: Callable[[Any], list[Candidate]]
    is_grouped: bool = False
    is_single: bool = False
    can_be_rated: bool = True
    lacks: frozenset[str] = frozenset()
    rules: tuple[str, ...] = ()
    has_ids: bool = True
    subset: str | None = None
    joined_by: str | None = None
    check: Callable[[Row], object] | None = None
    also: frozenset[str] = frozenset()
    own_form: frozenset[str] = frozenset()
    plain: tuple[str, ...] | None = None
    is_transcripts: bool = False
    has_trees: bool = False
