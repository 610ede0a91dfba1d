"""A rule adapter: which rules matter to a pair, read from its text alone.

It is a multi-head model whose outputs are probabilities, one a rule. It reads a pair as one conversation, by the same
packed forward passes that score.
"""

import hashlib
from collections.abc import Sequence

from encore_ray.models.conversations import Message
from encore_ray.models.pair_prompt import pair_turns
from encore_ray.models.scoring import Prepared, Scoring


class RuleAdapter(Scoring):
    """Gives the probability of each rule for pairs; used as Scoring is, but each pair is one conversation.

    The probabilities of a pair are the scores of its first side; there is none of its second. A single response is
    read with an empty second reply: what it gets says nothing.

    Args:
        scoring: the loaded model.
    """

    def __init__(self, scoring: Scoring):
        self.scorers = scoring.scorers
        self._watch()

    def prepare(
        self,
        prompts: Sequence[Sequence[Message]],
        *,
        chosen: Sequence[Sequence[Message]],
        rejected: Sequence[Sequence[Message] | None],
        pair_ids: Sequence[str],
    ) -> Prepared:
        pairs = [pair_turns(*sides) for sides in zip(prompts, chosen, (side or () for side in rejected), strict=True)]
        nothing: list[list[Message]] = [[] for _ in pairs]
        return super().prepare(nothing, chosen=pairs, rejected=[None] * len(pairs), pair_ids=pair_ids)


def pair_prompt_digest() -> str:
    """SHA-256 of all that a pair's prompt says beside the pair: another wording is another reading."""
    return hashlib.sha256(pair_turns((), (), ())[0]["content"].encode()).hexdigest()
