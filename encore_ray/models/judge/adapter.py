"""Multi-label classification of pairs: a rule adapter tells which rules matter, from the text alone.

It is a multi-head model whose outputs are probabilities, one a rule. It reads a pair as one conversation, by the same
packed forward passes that score.
"""

from collections.abc import Sequence

from encore_ray.models.loading.ensemble_scorer import EnsembleScorer, PreparedPairs
from encore_ray.models.spec.conversation import Message
from encore_ray.models.text.pair_prompt import pair_turns


class RuleAdapter(EnsembleScorer):
    """Gives the probability of each rule for pairs; used as an EnsembleScorer, but each pair is one conversation.

    The probabilities of a pair are the scores of its first side; there is none of its second. A single response is
    read with an empty reply beside it: what it gets says nothing.

    Args:
        scoring: the loaded model.
    """

    def __init__(self, scoring: EnsembleScorer):
        self.scorers = scoring.scorers
        self._watch()

    def prepare(
        self,
        prompts: Sequence[Sequence[Message]],
        *,
        chosen: Sequence[Sequence[Message]],
        rejected: Sequence[Sequence[Message] | None],
        pair_ids: Sequence[str],
    ) -> PreparedPairs:
        pairs = [pair_turns(*sides) for sides in zip(prompts, chosen, (side or () for side in rejected), strict=True)]
        nothing: list[list[Message]] = [[] for _ in pairs]
        return super().prepare(nothing, chosen=pairs, rejected=[None] * len(pairs), pair_ids=pair_ids)
