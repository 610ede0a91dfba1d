"""Which column of a file holds what, as a user spells it out, and values at a path of columns."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from encore_ray.errors import ConfigError
from encore_ray.schema import CHOSEN, PROMPT, REJECTED, SUBSET

FIRST, SECOND, TIE = 1, 2, 0
RESPONSE, CONVERSATION, WINNER, SYSTEM, HISTORY, ID_COLUMN = "response", "messages", "winner", "system", "history", "id"
PLACES = (PROMPT, CHOSEN, REJECTED, RESPONSE, CONVERSATION, WINNER, SYSTEM, HISTORY, SUBSET, ID_COLUMN)
SIDES = {"chosen": FIRST, "rejected": SECOND, "tie": TIE}
_WORDS = {
    **dict.fromkeys(("a", "model_a", "response_a", "answer_a", "a>b", "[[a]]", "first", "left", CHOSEN), FIRST),
    **dict.fromkeys(("b", "model_b", "response_b", "answer_b", "b>a", "[[b]]", "second", "right", REJECTED), SECOND),
    **dict.fromkeys(("tie", "tie (bothbad)", "draw", "equal", "same", "both", "neither", "a=b", "[[c]]"), TIE),
}
_STEP = re.compile(r"\.?([^.\[\]]+)|\[(\d+)\]")


@dataclass(frozen=True)
class ColumnMap:
    """Which column holds what, in a form that is compared and sent to workers.

    Attributes:
        places: of PLACES, each with a column or a path as `question.full_text` or `completions[0].text`.
        words: values of the winner with the side that they name: FIRST is the column of `chosen`.
        is_listed: whether `words` are all values that there are; otherwise any other one names the second side.
    """

    places: tuple[tuple[str, str], ...]
    words: tuple[tuple[str, int], ...] = ()
    is_listed: bool = True

    @classmethod
    def of(cls, columns: Mapping[str, str], chosen_if: Any = None) -> "ColumnMap":
        """From `inputs[].columns` and `inputs[].chosen_if`.

        Raises:
            ConfigError: an unknown place, no response, or a `chosen_if` without a winner.
        """
        unknown = [name for name in columns if name not in PLACES]
        if unknown:
            raise ConfigError(f"columns: {', '.join(unknown)}: unknown; expected some of {', '.join(PLACES)}")
        kinds = [{CHOSEN, REJECTED} <= columns.keys(), RESPONSE in columns, CONVERSATION in columns]
        if sum(kinds) != 1:
            raise ConfigError(
                "columns: expected chosen and rejected (with winner: the two sides), or response, or messages"
            )
        if WINNER in columns and not kinds[0]:
            raise ConfigError("columns: a winner needs chosen and rejected, the two sides that it chooses between")
        if RESPONSE in columns and PROMPT not in columns:
            raise ConfigError("columns: a response needs a prompt")
        if chosen_if is None:
            return cls(tuple(sorted(columns.items())), tuple(_WORDS.items()) if WINNER in columns else ())
        if WINNER not in columns:
            raise ConfigError("chosen_if: it says what a value of columns.winner means; name that column, too")
        return cls(tuple(sorted(columns.items())), *_words(chosen_if))

    def __getitem__(self, place: str) -> str | None:
        return dict(self.places).get(place)

    def to_facts(self) -> list[Any]:
        return [list(map(list, self.places)), list(map(list, self.words)), self.is_listed]


def at_path(row: Mapping[str, Any], path: str) -> Any:
    """What stands at a column or a path in it; None where there is nothing."""
    if path in row:
        return row[path]
    value: Any = row
    for key, index in _STEP.findall(_plain(path)):
        if isinstance(value, Mapping):
            value = value.get(key)
        elif isinstance(value, list) and index:
            value = value[int(index)] if int(index) < len(value) else None
        else:
            return None
    return value


def top_of(path: str) -> str:
    """The column in which a path begins."""
    found = _STEP.match(_plain(path))
    return found[1] if found and found[1] else path


def _plain(path: str) -> str:
    return path.removeprefix("$").removeprefix(".")


def label_text(value: Any) -> str:
    """A label as text: 1 and 1.0 are "1", True is "true", "Model_A" is "model_a"."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip().lower()


def _words(chosen_if: Any) -> tuple[tuple[tuple[str, int], ...], bool]:
    if isinstance(chosen_if, Mapping):
        wrong = [str(side) for side in chosen_if.values() if side not in SIDES]
        if wrong or not chosen_if:
            raise ConfigError(f"chosen_if: expected the sides {', '.join(SIDES)}; found {', '.join(wrong) or 'none'}")
        return tuple((label_text(value), SIDES[side]) for value, side in chosen_if.items()), True
    values = chosen_if if isinstance(chosen_if, list | tuple) else [chosen_if]
    ties = {word: which for word, which in _WORDS.items() if which == TIE}
    return tuple({**ties, **{label_text(value): FIRST for value in values}}.items()), False
