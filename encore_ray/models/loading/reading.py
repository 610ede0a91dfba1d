"""How a model reads conversations, known without its weights: which template, and what that makes of a job's pairs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from encore_ray.errors import DataError
from encore_ray.models.families.families import open_model
from encore_ray.models.families.model_folder import ModelFolder, Opened
from encore_ray.models.loading.checkpoint import open_conversations
from encore_ray.models.loading.fetch import fetch_members
from encore_ray.models.spec.conversation import Message, Reading
from encore_ray.models.spec.source import ModelSource
from encore_ray.models.text.conversations import ConversationTokenizer

_DIGITS = 12  # of a digest, for people


@dataclass(frozen=True)
class Preview:
    """What a template makes of some pairs.

    Attributes:
        num_pairs: that were tried.
        altered: whose text it drops or changes. made_equal: whose responses it makes the same.
        refused: that it does not take; why: of the first of them.
    """

    num_pairs: int
    altered: int
    made_equal: int
    refused: int
    why: str


class ModelReading:
    """The conversations of a model and of all its members.

    Args:
        source: a folder or hub id.
        reading: how it is to read.
        has_heads: whether it is a model of ours to read heads from; a judge is none.

    Raises:
        ModelError: it has no such template, or one that cannot be read.
    """

    def __init__(self, source: ModelSource, reading: Reading, *, has_heads: bool):
        self._members: list[ConversationTokenizer] = []
        for path in fetch_members(source):
            folder = ModelFolder(source.at(path))
            conversations = open_conversations(folder, _opened(folder, has_heads), max_length=None)
            conversations.read_as(reading)
            self._members.append(conversations)
        self._reading = reading

    @property
    def name(self) -> str:
        """The template of each member, with a digest where it is a chat template."""
        names = [f"{each.template} {(each.digest or '')[:_DIGITS]}".strip() for each in self._members]
        return ", ".join(dict.fromkeys(names))

    @property
    def said(self) -> str:
        """The same for people, with all that is special about it."""
        whose = "" if self._reading.template is None else " (score.template)"
        parts = [f"the template {self.name}{whose}"]
        if any(each.sees_clock for each in self._members):
            parts.append(f"which is told that it is {self._reading.clock}, at any time")
        if self._reading.system != "keep":
            done = {"merge": "go before the user's first words", "drop": "are left out"}[self._reading.system]
            parts.append(f"system turns {done} (score.system)")
        if any(each.template == "plain-v1" for each in self._members):
            parts.append("lines of `User: ...` and `Assistant: ...`: see that the model was trained on such")
        return "; ".join(parts)

    def preview(
        self,
        prompts: Sequence[Sequence[Message]],
        *,
        chosen: Sequence[Sequence[Message]],
        rejected: Sequence[Sequence[Message] | None],
        pair_ids: Sequence[str],
    ) -> Preview:
        """What the templates make of N pairs."""
        altered = made_equal = refused = 0
        why = ""
        for i, pair_id in enumerate(pair_ids):
            try:
                read = [
                    each.tokenize_pairs([prompts[i]], chosen=[chosen[i]], rejected=[rejected[i]], pair_ids=[pair_id])
                    for each in self._members
                ]
            except DataError as error:
                refused, why = refused + 1, why or str(error)
                continue
            altered += any(np.any(pairs.altered) for pairs in read)
            made_equal += any(np.any(pairs.made_equal) for pairs in read)
        return Preview(len(pair_ids), altered, made_equal, refused, why)


def _opened(folder: ModelFolder, has_heads: bool) -> Opened:
    def nothing(_dtype: object) -> None:
        raise AssertionError("it is only read")

    return open_model(folder) if has_heads else Opened((), nothing)  # type: ignore[arg-type]
