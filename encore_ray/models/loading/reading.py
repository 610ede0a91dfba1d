"""How a model will read a job's conversations, known without its weights: template, ends, length, unknown tokens."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from transformers import AutoModelForSequenceClassification

from encore_ray.errors import DataError
from encore_ray.models.families.model_folder import ModelFolder, Opened
from encore_ray.models.files.foreign import foreign
from encore_ray.models.loading.checkpoint import Member, open_conversations, open_members
from encore_ray.models.loading.fetch import fetch_members
from encore_ray.models.spec.conversation import Message, Reading
from encore_ray.models.spec.load_options import LoadOptions
from encore_ray.models.spec.source import ModelSource
from encore_ray.models.text.conversations import ConversationTokenizer
from encore_ray.models.text.positions import most_positions

_DIGITS = 12  # of a digest, for people
_PROBE: list[Message] = [{"role": "user", "content": "Is tea hot?"}, {"role": "assistant", "content": "Usually."}]

Asks = Callable[[Sequence[Message], Sequence[Message]], list[Message]]


@dataclass(frozen=True)
class MemberReading:
    """How one member of a model reads.

    Attributes:
        conversations: of the member.
        positions: tokens that it was made for; None where it sets no limit.
        facts: what of bos and ending decides its scores; what makes no difference for it is not among them.
        notes: what a person should know of it.
        asks: of a judge: the turns that it reads of prompt and response, with its longest question.
    """

    conversations: ConversationTokenizer
    positions: int | None
    facts: dict[str, str]
    notes: tuple[str, ...]
    asks: Asks | None = None

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
        if (own := _own_class(folder)) and opened.auto_class is AutoModelForSequenceClassification:
            notes.append(
                f"its own code ({own}) is not run: transformers' class with the same weights is used (score."
                "trust_remote_code runs it)"
            )
        notes += [opened.note] if opened.note else []
        if opened.auto_class is AutoModelForSequenceClassification and (behind := _put_behind(folder)):
            notes.append(
                f"its configuration puts a {behind} behind its outputs: scores are the outputs before it"
                + (" (link: sigmoid in rules.yaml puts one behind)" if behind == "sigmoid" else "")
            )
        if options.reading.ending != "eos" and opened.template is None and _lacks_eos(mine, probe):
            notes[0] += "; they do not end with the tokenizer's EOS (score.ending: eos is for models trained with it)"
        if options.reading.bos == "template" and _would_have_two(mine, probe):
            notes[0] += "; the BOS that it writes is the only one (score.bos: both is for models trained on two)"
        for name, choices in (("bos", ("template", "tokenizer")), ("ending", ("transformers", "whole"))):
            chosen = getattr(options.reading, name)
            other = choices[chosen == choices[0]]  # of any third what transformers does
            reading = replace(options.reading, **{name: other})
            theirs = open_conversations(folder, opened, replace(options, reading=reading))
            if probe is not None and _probe(theirs) != probe:
                facts[name] = chosen
                notes.append(f"{_NOTES[name, chosen]} (score.{name}: {other} would be the other way)")
        readings.append(MemberReading(mine, most_positions(folder.config), facts, tuple(notes)))
    return readings


def plan_judge_readings(source: ModelSource, options: LoadOptions, *, asks: Asks) -> list[MemberReading]:
    """The same of a judge, in which no heads are looked for.

    Args:
        asks: the turns that it reads of prompt and response, with its longest question.

    Raises:
        ModelError: it has no such template, or one that cannot be read.
    """
    readings = []
    for path in fetch_members(source):
        folder = ModelFolder(source.at(path))
        mine = open_conversations(folder, Opened((), _no_weights, adds_bos=True), options)
        note = _template_note(mine, options.reading)
        readings.append(MemberReading(mine, most_positions(folder.config), {}, (note,), asks))
    return readings


def _no_weights(_dtype: object) -> Any:
    raise AssertionError("it is only read")


_NOTES = {
    ("bos", "template"): "its chats begin as the template writes them, without the tokenizer's own first token",
    ("bos", "tokenizer"): "its chats begin with the tokenizer's own first token, which the template does not write",
    ("bos", "both"): "its chats begin with the tokenizer's own first token, beside that of the template",
    ("bos", "none"): "the first token that its template writes is left out",
    ("ending", "transformers"): "pad tokens that end a conversation are not read, as in transformers' own forward",
    ("ending", "eos"): "conversations end with the tokenizer's EOS, which the template does not write there",
    ("ending", "whole"): "pad tokens that end a conversation are read, which transformers' own forward does not",
}


CROSS_ENCODER = "config_sentence_transformers.json"  # which sentence-transformers from 6 on writes

# What transformers' pipelines put behind the outputs of a classifier that was trained so.
_OF_PROBLEMS = {"single_label_classification": "softmax", "multi_label_classification": "sigmoid"}

# Of a tokenizer, as templates know them.
_WRITTEN = ("bos_token", "eos_token", "pad_token", "sep_token", "cls_token")


def _template_note(conversations: ConversationTokenizer, reading: Reading) -> str:
    is_asked = reading.template is not None
    source, tokenizer = conversations.chat_template or "", conversations.tokenizer
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
    absent = [name for name in _WRITTEN if name in source and getattr(tokenizer, name) is None]
    if absent:
        note += f"; it writes {' and '.join(absent)}, which the tokenizer does not have: nothing stands there"
    if conversations.sees_clock:
        note += f"; it is told that it is {reading.clock}, at any time (score.clock)"
    if reading.system != "keep":
        done = {"merge": "go before the user's next words", "drop": "are left out"}[reading.system]
        note += f"; system turns {done} (score.system)"
    return note


def _own_class(folder: ModelFolder) -> str | None:
    """The class of a model's own that would be run where that is trusted."""
    own = (folder.stated.get("auto_map") or {}).get("AutoModelForSequenceClassification")
    return None if folder.source.trust_remote_code else own


