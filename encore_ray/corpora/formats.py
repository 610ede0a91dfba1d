"""The layouts of preference data that are understood, how to recognise them, and how to read a row of each.

A layout reads a row into whole conversations; pairs.py finds what they share. Columns that a layout turns into
prompt and responses are used up; all others, labels included, are passed through.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from encore_ray.corpora.messages import ASSISTANT, USER, Turn, messages_of, text_of, transcript_turns
from encore_ray.corpora.pairs import Candidate
from encore_ray.corpora.rows import BadRow
from encore_ray.corpora.values import NUMERIC, TEXTUAL, WHOLE, Shape
from encore_ray.errors import DataError
from encore_ray.schema import CHOSEN, PROMPT, REJECTED, SUBSET, Reason

AUTO = "auto"

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Layout:
    """One way to lay out preference data.

    Attributes:
        name: as in `--format`; variants of one layout share it.
        shapes: columns that it needs, each with the shapes that a typical value has.
        uses: columns whose content becomes prompt and responses.
        read: the candidates of a row; raises BadRow.
        is_grouped: one row gives several pairs, which stay together.
        is_single: responses without a counterpart.
        can_be_rated: whether ratings of one chosen and one rejected response make sense in a row.
    """

    name: str
    shapes: dict[str, frozenset[Shape]]
    uses: frozenset[str]
    read: Callable[[Row], list[Candidate]]
    is_grouped: bool = False
    is_single: bool = False
    can_be_rated: bool = True


def choose_layout(found: Mapping[str, Shape], *, format_name: str = AUTO, where: str) -> Layout:
    """The layout of a file.

    Args:
        found: the usual shape of each column.
        format_name: a layout's name, or "auto" for the first one that fits.
        where: what to call the file in errors.

    Raises:
        DataError: no row can be read, no layout fits, or the named one lacks columns; says which columns were found.
    """
    if not found:
        raise DataError(
            f"{where}: not one of its rows can be read as a JSON object with columns. Each line must be one object, "
            'as {"prompt": ..., "chosen": ..., "rejected": ...}, in UTF-8.'
        )
    if format_name != AUTO:
        for layout in LAYOUTS:
            if layout.name == format_name and layout.shapes.keys() <= found.keys():
                return layout
        raise DataError(f"{where} is not in the format {format_name}. {_found_and_known(found, format_name)}")
    for layout in LAYOUTS:
        if all(found.get(column) in shapes for column, shapes in layout.shapes.items()):
            return layout
    raise DataError(f"{where}: unrecognised layout. {_found_and_known(found, AUTO)}")


def format_names() -> list[str]:
    """Names that `--format` takes besides auto, in the order of detection."""
    return list(dict.fromkeys(layout.name for layout in LAYOUTS))


def _found_and_known(found: Mapping[str, Shape], format_name: str) -> str:
    columns = ", ".join(f"{name} ({shape})" for name, shape in found.items())
    known = [
        f"  {layout.name}: " + ", ".join(f"{name} ({' or '.join(sorted(s))})" for name, s in layout.shapes.items())
        for layout in LAYOUTS
        if format_name in (AUTO, layout.name) or format_name not in format_names()
    ]
    if format_name == AUTO:
        advice = "Rename the columns to one of these, or name the format."
    else:
        advice = "Rename the columns, or leave out the format to have it detected."
    return f"Columns found: {columns}. Formats and the columns they need:\n" + "\n".join(known) + f"\n{advice}"


def _transcripts(row: Row) -> list[Candidate]:
    chosen = transcript_turns(row.get(CHOSEN), where=CHOSEN)
    return [Candidate(chosen, transcript_turns(row.get(REJECTED), where=REJECTED))]


def _explicit(row: Row) -> list[Candidate]:
    prompt = _prompt(row.get(PROMPT))
    chosen = _continued(prompt, row.get(CHOSEN), CHOSEN)
    return [Candidate(chosen, _continued(prompt, row.get(REJECTED), REJECTED))]


def _implicit(row: Row) -> list[Candidate]:
    return [Candidate(messages_of(row.get(CHOSEN), where=CHOSEN), messages_of(row.get(REJECTED), where=REJECTED))]


def _whole_with_prompt(row: Row) -> list[Candidate]:
    prompt = text_of(row.get(PROMPT), where=PROMPT)
    sides = []
    for side in (CHOSEN, REJECTED):
        turns = messages_of(row.get(side), where=side)
        if turns[0][0] == ASSISTANT:
            turns = [(USER, prompt), *turns]
        elif not any(role == USER and content.strip() == prompt.strip() for role, content in turns):
            raise BadRow(Reason.NO_COMMON_PROMPT, f"{side} does not hold the prompt as a user turn")
        sides.append(turns)
    return [Candidate(*sides)]


def _several(row: Row) -> list[Candidate]:
    """Every response at least once: pair i takes chosen i and rejected i, the shorter list starting over."""
    prompt = _prompt(row.get(PROMPT))
    chosens, rejecteds = _responses(row.get(CHOSEN), CHOSEN), _responses(row.get(REJECTED), REJECTED)
    candidates = []
    for index in range(max(len(chosens), len(rejecteds))):
        c, r = index % len(chosens), index % len(rejecteds)
        chosen = _continued(prompt, chosens[c], f"{CHOSEN} {c + 1}")
        rejected = _continued(prompt, rejecteds[r], f"{REJECTED} {r + 1}")
        candidates.append(Candidate(chosen, rejected, f"c{c}", f"r{r}"))
    return candidates


def _helpsteer3(row: Row) -> list[Candidate]:
    """Response 1 is chosen under 0, response 2 over it; at 0 neither: two single responses of one group."""
    context = _prompt(row.get("context"), where="context")
    first, second = (_continued(context, row.get(name), name) for name in ("response1", "response2"))
    preference = _label(row.get("overall_preference"), "overall_preference", range(-3, 4))
    if preference == 0:
        return [Candidate(first, None), Candidate(second, None)]
    return [Candidate(first, second) if preference < 0 else Candidate(second, first)]


def _pku(row: Row) -> list[Candidate]:
    prompt = _prompt(row.get(PROMPT))
    responses = [_continued(prompt, row.get(name), name) for name in ("response_0", "response_1")]
    safer = _label(row.get("safer_response_id"), "safer_response_id", range(2))
    return [Candidate(responses[safer], responses[1 - safer])]


def _single_response(row: Row) -> list[Candidate]:
    return [Candidate(_continued(_prompt(row.get(PROMPT)), row.get("response"), "response"), None)]


def _single_completion(row: Row) -> list[Candidate]:
    return [Candidate(_continued(_prompt(row.get(PROMPT)), row.get("completion"), "completion"), None)]


def _single_messages(row: Row) -> list[Candidate]:
    return [Candidate(messages_of(row.get("messages"), where="messages"), None)]


def _prompt(value: Any, *, where: str = PROMPT) -> list[Turn]:
    return messages_of(value, where=where) if isinstance(value, list) else [(USER, text_of(value, where=where))]


def _continued(prompt: list[Turn], value: Any, where: str) -> list[Turn]:
    """The whole conversation of a response: a text, the turns that follow the prompt, or prompt and turns."""
    if not isinstance(value, list):
        return [*prompt, (ASSISTANT, text_of(value, where=where))]
    turns = messages_of(value, where=where)
    return turns if turns[: len(prompt)] == prompt else [*prompt, *turns]


def _responses(value: Any, where: str) -> list[Any]:
    """The responses of one side: a list of texts or of message lists, or a single one of either."""
    if isinstance(value, str) or (isinstance(value, list) and value and isinstance(value[0], dict)):
        return [value]
    if value is None:
        raise BadRow(Reason.MISSING_FIELD, f"{where} is missing")
    if not isinstance(value, list):
        raise BadRow(Reason.WRONG_TYPE, f"{where}: expected a list of responses, found {type(value).__name__}")
    if not value:
        raise BadRow(Reason.EMPTY_FIELD, f"{where} has no response")
    return value


def _label(value: Any, where: str, allowed: range) -> int:
    if value is None:
        raise BadRow(Reason.MISSING_FIELD, f"{where} is missing")
    if isinstance(value, bool) or not isinstance(value, int | float) or value not in allowed:
        expected = f"{allowed.start} to {allowed.stop - 1}"
        raise BadRow(Reason.BAD_LABEL, f"{where}: expected a whole number, {expected}; found {str(value)[:40]!r}")
    return int(value)


_TEXT = TEXTUAL
_MESSAGES = frozenset({Shape.MESSAGES})
_PROMPT = _TEXT | _MESSAGES
_LISTS = frozenset({Shape.TEXTS, Shape.CONVERSATIONS})
_TRANSCRIPT = frozenset({Shape.TRANSCRIPT})
_SIDES = frozenset({CHOSEN, REJECTED})
_ALL = _SIDES | {PROMPT}

# The order is the order of detection: a layout comes before any other that its files would fit as well.
LAYOUTS: tuple[Layout, ...] = (
    Layout("hh-rlhf", {CHOSEN: _TRANSCRIPT, REJECTED: _TRANSCRIPT}, _SIDES, _transcripts),
    Layout(
        "rewardbench2",
        {PROMPT: _PROMPT, CHOSEN: _LISTS | _PROMPT, REJECTED: _LISTS},
        _ALL,
        _several,
        is_grouped=True,
        can_be_rated=False,
    ),
    Layout(
        "rewardbench",
        {PROMPT: _TEXT, CHOSEN: _TEXT, REJECTED: _TEXT, SUBSET: _TEXT, "id": WHOLE | _TEXT},
        _ALL,
        _explicit,
    ),
    Layout("ultrafeedback", {PROMPT: _TEXT, CHOSEN: _MESSAGES, REJECTED: _MESSAGES}, _ALL, _whole_with_prompt),
    Layout("trl", {PROMPT: _PROMPT, CHOSEN: _PROMPT, REJECTED: _PROMPT}, _ALL, _explicit),
    Layout("trl-implicit", {CHOSEN: _MESSAGES, REJECTED: _MESSAGES}, _SIDES, _implicit),
    Layout(
        "helpsteer3",
        {"context": _PROMPT, "response1": _TEXT, "response2": _TEXT, "overall_preference": NUMERIC},
        frozenset({"context", "response1", "response2"}),
        _helpsteer3,
        can_be_rated=False,
    ),
    Layout(
        "pku-saferlhf",
        {PROMPT: _PROMPT, "response_0": _TEXT, "response_1": _TEXT, "safer_response_id": NUMERIC},
        frozenset({PROMPT, "response_0", "response_1"}),
        _pku,
    ),
    Layout(
        "single",
        {PROMPT: _PROMPT, "response": _PROMPT},
        frozenset({PROMPT, "response"}),
        _single_response,
        is_single=True,
    ),
    Layout(
        "single",
        {PROMPT: _PROMPT, "completion": _PROMPT},
        frozenset({PROMPT, "completion"}),
        _single_completion,
        is_single=True,
    ),
    Layout("single", {"messages": _MESSAGES}, frozenset({"messages"}), _single_messages, is_single=True),
)
