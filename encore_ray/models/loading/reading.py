"""How a model will read a job's conversations, told before it does: template, ends, length, unknown tokens."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from encore_ray.errors import DataError, ModelError
from encore_ray.models.loading.checkpoint import open_conversations, open_members
from encore_ray.models.spec.conversation import Message
from encore_ray.models.spec.load_options import LoadOptions
from encore_ray.models.spec.source import ModelSource
from encore_ray.models.text.conversations import ConversationTokenizer
from encore_ray.models.text.positions import num_positions

MOST_UNKNOWN, MANY_UNKNOWN = 0.5, 0.05  # shares of unknown tokens that end a job, and that are told

_PROBE: list[Message] = [{"role": "user", "content": "Is tea hot?"}, {"role": "assistant", "content": "Usually."}]

Sides = tuple[Sequence[Sequence[Message]], Sequence[Sequence[Message]], Sequence[Sequence[Message] | None]]


@dataclass(frozen=True)
class Reading:
    """How one member of a model reads.

    Attributes:
        conversations: of the member.
        positions: tokens that it was made for; None where it sets no limit.
        facts: what of the options decides its scores, by option; what makes no difference for it is not among them.
        notes: what a person should know of it.
    """

    conversations: ConversationTokenizer
    positions: int | None
    facts: dict[str, str]
    notes: tuple[str, ...]


def plan_readings(source: ModelSource, options: LoadOptions) -> list[Reading]:
    """How each member of a model reads conversations, without loading its weights; errors as of `load_rules`."""
    readings = []
    for folder, opened in open_members(source):
        mine = open_conversations(folder, opened, options)
        facts = {} if options.template is None else {"template": mine.template}
        notes = [_template_note(mine)]
        for name, choices in (("bos", ("template", "tokenizer")), ("ending", ("transformers", "whole"))):
            chosen = getattr(options, name)
            other = choices[chosen == choices[0]]
            if _probe(open_conversations(folder, opened, replace(options, **{name: other}))) != _probe(mine):
                facts[name] = chosen
                notes.append(f"{_NOTES[name, chosen]} (score.{name}: {other} would be the other way)")
        readings.append(Reading(mine, num_positions(folder.config), facts, tuple(notes)))
    return readings


_NOTES = {
    ("bos", "template"): "its chats begin as the template writes them, without the tokenizer's own first token",
    ("bos", "tokenizer"): "its chats begin with the tokenizer's own first token, which the template does not write",
    ("ending", "transformers"): "pad tokens that end a conversation are not read, as in transformers' own forward",
    ("ending", "whole"): "pad tokens that end a conversation are read, which transformers' own forward does not",
}


def _template_note(conversations: ConversationTokenizer) -> str:
    return {
        "chat": "conversations are written by the model's chat template",
        "plain-v1": "the model brings no chat template: conversations are written as `User: ...` and `Assistant: ...`, "
        "separated by blank lines (score.template: pair is for encoders that were trained on a prompt and a response)",
        "pair-v1": "conversations are read as two texts, the prompt and the response",
        "response-v1": "responses are read without their prompts",
    }[conversations.template]


def _probe(conversations: ConversationTokenizer) -> list[int] | None:
    try:
        pairs = conversations.tokenize_pairs([_PROBE[:1]], chosen=[_PROBE[1:]], rejected=[None])
    except DataError:
        return None
    return pairs.chosen_ids[0].tolist()


def look_ahead(readings: Sequence[Reading], sample: Iterable[Sides], *, is_whole: bool) -> list[str]:
    """What will happen to a job's conversations, from some of its pairs: a sentence each.

    Args:
        readings: of the members.
        sample: prompts, chosen and rejected of some pairs, a part at a time.
        is_whole: whether these are all pairs of the job.

    Raises:
        ModelError: half of the tokens are unknown to a member.
    """
    parts = list(sample)
    notes = [note for reading in readings for note in reading.notes]
    for reading in readings:
        lengths, num_unknown, num_tokens = [], 0, 0
        conversations = reading.conversations
        unknown = getattr(conversations.tokenizer, "unk_token_id", None)
        for prompts, chosen, rejected in parts:
            try:
                pairs = conversations.tokenize_pairs(prompts, chosen=chosen, rejected=rejected)
            except DataError:
                continue  # the pass finds which of them it is, and sets it aside
            sides = [ids for ids in (*pairs.chosen_ids, *pairs.rejected_ids) if ids is not None]
            lengths += [length for length in (*pairs.chosen_tokens, *pairs.rejected_tokens) if length]
            num_tokens += sum(map(len, sides))
            num_unknown += 0 if unknown is None else sum(int((ids == unknown).sum()) for ids in sides)
        share = num_unknown / max(num_tokens, 1)
        if share >= MOST_UNKNOWN:
            raise ModelError(
                f"{share:.0%} of the tokens of the first pairs are unknown to the model's tokenizer: it belongs to "
                "other texts or to another model, and scores would mean nothing. Give the tokenizer that the model was "
                "trained with."
            )
        if share >= MANY_UNKNOWN:
            notes.append(f"{share:.0%} of the tokens of the first pairs are unknown to the model's tokenizer")
        notes.append(_length_note(reading, lengths, is_whole=is_whole))
    return list(dict.fromkeys(notes))


def _length_note(reading: Reading, lengths: Sequence[int], *, is_whole: bool) -> str:
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
