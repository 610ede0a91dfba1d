"""Conversations to token ids: one template, one BOS, no forged control tokens, the end always kept.

A tokenizer with a chat template renders by it; any other by `plain-v1`, role lines separated by blank lines:

    User: How do I ...

    Assistant: You ...

A model may read the response alone (`response-v1`): its text as it is, without roles and without the prompt.
"""

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from transformers import PretrainedConfig

from encore_ray.errors import DataError, ModelError
from encore_ray.models.spec.conversation import Message, Reading, System, Template
from encore_ray.models.text.positions import max_conversation, num_positions
from encore_ray.models.text.rendering import Renderer, fold_system

_PLAIN_ROLES = {"system": "System", "user": "User", "assistant": "Assistant", "tool": "Tool"}
_FIRST_PLACEHOLDER = 0x100000  # supplementary private use area B: in no real text, and checked


@dataclass(frozen=True, eq=False)
class TokenizedPairs:
    """N pairs as token ids, each side the whole conversation.

    Attributes:
        chosen_ids: N int32 arrays, one token or more each, at most the maximum length.
        rejected_ids: the same; None where a pair has a single response.
        chosen_tokens, rejected_tokens: int64 [N], tokens before truncation; 0 for a missing rejected.
        chosen_truncated, rejected_truncated: bool [N], whether tokens of the prompt's start were left out.
        altered: bool [N], whether a template dropped or changed text of the pair; empty where that is not known.
        made_equal: bool [N], whether both sides became the same tokens, of other texts.
    """

    chosen_ids: list[np.ndarray]
    rejected_ids: list[np.ndarray | None]
    chosen_tokens: np.ndarray
    rejected_tokens: np.ndarray
    chosen_truncated: np.ndarray
    rejected_truncated: np.ndarray
    altered: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=bool))
    made_equal: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=bool))

    def __len__(self) -> int:
        return len(self.chosen_ids)

    def take(self, which: Sequence[int]) -> "TokenizedPairs":
        """Some of the pairs, by their places."""
        return TokenizedPairs(
            [self.chosen_ids[i] for i in which],
            [self.rejected_ids[i] for i in which],
            *(
                column[list(which)] if len(column) else column
                for column in (
                    self.chosen_tokens,
                    self.rejected_tokens,
                    self.chosen_truncated,
                    self.rejected_truncated,
                    self.altered,
                    self.made_equal,
                )
            ),
        )


