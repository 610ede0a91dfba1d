"""How a model will read a job's conversations, known without its weights: template, ends, length, unknown tokens."""

import itertools
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from encore_ray.errors import DataError, ModelError
from encore_ray.models.families.model_folder import ModelFolder, Opened
from encore_ray.models.loading.checkpoint import Member, open_conversations, open_members
from encore_ray.models.loading.fetch import fetch_members
from encore_ray.models.spec.conversation import Message, Reading
from encore_ray.models.spec.load_options import LoadOptions
from encore_ray.models.spec.source import ModelSource
from encore_ray.models.text.conversations import ConversationTokenizer
from encore_ray.models.text.positions import num_positions
from encore_ray.models.text.reference import check_tokens

MOST_UNKNOWN, MANY_UNKNOWN = 0.5, 0.05  # shares of unknown tokens that end a job, and that are told
COMPARED = 8  # pairs whose tokens are compared with those that transformers itself makes

_DIGITS = 12  # of a digest, for people
_PROBE: list[Message] = [{"role": "user", "content": "Is tea hot?"}, {"role": "assistant", "content": "Usually."}]

# Prompts, chosen, rejected and ids of some pairs.
Sides = tuple[
    Sequence[Sequence[Message]], Sequence[Sequence[Message]], Sequence[Sequence[Message] | None], Sequence[str]
]


@dataclass(frozen=True)
class MemberReading:
    """How one member of a model reads.

    Attributes:
        conversations: of the member.
        positions: tokens that it was made for; None where it sets no limit.
        facts: what of bos and ending decides its scores; what makes no difference for it is not among them.
        notes: what a person should know of it.
        is_judge: whether a question follows each conversation, which counts neither here nor there.
    """

    conversations: ConversationTokenizer
    positions: int | None
    facts: dict[str, str]
    notes: tuple[str, ...]
    is_judge: bool = False

    @property
    def template(self) -> str:
        """The name of its template, with a digest where it is a chat template."""
        return f"{self.conversations.template} {(self.conversations.digest or '')[:_DIGITS]}".strip()


def plan_readings(source: ModelSource, options: LoadOptions) -> list[MemberReading]:
    """How each member of a model reads conversations, without loading its weights; errors as of `load_rules`."""
    return read_members(open_members(source, options.reading), options)


def read_members(members: Iterable[Member], options: LoadOptions) -> list[MemberReading]:
    """What `plan_readings` does, of members that are open already."""
    readings = []
    for folder, opened in members:
        mine = open_conversations(folder, opened, options)
        facts: dict[str, str] = {}
        notes = [_template_note(mine, options.reading)]
        probe = _probe(mine)
        for name, choices in (("bos", ("template", "tokenizer")), ("ending", ("transformers", "whole"))):
            chosen = getattr(options.reading, name)
            other = choices[chosen == choices[0]]
            reading = replace(options.reading, **{name: other})
            theirs = open_conversations(folder, opened, replace(options, reading=reading))
            if probe is not None and _probe(theirs) != probe:
                facts[name] = chosen
                notes.append(f"{_NOTES[name, chosen]} (score.{name}: {other} would be the other way)")
        readings.append(MemberReading(mine, num_positions(folder.config), facts, tuple(notes)))
    return readings


def plan_judge_readings(source: ModelSource, options: LoadOptions) -> list[MemberReading]:
    """The same of a judge, in which no heads are looked for.

    Raises:
        ModelError: it has no such template, or one that cannot be read.
    """
    readings = []
    for path in fetch_members(source):
        folder = ModelFolder(source.at(path))
        mine = open_conversations(folder, Opened((), _no_weights, adds_bos=True), options)
        note = _template_note(mine, options.reading)
        readings.append(MemberReading(mine, num_positions(folder.config), {}, (note,), is_judge=True))
    return readings


def _no_weights(_dtype: object) -> Any:
    raise AssertionError("it is only read")


