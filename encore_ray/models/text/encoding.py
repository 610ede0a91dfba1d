"""Conversations to token ids by a template of ours or a chat template: one BOS, no forged control tokens."""

import re
import threading
from collections.abc import Sequence
from typing import Any

from encore_ray.errors import DataError
from encore_ray.models.spec.conversation import Bos, Message, System, Template
from encore_ray.models.text.rendering import Renderer, fold_system

_PLAIN_ROLES = {"system": "System", "user": "User", "assistant": "Assistant", "tool": "Tool"}
_FIRST_PLACEHOLDER = 0x100000  # supplementary private use area B: in no real text, and checked


class ConversationEncoder:
    """Encodes whole conversations; several threads may call it.

    Args:
        tokenizer: of transformers.
        template: by which they are written.
        renderer: of the chat template.
        system: what becomes of system turns.
        bos: who writes the first token of a chat; see `Reading`.
    """

    def __init__(self, tokenizer: Any, template: Template, renderer: Renderer, *, system: System, bos: Bos):
        self._tokenizer, self._template, self._renderer = tokenizer, template, renderer
        self._system: System = system
        self._bos: Bos = bos
        first_id = next(iter(tokenizer("a", verbose=False)["input_ids"]), None)
        self.bos_id: int | None = first_id if first_id in (tokenizer.bos_token_id, tokenizer.cls_token_id) else None
        specials = {str(token) for token in tokenizer.all_special_tokens}
        specials |= {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
        self._specials = sorted(filter(None, specials), key=lambda token: (-len(token), token))
        self._encoding = threading.Lock()
        self._special = re.compile("|".join(map(re.escape, self._specials)) or r"(?!)")

    def __call__(
        self,
        conversations: Sequence[Sequence[Message]],
        names: Sequence[str],
        *,
        to_answer: bool,
        altered: set[int],
    ) -> list[list[int]]:
        """See `ConversationTokenizer.encode`."""
        if not conversations:
            return []
        if self._template == "response-v1":
            texts = ["\n\n".join(message["content"] for message in response) for response in conversations]
            return self._token_ids(texts, add_special_tokens=True, split_special_tokens=True)
        given, conversations = conversations, [self.folded(turns) for turns in conversations]
        if self._system == "drop":
            altered |= {i for i, turns in enumerate(given) if len(turns) > len(conversations[i])}
        if self._template == "pair-v1":
            return self._pair_ids(conversations)
        if self._template == "plain-v1":
            return self._plain_ids(conversations, to_answer)
        return [self._begun(ids) for ids in self._chat_ids(conversations, names, to_answer, altered)]

    def spells_control_tokens(self, conversation: Sequence[Message]) -> bool:
        """See `ConversationTokenizer.spells_control_tokens`."""
        return any(self._special.search(message["content"]) for message in conversation)

    def folded(self, conversation: Sequence[Message]) -> Sequence[Message]:
        """See `ConversationTokenizer.folded`."""
        return fold_system(conversation, self._system)

    def _pair_ids(self, conversations: Sequence[Sequence[Message]]) -> list[list[int]]:
        """[CLS] prompt [SEP] response [SEP], as the tokenizer writes a pair of texts."""
        prompts = [
            turns[0]["content"] if len(turns) == 2 else "\n\n".join(map(_plain_line, turns[:-1]))
            for turns in conversations
        ]
        responses = [turns[-1]["content"] for turns in conversations]
        return self._token_ids(prompts, responses, add_special_tokens=True, split_special_tokens=True)

    def _plain_ids(self, conversations: Sequence[Sequence[Message]], to_answer: bool) -> list[list[int]]:
        texts = ["\n\n".join(map(_plain_line, conversation)) for conversation in conversations]
        if not to_answer:
            return self._token_ids(texts, add_special_tokens=True, split_special_tokens=True)
        # Without the end of sequence that some tokenizers add: the answer follows.
        texts = [f"{text}\n\n{_PLAIN_ROLES['assistant']}:" for text in texts]
        begin = [] if self.bos_id is None else [self.bos_id]
        rows = self._token_ids(texts, split_special_tokens=True)
        return [ids if ids[:1] == begin else [*begin, *ids] for ids in rows]

    def _chat_ids(
        self, conversations: Sequence[Sequence[Message]], names: Sequence[str], to_answer: bool, altered: set[int]
    ) -> list[list[int]]:
        rows: list[list[int]] = []
        plain: list[tuple[int, str]] = []
        for i, (turns, name) in enumerate(zip(conversations, names, strict=True)):
            if self.spells_control_tokens(turns):
                ids, is_altered = self._encode_forged(turns, name, to_answer)
            else:
                ids, (text, is_altered) = [], self._renderer(turns, name, to_answer)
                plain.append((i, text))
            if is_altered:
                altered.add(i)
            rows.append(ids)
        for (i, _), ids in zip(plain, self._token_ids([text for _, text in plain]), strict=True):
            rows[i] = ids
        return rows

    def _encode_forged(self, conversation: Sequence[Message], name: str, to_answer: bool) -> tuple[list[int], bool]:
        """Ids of a conversation whose text spells control tokens, with those spelled out as ordinary text; then whether
        the template alters the text.

        The strings travel through the template as private characters that the text does not have; the rendering is
        cut there, and they are encoded apart, with special tokens off.
        """
        text = "".join(message["content"] for message in conversation)
        free = (chr(code) for code in range(_FIRST_PLACEHOLDER, 0x10FFFE) if chr(code) not in text)
        placeholders = dict(zip(self._specials, free, strict=False))
        spelled = {placeholder: special for special, placeholder in placeholders.items()}
        rendered, is_altered = self._renderer(
            [
                {**message, "content": self._special.sub(lambda match: placeholders[match[0]], message["content"])}
                for message in conversation
            ],
            name,
            to_answer,
        )
        ids: list[int] = []
        for piece in re.split(f"([{''.join(spelled)}])", rendered):
            if piece in spelled:
                ids += self._token_ids([spelled[piece]], split_special_tokens=True)[0]
            elif piece:
                ids += self._token_ids([piece])[0]
        return ids, is_altered

    def _begun(self, ids: list[int]) -> list[int]:
        """A chat with its first token as asked for; of the tokenizer's where its own encoding of a text has one."""
        if self._bos == "none":
            first: int | None = self._tokenizer.bos_token_id
            return ids[1:] if len(ids) > 1 and ids[0] == first else ids
        is_begun = self._bos == "template" or (self._bos == "tokenizer" and ids[:1] == [self.bos_id])
        return ids if is_begun or self.bos_id is None else [self.bos_id, *ids]

    def _token_ids(
        self,
        texts: list[str],
        seconds: list[str] | None = None,
        *,
        add_special_tokens: bool = False,
        split_special_tokens: bool = False,
    ) -> list[list[int]]:
        if not texts:
            return []
        try:
            with self._encoding:  # whether special tokens are split is a state of the tokenizer, set by each call
                return self._tokenizer(
                    texts,
                    seconds,
                    add_special_tokens=add_special_tokens,
                    split_special_tokens=split_special_tokens,
                    padding=False,
                    truncation=False,  # also undoes a truncation stored in tokenizer.json
                    return_attention_mask=False,
                    return_token_type_ids=False,
                    verbose=False,
                )["input_ids"]
        except Exception as error:
            raise DataError(
                f"The model's tokenizer fails with {type(error).__name__}: {error}, for a text as {texts[0][:80]!r}."
            ) from error


def _plain_line(message: Message) -> str:
    role = message["role"]
    return f"{_PLAIN_ROLES.get(role, role.capitalize())}: {message['content']}"
