"""What will happen to a job's conversations, seen in some of its pairs before any weight is loaded."""

import itertools
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from encore_ray.errors import DataError, ModelError
from encore_ray.models.loading.reading import MemberReading
from encore_ray.models.spec.conversation import Message
from encore_ray.models.text.conversations import ConversationTokenizer
from encore_ray.models.text.reference import check_tokens

MOST_UNKNOWN, MANY_UNKNOWN = 0.5, 0.05  # shares of unknown tokens that end a job, and that are told
COMPARED = 8  # pairs whose tokens are compared with those that transformers itself makes

# Prompts, chosen, rejected and ids of some pairs.
Sides = tuple[
    Sequence[Sequence[Message]], Sequence[Sequence[Message]], Sequence[Sequence[Message] | None], Sequence[str]
]


@dataclass
class _Seen:
    """What a member makes of some pairs; pairs by their numbers."""

    lengths: list[int] = field(default_factory=list)
    num_tokens: int = 0
    num_unknown: int = 0
    altered: set[int] = field(default_factory=set)
    made_equal: set[int] = field(default_factory=set)
    refused: dict[int, str] = field(default_factory=dict)


def look_ahead(readings: Sequence[MemberReading], sample: Iterable[Sides], *, is_whole: bool) -> list[str]:
    """What will happen to a job's conversations, from some of its pairs: a sentence each.

    Args:
        readings: of the members.
        sample: some pairs, a part at a time.
        is_whole: whether these are all pairs of the job.

    Raises:
        ModelError: half of the tokens are unknown to a member, or they are others than transformers itself makes.
    """
    parts = list(sample)
    num_pairs = sum(len(ids) for *_, ids in parts)
    found = [_look(reading, parts) for reading in readings]
    for reading, seen in zip(readings, found, strict=True):
        _compare(reading, parts, seen.refused)
    notes = [note for reading in readings for note in reading.notes]
    notes += _template_notes(found, f"of {num_pairs:,} pairs" if is_whole else f"of the {num_pairs:,} pairs looked at")
    for reading, seen in zip(readings, found, strict=True):
        share = seen.num_unknown / max(seen.num_tokens, 1)
        if share >= MOST_UNKNOWN:
            raise ModelError(
                f"{share:.0%} of the tokens of the first pairs are unknown to the model's tokenizer: it belongs to "
                "other texts or to another model, and scores would mean nothing. Give the tokenizer that the model was "
                "trained with."
            )
        if share >= MANY_UNKNOWN:
            notes.append(f"{share:.0%} of the tokens of the first pairs are unknown to the model's tokenizer")
        notes.append(_length_note(reading, seen.lengths, is_whole=is_whole))
    return list(dict.fromkeys(notes))


def _look(reading: MemberReading, parts: Sequence[Sides]) -> _Seen:
    seen, start = _Seen(), 0
    look = partial(_look_at, reading.conversations) if reading.asks is None else partial(_look_as_judge, reading)
    for part in parts:
        numbers = range(start, start + len(part[3]))
        start += len(numbers)
        try:
            look(part, numbers, seen)
        except DataError:  # one by one: the pass sets those that are refused aside
            for place, number in enumerate(numbers):
                one = slice(place, place + 1)
                try:
                    look((part[0][one], part[1][one], part[2][one], part[3][one]), [number], seen)
                except DataError as error:
                    seen.refused[number] = str(error)
    return seen


def texts_read(reading: MemberReading, sides: Sides) -> list[tuple[str, str | None]]:
    """What a member reads of both conversations of each pair, as its tokens spell it.

    Returns:
        for each pair what it reads with the chosen and with the rejected response, None where there is none.

    Raises:
        DataError: the template refuses a conversation.
    """
    prompts, chosen, rejected, ids = sides
    conversations = reading.conversations
    if reading.asks is None:
        pairs = conversations.tokenize_pairs(prompts, chosen=chosen, rejected=rejected, pair_ids=ids)
        rows = zip(pairs.chosen_ids, pairs.rejected_ids, strict=True)
        return [(_spelt(reading, one), None if other is None else _spelt(reading, other)) for one, other in rows]
    texts: list[tuple[str, str | None]] = []
    for prompt, one, other, name in zip(*sides, strict=True):
        asked = [reading.asks(prompt, side) for side in (one, other) if side is not None]
        spelt = [_spelt(reading, row) for row in conversations.encode(asked, [name] * len(asked), to_answer=True)]
        texts.append((spelt[0], spelt[1] if len(spelt) > 1 else None))
    return texts


