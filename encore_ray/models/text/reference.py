"""Self-check of what goes into a model: transformers' own way from the messages to the tokens, beside ours.

The check of the scores (`forward.selfcheck`) begins at token ids; both together reach from the messages to the scores.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from encore_ray.errors import ModelError
from encore_ray.models.spec.conversation import Message
from encore_ray.models.text.conversations import ConversationTokenizer


def check_tokens(
    conversations: ConversationTokenizer,
    turns: Sequence[Sequence[Message]],
    names: Sequence[str],
    *,
    to_answer: bool = False,
) -> int:
    """Compare with `apply_chat_template` of the model's own tokenizer.

    Left out are conversations that differ on purpose: texts that spell control tokens, which stay text with us, and
    templates that write the time, which we pin. A BOS more or less, as asked for, is no difference.

    Args:
        conversations: of the model.
        turns: whole conversations that its template takes.
        names: theirs, for the error.
        to_answer: they end where the assistant's next turn begins.

    Returns:
        The number of conversations that were compared.

    Raises:
        ModelError: the tokens differ; names the conversation and the first difference.
    """
    if conversations.template != "chat" or conversations.sees_clock:
        return 0
    compared = 0
    for conversation, name in zip(turns, names, strict=True):
        if conversations.spells_control_tokens(conversation):
            continue
        ours = conversations.encode([conversation], [name], to_answer=to_answer)[0]
        theirs = _by_transformers(conversations, conversation, to_answer=to_answer)
        if conversations.bos in ("tokenizer", "both") and ours[:1] == [conversations.bos_id] and ours[1:] == theirs:
            ours = theirs
        elif conversations.bos == "none" and theirs[:1] == [conversations.tokenizer.bos_token_id]:
            theirs = theirs[1:]
        if ours != theirs:
            raise ModelError(_refusal(conversations, name, ours, theirs))
        compared += 1
    return compared


def _by_transformers(
    conversations: ConversationTokenizer, conversation: Sequence[Message], *, to_answer: bool
) -> list[int]:
    tokenizer, template = conversations.tokenizer, conversations.chat_template
    turns = list(conversations.folded(conversation))
    options: dict[str, Any] = {"add_generation_prompt": True, "enable_thinking": False} if to_answer else {}
    found: Any
    try:
        if template is not None:
            found = PreTrainedTokenizerBase.apply_chat_template(
                tokenizer, turns, chat_template=template, tokenize=True, return_dict=False, **options
            )
        else:  # a way of its own, which need not know all options of others
            found = tokenizer.apply_chat_template(turns, tokenize=True, **options)
            found = found["input_ids"] if isinstance(found, Mapping) else found
        return [int(token) for token in found]
    except Exception as error:
        raise ModelError(
            f"The model's tokenizer ({type(tokenizer).__name__}) cannot make tokens of a conversation by its own "
            f"apply_chat_template: {type(error).__name__}: {error}. Give the tokenizer in a form that can, or a "
            "template (score.template)."
        ) from error


def _refusal(conversations: ConversationTokenizer, name: str, ours: list[int], theirs: list[int]) -> str:
    place = next((i for i, (one, other) in enumerate(zip(ours, theirs, strict=False)) if one != other), None)
    place = min(len(ours), len(theirs)) if place is None else place
    found, expected = (
        repr(conversations.tokenizer.decode(ids[place : place + 4])) if place < len(ids) else "the end"
        for ids in (ours, theirs)
    )
    return (
        f"Of pair {name} the model would read other tokens than transformers' own apply_chat_template makes "
        f"({type(conversations.tokenizer).__name__}): token {place} of {len(theirs)} begins {found}, not {expected}. "
        "Scores would be those of other texts; give its chat template as a file (score.template: FILE.jinja), and "
        "report the tokenizer."
    )
