"""A rule adapter: which rules matter to a pair, read from its text alone.

It is a multi-head model whose outputs are probabilities, one a rule. It reads a pair as one conversation, by the same
packed forward passes that score.
"""

import hashlib
import itertools
from collections.abc import Sequence

from encore_ray.models.loading.scoring import Prepared, Scoring
from encore_ray.models.text.conversations import Message
from encore_ray.models.text.pair_prompt import pair_turns


class RuleAdapter(Scoring):
    """Gives the probability of each rule for pairs; used as Scoring is, but each pair is one conversation.

    The probabilities of a pair are the scores of its first side; there is none of its second. A single response is
    read with an empty reply beside it: what it gets says nothing.

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
    """SHA-256 of all that a pair's prompt adds to the pair: another wording or order is another reading."""
    replies: list[list[Message]] = [[{"role": "assistant", "content": text}] for text in "abc"]
    texts = [pair_turns((), *pair)[0]["content"] for pair in itertools.permutations(replies, 2)]
    return hashlib.sha256("\n\n".join(texts).encode()).hexdigest()