def _spelt(reading: MemberReading, ids: Iterable[int]) -> str:
    return str(reading.conversations.tokenizer.decode([int(each) for each in ids]))


def _compare(reading: MemberReading, parts: Sequence[Sides], refused: Container[int]) -> None:
    """Compare the tokens of the first pairs that the template takes with those that transformers itself makes."""
    pairs = ((prompt, one, name) for part in parts for prompt, one, _, name in zip(*part, strict=True))
    taken = (pair for number, pair in enumerate(pairs) if number not in refused)
    for prompt, answer, name in itertools.islice(taken, COMPARED):
        turns = [*prompt, *answer] if reading.asks is None else reading.asks(prompt, answer)
        check_tokens(reading.conversations, [turns], [name], to_answer=reading.asks is not None)


def _look_at(conversations: ConversationTokenizer, part: Sides, numbers: Sequence[int], seen: _Seen) -> None:
    prompts, chosen, rejected, ids = part
    pairs = conversations.tokenize_pairs(prompts, chosen=chosen, rejected=rejected, pair_ids=ids)
    unknown = getattr(conversations.tokenizer, "unk_token_id", None)
    sides = [side for side in (*pairs.chosen_ids, *pairs.rejected_ids) if side is not None]
    seen.lengths += [int(length) for length in (*pairs.chosen_tokens, *pairs.rejected_tokens) if length]
    seen.num_tokens += sum(map(len, sides))
    seen.num_unknown += 0 if unknown is None else sum(int((side == unknown).sum()) for side in sides)
    seen.altered |= {numbers[i] for i in np.flatnonzero(pairs.altered).tolist()}
    seen.made_equal |= {numbers[i] for i in np.flatnonzero(pairs.made_equal).tolist()}


def _look_as_judge(reading: MemberReading, part: Sides, numbers: Sequence[int], seen: _Seen) -> None:
    """The same of a judge, whose questions are no text of the job's."""
    assert reading.asks is not None
    pairs = zip(numbers, *part, strict=True)
    sides = [
        (number, name, prompt, answer)
        for number, prompt, chosen, rejected, name in pairs
        for answer in (chosen, rejected)
        if answer is not None
    ]
    asked = [reading.asks(prompt, answer) for _, _, prompt, answer in sides]
    altered: set[int] = set()
    rows = reading.conversations.encode(asked, [side[1] for side in sides], to_answer=True, altered=altered)
    seen.lengths += map(len, rows)
    seen.altered |= {sides[i][0] for i in altered}


def _template_notes(found: Sequence[_Seen], of: str) -> list[str]:
    """What the templates of all members make of pairs: nothing where they leave all as it is."""
    refused = {number: why for seen in found for number, why in seen.refused.items()}
    altered = {number for seen in found for number in seen.altered} - refused.keys()
    made_equal = {number for seen in found for number in seen.made_equal} - refused.keys()
    notes = []
    if refused:
        why = refused[min(refused)]
        notes.append(f"the template refuses {len(refused):,} {of}: {why} (score.system, score.template)")
    if altered:
        notes.append(f"the template drops or changes text of {len(altered):,} {of}, as thoughts or spaces at ends")
    if made_equal:
        notes.append(f"the template, or cutting, makes both responses the same in {len(made_equal):,} {of}")
    return notes


def _length_note(reading: MemberReading, lengths: Sequence[int], *, is_whole: bool) -> str:
    most, made_for = reading.conversations.max_length, reading.positions
    limit = f"{most:,} tokens at most{'' if reading.asks is None else ' with the longest question'}"
    limit += (
        "" if made_for is None else f" (of the model's {made_for:,})" if made_for > most else " (the model's own limit)"
    )
    num_cut = sum(length > most for length in lengths)
    of = f"{len(lengths):,}" if is_whole else f"the {len(lengths):,} looked at"
    if not num_cut:
        return f"{limit}: none of {of} conversations is longer"
    remedy = "; score.max_tokens raises it" if made_for is None or made_for > most else ""
    return f"{limit}: {num_cut:,} of {of} conversations will lose their beginning{remedy}"