_NOTES = {
    ("bos", "template"): "its chats begin as the template writes them, without the tokenizer's own first token",
    ("bos", "tokenizer"): "its chats begin with the tokenizer's own first token, which the template does not write",
    ("ending", "transformers"): "pad tokens that end a conversation are not read, as in transformers' own forward",
    ("ending", "whole"): "pad tokens that end a conversation are read, which transformers' own forward does not",
}


def _template_note(conversations: ConversationTokenizer, reading: Reading) -> str:
    is_asked = reading.template is not None
    lines = "written as `User: ...` and `Assistant: ...`, separated by blank lines"
    if conversations.template == "chat":
        whose = "the" if is_asked else "the model's"
        note = f"conversations are written by {whose} chat template {(conversations.digest or '')[:_DIGITS]}"
    elif conversations.template == "plain-v1":
        note = f"conversations are {lines}"
        if not is_asked:
            note = (
                f"the model brings no chat template: {note}; see that it was trained on such (score.template: pair is "
                "for encoders that were trained on a prompt and a response)"
            )
    else:
        note = {
            "pair-v1": "conversations are read as two texts, the prompt and the response",
            "response-v1": "responses are read without their prompts",
        }[conversations.template]
    note += " (score.template)" if is_asked else ""
    if conversations.sees_clock:
        note += f"; it is told that it is {reading.clock}, at any time (score.clock)"
    if reading.system != "keep":
        done = {"merge": "go before the user's next words", "drop": "are left out"}[reading.system]
        note += f"; system turns {done} (score.system)"
    return note


def _probe(conversations: ConversationTokenizer) -> list[int] | None:
    try:
        pairs = conversations.tokenize_pairs([_PROBE[:1]], chosen=[_PROBE[1:]], rejected=[None])
    except DataError:
        return None
    return pairs.chosen_ids[0].tolist()


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
    found = [_look(reading.conversations, parts) for reading in readings]
    for reading, seen in zip(readings, found, strict=True):
        _compare(reading.conversations, parts, seen.refused)
    notes = [note for reading in readings for note in reading.notes]
    notes += _template_notes(found, f"of {num_pairs:,} pairs" if is_whole else f"of the {num_pairs:,} pairs looked at")
    for reading, seen in zip(readings, found, strict=True):
        if reading.is_judge:
            continue
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


def _look(conversations: ConversationTokenizer, parts: Sequence[Sides]) -> _Seen:
    seen, start = _Seen(), 0
    for part in parts:
        numbers = range(start, start + len(part[3]))
        start += len(numbers)
        try:
            _look_at(conversations, part, numbers, seen)
        except DataError:  # one by one: the pass sets those that are refused aside
            for place, number in enumerate(numbers):
                one = slice(place, place + 1)
                try:
                    _look_at(conversations, (part[0][one], part[1][one], part[2][one], part[3][one]), [number], seen)
                except DataError as error:
                    seen.refused[number] = str(error)
    return seen


def _compare(conversations: ConversationTokenizer, parts: Sequence[Sides], refused: Container[int]) -> None:
    """Compare the tokens of the first pairs that the template takes with those that transformers itself makes."""
    pairs = ((prompt, one, name) for part in parts for prompt, one, _, name in zip(*part, strict=True))
    taken = (pair for number, pair in enumerate(pairs) if number not in refused)
    for prompt, answer, name in itertools.islice(taken, COMPARED):
        check_tokens(conversations, [[*prompt, *answer]], [name])


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
        notes.append(f"the template makes both responses the same in {len(made_equal):,} {of}")
    return notes


def _length_note(reading: MemberReading, lengths: Sequence[int], *, is_whole: bool) -> str:
    most, made_for = reading.conversations.max_length, reading.positions
    limit = f"{most:,} tokens at most"
    limit += (
        "" if made_for is None else f" (of the model's {made_for:,})" if made_for > most else " (the model's own limit)"
    )
    num_cut = sum(length > most for length in lengths)
    of = f"{len(lengths):,}" if is_whole else f"the {len(lengths):,} looked at"
    if not num_cut:
        return f"{limit}: none of {of} conversations is longer"
    remedy = "; score.max_tokens raises it" if made_for is None or made_for > most else ""
    return f"{limit}: {num_cut:,} of {of} conversations will lose their beginning{remedy}"
