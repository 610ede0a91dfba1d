"""Conversations to token ids: one template, one BOS, no forged control tokens, the end always kept.

A tokenizer with a chat template renders by it; any other by `plain-v1`, role lines separated by blank lines:

    User: How do I ...

    Assistant: You ...

An encoder trained on pairs reads two texts, the prompt and the response (`pair-v1`): [CLS] prompt [SEP] response [SEP].
A model may read the response alone (`response-v1`): its text as it is, without roles and without the prompt.
"""

import contextlib
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jinja2 import TemplateError
from transformers import PretrainedConfig

from encore_ray.errors import DataError, ModelError
from encore_ray.models.files.vocabulary import PROBE, refuse_tokens
from encore_ray.models.spec.conversation import Message, Template
from encore_ray.models.text.positions import max_conversation, num_positions

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
    """

    chosen_ids: list[np.ndarray]
    rejected_ids: list[np.ndarray | None]
    chosen_tokens: np.ndarray
    rejected_tokens: np.ndarray
    chosen_truncated: np.ndarray
    rejected_truncated: np.ndarray

    def __len__(self) -> int:
        return len(self.chosen_ids)

    def take(self, which: Sequence[int]) -> "TokenizedPairs":
        """Some of the pairs, by their places."""
        return TokenizedPairs(
            [self.chosen_ids[i] for i in which],
            [self.rejected_ids[i] for i in which],
            *(
                column[list(which)]
                for column in (
                    self.chosen_tokens,
                    self.rejected_tokens,
                    self.chosen_truncated,
                    self.rejected_truncated,
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
        adds_bos: a chat begins with the tokenizer's BOS also where its template writes none.
        skips: id of a token, copies of which at the end of a conversation are not read.
        ends_with: id of a token that is put behind every conversation which does not end with it.

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
        adds_bos: bool = True,
        skips: int | None = None,
        ends_with: int | None = None,
    ):
        self.tokenizer = tokenizer
        self.num_embeddings: int | None = getattr(config.get_text_config(), "vocab_size", None)
        self.adds_bos, self.skips, self._ends_with = adds_bos, skips, ends_with
        self.template: Template = template or default_template(tokenizer)
        if self.template == "chat" and not tokenizer.chat_template:
            raise ModelError("The model was saved with a chat template, but its tokenizer has none. Save both again.")
        if self.template == "pair-v1" and getattr(config.get_text_config(), "type_vocab_size", 0) > 1:
            raise ModelError(
                "template pair: the model tells the two texts apart by token types, which are not written here. Leave "
                "score.template out."
            )
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
        ids = [np.asarray(self._ended(row), dtype=np.int32) for row in self.encode(sides, names)]
        self.check_known(ids)
        empty = [name for name, row in zip(names, ids, strict=True) if not len(row)]
        if empty:
            raise DataError(f"Pair {empty[0]} has a conversation without a single token: nothing to score.")
        num_pairs = len(prompts)
        rejected_ids: list[np.ndarray | None] = [None] * num_pairs
        rejected_tokens = np.zeros(num_pairs, dtype=np.int64)
        for i, row in zip(present, ids[num_pairs:], strict=True):
            rejected_ids[i], rejected_tokens[i] = self._read_part(row), len(row)
        chosen_tokens = np.array([len(row) for row in ids[:num_pairs]], dtype=np.int64)
        return TokenizedPairs(
            chosen_ids=[self._read_part(row) for row in ids[:num_pairs]],
            rejected_ids=rejected_ids,
            chosen_tokens=chosen_tokens,
            rejected_tokens=rejected_tokens,
            chosen_truncated=chosen_tokens > self.max_length,
            rejected_truncated=rejected_tokens > self.max_length,
        )

    def _read_part(self, ids: np.ndarray) -> np.ndarray:
        """What of a conversation goes into the model: no more than it takes, and up to the token that is read."""
        ids = self.cut(ids, len(ids) - self.max_length)
        if self.skips is None or ids[-1] != self.skips:
            return ids
        kept = np.flatnonzero(ids != self.skips)
        return ids[: kept[-1] + 1] if len(kept) else ids[:1]  # of nothing but pads transformers reads the first

    def check_known(self, rows: Sequence[np.ndarray]) -> None:
        """Make sure that the model has an embedding for every token; ModelError where it does not."""
        if (
            self.num_embeddings is None
            or max((int(row.max(initial=0)) for row in rows), default=0) < self.num_embeddings
        ):
            return
        beyond = sorted({int(each) for row in rows for each in row[row >= self.num_embeddings]})
        raise refuse_tokens(self.tokenizer, beyond, self.num_embeddings)

    def check_vocabulary(self) -> None:
        """Tokenise a short conversation; ModelError where its template writes tokens that the model does not have."""
        turns: list[Message] = [{"role": "user", "content": PROBE}, {"role": "assistant", "content": PROBE}]
        with contextlib.suppress(DataError):  # whether the template takes a job's conversations is seen in them
            self.tokenize_pairs([turns[:1]], chosen=[turns[1:]], rejected=[None])

    def _ended(self, ids: list[int]) -> list[int]:
        end = self._ends_with
        return ids if end is None or ids[-1:] == [end] else [*ids, end]

    def cut(self, ids: np.ndarray, num_tokens: int) -> np.ndarray:
        """Cut tokens from the left, behind the BOS: what a conversation ends with decides its score."""
        if num_tokens <= 0:
            return ids
        start = 1 if ids[0] == self.bos_id else 0
        return np.concatenate([ids[:start], ids[start + num_tokens :]])

    def encode(
        self, conversations: Sequence[Sequence[Message]], names: Sequence[str], *, to_answer: bool = False
    ) -> list[list[int]]:
        """Token ids of whole conversations, however long.

        Args:
            conversations: N lists of {role, content}.
            names: N names for error messages.
            to_answer: end where the assistant's next turn begins.

        Raises:
            DataError: the chat template refuses a conversation; it is named.
        """
        if not conversations:
            return []
        if self.template == "response-v1":
            texts = ["\n\n".join(message["content"] for message in response) for response in conversations]
            return self._token_ids(texts, add_special_tokens=True, split_special_tokens=True)
        if self.template == "pair-v1":
            return self._pair_ids(conversations)
        if self.template == "plain-v1":
            texts = ["\n\n".join(map(_plain_line, conversation)) for conversation in conversations]
            if not to_answer:
                return self._token_ids(texts, add_special_tokens=True, split_special_tokens=True)
            # Without the end of sequence that some tokenizers add: the answer follows.
            texts = [f"{text}\n\n{_PLAIN_ROLES['assistant']}:" for text in texts]
            begin = [] if self.bos_id is None else [self.bos_id]
            rows = self._token_ids(texts, split_special_tokens=True)
            return [ids if ids[:1] == begin else [*begin, *ids] for ids in rows]
        forged = [any(self._special.search(message["content"]) for message in turns) for turns in conversations]
        texts = [
            self._render(turns, name, to_answer)
            for turns, name, is_forged in zip(conversations, names, forged, strict=True)
            if not is_forged
        ]
        plain_ids = iter(self._token_ids(texts))
        return [
            self._with_one_bos(self._encode_forged(turns, name, to_answer) if is_forged else next(plain_ids))
            for turns, name, is_forged in zip(conversations, names, forged, strict=True)
        ]

    def _pair_ids(self, conversations: Sequence[Sequence[Message]]) -> list[list[int]]:
        """[CLS] prompt [SEP] response [SEP], as the tokenizer writes a pair of texts."""
        prompts = [
            turns[0]["content"] if len(turns) == 2 else "\n\n".join(map(_plain_line, turns[:-1]))
            for turns in conversations
        ]
        with self._encoding:
            return self.tokenizer(
                prompts,
                [turns[-1]["content"] for turns in conversations],
                split_special_tokens=True,
                padding=False,
                truncation=False,
                return_attention_mask=False,
                return_token_type_ids=False,
                verbose=False,
            )["input_ids"]

    def _encode_forged(self, conversation: Sequence[Message], name: str, to_answer: bool) -> list[int]:
        """Ids of a conversation whose text spells control tokens, with those spelled out as ordinary text.

        The strings travel through the template as private characters that the text does not have; the rendering is
        cut there, and they are encoded apart, with special tokens off.
        """
        text = "".join(message["content"] for message in conversation)
        free = (chr(code) for code in range(_FIRST_PLACEHOLDER, 0x10FFFE) if chr(code) not in text)
        placeholders = dict(zip(self._specials, free, strict=False))
        spelled = {placeholder: special for special, placeholder in placeholders.items()}
        rendered = self._render(
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
        return ids

    def _render(self, conversation: Sequence[Message], name: str, to_answer: bool) -> str:
        # Of templates that can do so, an answer comes at once, without thoughts before it.
        thoughts = {"enable_thinking": False} if to_answer else {}
        try:
            return self.tokenizer.apply_chat_template(
                conversation, tokenize=False, add_generation_prompt=to_answer, **thoughts
            )
        except TemplateError as error:
            raise DataError(
                f"The model's chat template refuses pair {name} (roles: "
                f"{', '.join(message['role'] for message in conversation)}): {error}. Prepare it without such turns."
            ) from error

    def _with_one_bos(self, ids: list[int]) -> list[int]:
        """One BOS where the tokenizer's own encoding has one, whether the template writes it or not; never two."""
        if self.bos_id is None or not self.adds_bos:
            return ids
        return [self.bos_id, *ids] if ids[:1] != [self.bos_id] else ids

    def _token_ids(
        self, texts: list[str], *, add_special_tokens: bool = False, split_special_tokens: bool = False
    ) -> list[list[int]]:
        if not texts:
            return []
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


def default_template(tokenizer: Any) -> Template:
    """The template a tokenizer is used with when nothing else is recorded."""
    return "chat" if tokenizer.chat_template else "plain-v1"


def _plain_line(message: Message) -> str:
    role = message["role"]
    return f"{_PLAIN_ROLES.get(role, role.capitalize())}: {message['content']}"
