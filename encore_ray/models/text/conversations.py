"""Conversations to token ids: one template, one BOS, no forged control tokens, the end always kept.

A tokenizer with a chat template renders by it; any other by `plain-v1`, role lines separated by blank lines:

    User: How do I ...

    Assistant: You ...

An encoder trained on pairs reads two texts, the prompt and the response (`pair-v1`): [CLS] prompt [SEP] response [SEP].
A model may read the response alone (`response-v1`): its text as it is, without roles and without the prompt.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from transformers import PretrainedConfig

from encore_ray.errors import DataError, ModelError
from encore_ray.models.files.vocabulary import PROBE, refuse_tokens
from encore_ray.models.spec.conversation import Bos, Message, Reading, Template
from encore_ray.models.text.encoding import ConversationEncoder
from encore_ray.models.text.positions import max_conversation, most_positions
from encore_ray.models.text.rendering import Renderer


@dataclass(frozen=True, eq=False)
class TokenizedPairs:
    """N pairs as token ids, each side the whole conversation.

    Attributes:
        chosen_ids: N int32 arrays, one token or more each, at most the maximum length.
        rejected_ids: the same; None where a pair has a single response.
        chosen_tokens, rejected_tokens: int64 [N], tokens before truncation; 0 for a missing rejected.
        chosen_truncated, rejected_truncated: bool [N], whether tokens of the prompt's start were left out.
        altered: bool [N], whether a template dropped or changed text of the pair; empty where that is not known.
        made_equal: bool [N], whether both sides became the same tokens, of other texts: by the template, or cut.
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
        template: of the model, by its folder; None for the tokenizer's chat template where it has one, else `plain-v1`.
        reading: what is asked for instead: template, system turns and clock. Its bos and ending come as the next two.
        max_length: in tokens; None for the model's positions, at most 8192.
        bos: who writes the first token of a chat, see `Reading`.
        skips: id of a token, copies of which at the end of a conversation are not read.
        ends_with: id of a token that is put behind every conversation which does not end with it.
        closes: newlines that would stand in front of that token or behind it are left out.

    Raises:
        ModelError: a template that is not there, cannot be read, or is not for such a model; or more tokens than the
            model has positions.
    """

    def __init__(
        self,
        tokenizer: Any,
        config: PretrainedConfig,
        *,
        template: Template | None = None,
        reading: Reading | None = None,
        max_length: int | None = None,
        bos: Bos = "tokenizer",
        skips: int | None = None,
        ends_with: int | None = None,
        closes: bool = False,
    ):
        reading = reading or Reading()
        self.tokenizer = tokenizer
        self.num_embeddings: int | None = getattr(config.get_text_config(), "vocab_size", None)
        self.skips, self._ends_with, self._closes = skips, ends_with, closes
        self.bos: Bos = bos
        self._renderer = Renderer(tokenizer, reading)
        self.template: Template = self._renderer.template or template or default_template(tokenizer)
        if self.template == "chat":
            if reading.source is None and not tokenizer.chat_template:
                raise ModelError(
                    "The model was saved with a chat template, but its tokenizer has none. Save both again."
                )
            self._renderer.check()
        if self.template == "pair-v1" and getattr(config.get_text_config(), "type_vocab_size", 0) > 1:
            raise ModelError(
                "template pair: the model tells the two texts apart by token types, which are not written here. Leave "
                "score.template out."
            )
        positions = most_positions(config)
        if max_length is not None and (max_length < 2 or (positions is not None and max_length > positions)):
            limit = f" and at most {positions}, the positions of the model" if positions else ""
            raise ModelError(f"max_length must be 2 or more{limit}; found {max_length}.")
        self.max_length = max_conversation(config, max_length)
        self._encoder = ConversationEncoder(tokenizer, self.template, self._renderer, system=reading.system, bos=bos)

    @property
    def bos_id(self) -> int | None:
        """What the tokenizer itself begins a text with; None where that is no BOS."""
        return self._encoder.bos_id

    @property
    def chat_template(self) -> str | None:
        """Text of the chat template that is used; None of one of ours, or of a tokenizer that renders by code."""
        return None if self.template != "chat" or self._renderer.is_foreign else self._renderer.source

    @property
    def digest(self) -> str | None:
        """SHA-256 of the chat template that is used; None of one of ours."""
        return self._renderer.digest if self.template == "chat" else None

    @property
    def sees_clock(self) -> bool:
        """Whether the template asks for the time."""
        return self.template == "chat" and self._renderer.sees_clock

    def spells_control_tokens(self, conversation: Sequence[Message]) -> bool:
        """Whether a text of it spells a control token, which stays text."""
        return self._encoder.spells_control_tokens(conversation)

    def folded(self, conversation: Sequence[Message]) -> Sequence[Message]:
        """The turns that the template is given: system turns are where they are asked to be."""
        return self._encoder.folded(conversation)

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
        ids = [np.asarray(self._ended(row), dtype=np.int32) for row in self.encode(sides, names, altered=altered)]
        self.check_known(ids)
        empty = [name for name, row in zip(names, ids, strict=True) if not len(row)]
        if empty:
            raise DataError(f"Pair {empty[0]} has a conversation without a single token: nothing to score.")
        num_pairs = len(prompts)
        rejected_ids: list[np.ndarray | None] = [None] * num_pairs
        rejected_tokens = np.zeros(num_pairs, dtype=np.int64)
        for i, row in zip(present, ids[num_pairs:], strict=True):
            rejected_ids[i], rejected_tokens[i] = self._read_part(row), len(row)
        chosen_ids = [self._read_part(row) for row in ids[:num_pairs]]
        chosen_tokens = np.array([len(row) for row in ids[:num_pairs]], dtype=np.int64)
        places = {i: num_pairs + number for number, i in enumerate(present)}
        is_equal = [
            i in places and chosen[i] != rejected[i] and np.array_equal(chosen_ids[i], rejected_ids[i])  # type: ignore[arg-type]
            for i in range(num_pairs)
        ]
        is_altered = [i in altered or places.get(i) in altered for i in range(num_pairs)]
        return TokenizedPairs(
            chosen_ids=chosen_ids,
            rejected_ids=rejected_ids,
            chosen_tokens=chosen_tokens,
            rejected_tokens=rejected_tokens,
            chosen_truncated=chosen_tokens > self.max_length,
            rejected_truncated=rejected_tokens > self.max_length,
            altered=np.array(is_altered, dtype=bool),
            made_equal=np.array(is_equal, dtype=bool),
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
        if end is None:
            return ids
        while self._closes and len(ids) > 1 and ids[-1] != end and not self.tokenizer.decode(ids[-1:]).strip("\n"):
            ids = ids[:-1]
        return ids if ids[-1:] == [end] else [*ids, end]

    def cut(self, ids: np.ndarray, num_tokens: int) -> np.ndarray:
        """Cut tokens from the left, behind the BOS: what a conversation ends with decides its score."""
        if num_tokens <= 0:
            return ids
        start = 0
        while start < min(2, len(ids)) and ids[start] == self.bos_id:
            start += 1
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
        altered = set() if altered is None else altered
        return self._encoder(conversations, names, to_answer=to_answer, altered=altered)


def default_template(tokenizer: Any) -> Template:
    """The template a tokenizer is used with when nothing else is recorded."""
    return "chat" if tokenizer.chat_template else "plain-v1"