class ConversationTokenizer:
    """Renders and tokenises conversations the way one model reads them; several threads may call it.

    Args:
        tokenizer: a transformers tokenizer; its padding settings and its pad token do not matter.
        config: the model's configuration, for its number of positions.
        template: None for the tokenizer's chat template where it has one, else `plain-v1`.
        max_length: in tokens; None for the model's positions, at most 8192.

    Raises:
        ModelError: template `chat` without a chat template, or more tokens than the model has positions.
    """

    def __init__(
        self,
        tokenizer: Any,
        config: PretrainedConfig,
        *,
        template: Template | None = None,
        max_length: int | None = None,
    ):
        self.tokenizer = tokenizer
        self.template: Template = template or default_template(tokenizer)
        if self.template == "chat" and not tokenizer.chat_template:
            raise ModelError("The model was saved with a chat template, but its tokenizer has none. Save both again.")
        positions = num_positions(config)
        if max_length is not None and (max_length < 2 or (positions is not None and max_length > positions)):
            limit = f" and at most {positions}, the positions of the model" if positions else ""
            raise ModelError(f"max_length must be 2 or more{limit}; found {max_length}.")
        self.max_length = max_conversation(config, max_length)
        first_id = next(iter(tokenizer("a", verbose=False)["input_ids"]), None)
        self.bos_id: int | None = first_id if first_id in (tokenizer.bos_token_id, tokenizer.cls_token_id) else None
        specials = {str(token) for token in tokenizer.all_special_tokens}
        specials |= {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
        self._specials = sorted(filter(None, specials), key=lambda token: (-len(token), token))
        self._encoding = threading.Lock()
        self._special = re.compile("|".join(map(re.escape, self._specials)) or r"(?!)")
        self.read_as(Reading())

    def read_as(self, reading: Reading) -> None:
        """Render as asked for, instead of as the model's folder says.

        Raises:
            ModelError: there is no such template, or it cannot be read.
        """
        self._system: System = reading.system
        self._renderer = Renderer(self.tokenizer, reading)
        self.template = self._renderer.template or self.template
        if self.template == "chat":
            self._renderer.check()

    @property
    def digest(self) -> str | None:
        """SHA-256 of the chat template that is used; None of one of ours."""
        return self._renderer.digest if self.template == "chat" else None

    @property
    def sees_clock(self) -> bool:
        """Whether the template asks for the time."""
        return self.template == "chat" and self._renderer.sees_clock

    def tokenize_pairs(
        self,
        prompts: Sequence[Sequence[Message]],
        *,
        chosen: Sequence[Sequence[Message]],
        rejected: Sequence[Sequence[Message] | None],
        pair_ids: Sequence[str] | None = None,
    ) -> TokenizedPairs:
        """Token ids of both conversations of each pair (of both responses, under `response-v1`), in one call.

        Args:
            prompts: N lists of {role, content}: the turns both sides share.
            chosen, rejected: what follows, ending with the assistant's turn; rejected None for a single response.
            pair_ids: N names for error messages; the position in the call when not given.

        Raises:
            DataError: the chat template refuses a conversation, or one has no token at all; it is named.
        """
        if self.template == "response-v1":
            prompts = [()] * len(prompts)
        sides = [[*prompt, *answer] for prompt, answer in zip(prompts, chosen, strict=True)]
        present = [i for i, answer in enumerate(rejected) if answer is not None]
        sides += [[*prompts[i], *(rejected[i] or ())] for i in present]
        names = list(pair_ids) if pair_ids is not None else [f"number {i}" for i in range(len(prompts))]
        names += [names[i] for i in present]
        altered: set[int] = set()
        ids = [np.asarray(row, dtype=np.int32) for row in self.encode(sides, names, altered=altered)]
        empty = [name for name, row in zip(names, ids, strict=True) if not len(row)]
        if empty:
            raise DataError(f"Pair {empty[0]} has a conversation without a single token: nothing to score.")
        num_pairs = len(prompts)
        rejected_ids: list[np.ndarray | None] = [None] * num_pairs
        rejected_tokens = np.zeros(num_pairs, dtype=np.int64)
        for i, row in zip(present, ids[num_pairs:], strict=True):
            rejected_ids[i], rejected_tokens[i] = self.cut(row, len(row) - self.max_length), len(row)
        chosen_tokens = np.array([len(row) for row in ids[:num_pairs]], dtype=np.int64)
        places = {i: num_pairs + number for number, i in enumerate(present)}
        is_equal = [i in places and np.array_equal(ids[i], ids[places[i]]) for i in range(num_pairs)]
        is_altered = [i in altered or places.get(i) in altered for i in range(num_pairs)]
        return TokenizedPairs(
            chosen_ids=[self.cut(row, len(row) - self.max_length) for row in ids[:num_pairs]],
            rejected_ids=rejected_ids,
            chosen_tokens=chosen_tokens,
            rejected_tokens=rejected_tokens,
            chosen_truncated=chosen_tokens > self.max_length,
            rejected_truncated=rejected_tokens > self.max_length,
            altered=np.array(is_altered, dtype=bool),
            made_equal=np.array([is_equal[i] and chosen[i] != rejected[i] for i in range(num_pairs)], dtype=bool),
        )

    def cut(self, ids: np.ndarray, num_tokens: int) -> np.ndarray:
        """Cut tokens from the left, behind the BOS: what a conversation ends with decides its score."""
        if num_tokens <= 0:
            return ids
        start = 1 if ids[0] == self.bos_id else 0
        return np.concatenate([ids[:start], ids[start + num_tokens :]])

    def encode(
        self,
        conversations: Sequence[Sequence[Message]],
        names: Sequence[str],
        *,
        to_answer: bool = False,
        altered: set[int] | None = None,
    ) -> list[list[int]]:
        """Token ids of whole conversations, however long.

        Args:
            conversations: N lists of {role, content}.
            names: N names for error messages.
            to_answer: end where the assistant's next turn begins.
            altered: takes the places of those whose text the template drops or changes.

        Raises:
            DataError: the chat template refuses a conversation; it is named.
        """
        if not conversations:
            return []
        if self.template == "response-v1":
            texts = ["\n\n".join(message["content"] for message in response) for response in conversations]
            return self._token_ids(texts, add_special_tokens=True, split_special_tokens=True)
        given, conversations = conversations, [fold_system(turns, self._system) for turns in conversations]
        altered = set() if altered is None else altered
        if self._system == "drop":
            altered |= {i for i, turns in enumerate(given) if len(turns) > len(conversations[i])}
        if self.template == "plain-v1":
            texts = ["\n\n".join(map(_plain_line, conversation)) for conversation in conversations]
            if not to_answer:
                return self._token_ids(texts, add_special_tokens=True, split_special_tokens=True)
            # Without the end of sequence that some tokenizers add: the answer follows.
            texts = [f"{text}\n\n{_PLAIN_ROLES['assistant']}:" for text in texts]
            return [self._with_one_bos(ids) for ids in self._token_ids(texts, split_special_tokens=True)]
        rows: list[list[int]] = []
        plain: list[tuple[int, str]] = []
        for i, (turns, name) in enumerate(zip(conversations, names, strict=True)):
            is_forged = any(self._special.search(message["content"]) for message in turns)
            ids, text, is_altered = self._encode_forged(turns, name, to_answer) if is_forged else ([], "", False)
            if not is_forged:
                text, is_altered = self._renderer(turns, name, to_answer)
                plain.append((i, text))
            if is_altered:
                altered.add(i)
            rows.append(ids)
        for (i, _), ids in zip(plain, self._token_ids([text for _, text in plain]), strict=True):
            rows[i] = ids
        return [self._with_one_bos(ids) for ids in rows]

    def _encode_forged(
        self, conversation: Sequence[Message], name: str, to_answer: bool
    ) -> tuple[list[int], str, bool]:
        """Ids of a conversation whose text spells control tokens, with those spelled out as ordinary text; then its
        rendering, and whether that alters the text.

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
        return ids, rendered, is_altered

    def _with_one_bos(self, ids: list[int]) -> list[int]:
        """One BOS where the tokenizer's own encoding has one, whether the template writes it or not; never two."""
        if self.bos_id is None:
            return ids
        return [self.bos_id, *ids] if ids[:1] != [self.bos_id] else ids

    def _token_ids(
        self, texts: list[str], *, add_special_tokens: bool = False, split_special_tokens: bool = False
    ) -> list[list[int]]:
        if not texts:
            return []
        try:
            with self._encoding:  # whether special tokens are split is a state of the tokenizer, set by each call
                return self.tokenizer(
                    texts,
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


def default_template(tokenizer: Any) -> Template:
    """The template a tokenizer is used with when nothing else is recorded."""
    return "chat" if tokenizer.chat_template else "plain-v1"


def _plain_line(message: Message) -> str:
    role = message["role"]
    return f"{_PLAIN_ROLES.get(role, role.capitalize())}: {message['content']}"