def _put_behind(folder: ModelFolder) -> str | None:
    """What others put behind a classifier's outputs, as its folder says: sentence-transformers, or a pipeline."""
    stated, own = folder.stated, folder.stated.get("sentence_transformers")
    named = own.get("activation_fn") if isinstance(own, dict) else stated.get("sbert_ce_default_activation_function")
    if (beside := folder.path / CROSS_ENCODER).exists():
        with foreign(folder.path, CROSS_ENCODER):
            named = json.loads(beside.read_text(encoding="utf-8")).get("activation_fn", named)
    if isinstance(named, str):
        name = named.rpartition(".")[2].lower()
        return None if name == "identity" else name
    return _OF_PROBLEMS.get(str(stated.get("problem_type")))


def _would_have_two(conversations: ConversationTokenizer, probe: list[int] | None) -> bool:
    """Whether a chat begins with the BOS that the tokenizer, given the template's text, would write once more."""
    return conversations.template == "chat" and bool(probe) and probe[:1] == [conversations.bos_id]


def _lacks_eos(conversations: ConversationTokenizer, probe: list[int] | None) -> bool:
    """Whether what it reads of a conversation does not end with the tokenizer's EOS, but for newlines."""
    eos: int | None = conversations.tokenizer.eos_token_id
    if eos is None or not probe or eos not in probe:
        return eos is not None and bool(probe)
    behind = probe[len(probe) - probe[::-1].index(eos) :]
    return bool(conversations.tokenizer.decode(behind).strip("\n"))


def _probe(conversations: ConversationTokenizer) -> list[int] | None:
    try:
        pairs = conversations.tokenize_pairs([_PROBE[:1]], chosen=[_PROBE[1:]], rejected=[None])
    except DataError:
        return None
    return pairs.chosen_ids[0].tolist()
