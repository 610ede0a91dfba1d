"""A tokenizer by which others read conversations as we do: by its chat template alone, with a pad token of its own."""

import copy
import json
from dataclasses import dataclass
from typing import Any

from encore_ray.errors import ModelError
from encore_ray.models.spec.conversation import Message
from encore_ray.models.text.conversations import ConversationTokenizer

PLAIN = (
    "{% for m in messages %}{{ m['role'] | capitalize }}: {{ m['content'] }}"
    "{% if not loop.last %}{{ '\\n\\n' }}{% endif %}{% endfor %}"
)


def _turns(*contents: str) -> list[Message]:
    return [{"role": ("user", "assistant")[i % 2], "content": content} for i, content in enumerate(contents)]


PROBES = (
    _turns("How do I get rid of an old gas bottle?", "Ask your local recycling centre."),
    _turns("Hi.", "Hello!", "Is tea\nhot? ☕", "Usually: yes, unless you wait. Shall I tell you more?"),
)


@dataclass(frozen=True)
class ExportTokenizer:
    """A transformers tokenizer to save beside a model.

    Attributes:
        tokenizer: with chat template, pad token, sides and length set.
        has_new_pad: whether the pad token was added to it.
    """

    tokenizer: Any
    has_new_pad: bool


def probe_ids(conversations: ConversationTokenizer) -> list[list[int]]:
    """Token ids of the two probes, of different lengths, as the model reads them."""
    pairs = conversations.tokenize_pairs([()] * len(PROBES), chosen=PROBES, rejected=[None] * len(PROBES))
    return [ids.tolist() for ids in pairs.chosen_ids]


def make_export_tokenizer(conversations: ConversationTokenizer) -> ExportTokenizer:
    """A copy of a model's tokenizer that, rendering by its chat template, gives the ids that the model is scored with.

    A classifier of transformers reads the rightmost token that is not padding: the pad token must be one that no
    conversation ends with. One that is also eos, bos or unknown, or that ends a probe, is replaced by a new token.

    Raises:
        ModelError: its chat template gives other ids.
    """
    tokenizer = copy.deepcopy(conversations.tokenizer)
    expected = probe_ids(conversations)
    tokenizer.chat_template = conversations.chat_template or tokenizer.chat_template
    if conversations.template == "plain-v1":
        tokenizer.chat_template = _surrounded(tokenizer)
    elif [[conversations.bos_id, *ids] for ids in _rendered(tokenizer)] == expected:
        tokenizer.chat_template = _literal(tokenizer, [conversations.bos_id]) + tokenizer.chat_template
    if _rendered(tokenizer) != expected:
        raise ModelError(
            "The model's conversations cannot be put into a chat template: rendered by it and tokenised, they get "
            "other token ids than they are scored with. Export the rewards as a dataset instead (--output)."
        )
    taken = {tokenizer.eos_token_id, tokenizer.bos_token_id, tokenizer.unk_token_id, *(ids[-1] for ids in expected)}
    has_new_pad = tokenizer.pad_token_id is None or tokenizer.pad_token_id in taken
    if has_new_pad:
        names = (f"<|pad_{i}|>" for i in range(len(tokenizer) + 1))
        tokenizer.add_special_tokens({"pad_token": next(name for name in names if name not in tokenizer.get_vocab())})
    tokenizer.padding_side, tokenizer.truncation_side = "right", "left"  # a response's end decides its score
    tokenizer.model_max_length = conversations.max_length
    return ExportTokenizer(tokenizer, has_new_pad)


def _rendered(tokenizer: Any) -> list[list[int]]:
    texts = [tokenizer.apply_chat_template(probe, tokenize=False) for probe in PROBES]
    return [tokenizer(text, add_special_tokens=False, truncation=False, verbose=False)["input_ids"] for text in texts]


def _surrounded(tokenizer: Any) -> str:
    """plain-v1 as a chat template, with the special tokens that the tokenizer puts around a text."""
    bare, whole = (tokenizer("a", add_special_tokens=add, verbose=False)["input_ids"] for add in (False, True))
    start = next((i for i in range(len(whole)) if whole[i : i + len(bare)] == bare), 0)
    return _literal(tokenizer, whole[:start]) + PLAIN + _literal(tokenizer, whole[start + len(bare) :])


def _literal(tokenizer: Any, ids: list[int | None]) -> str:
    return "".join(f"{{{{ {json.dumps(token)} }}}}" for token in tokenizer.convert_ids_to_tokens(ids))
