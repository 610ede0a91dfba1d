"""LLM-as-a-judge of relevance: how much each rule matters to a prompt, before there is a response."""

from collections.abc import Sequence

from encore_ray.models.judge.judge import Judge, PreparedQuestions
from encore_ray.models.judge.questions import Ask, ask_relevance
from encore_ray.models.spec.conversation import Message


class RelevanceJudge(Judge):
    """Rates how much K rules matter to prompts: used as a Judge, but responses are not looked at.

    The relevances of a prompt are the ratings of its pair's first side; there is none of its second. Equal prompts are
    computed once.
    """

    ask: Ask = staticmethod(ask_relevance)

    def prepare(
        self,
        prompts: Sequence[Sequence[Message]],
        *,
        chosen: Sequence[Sequence[Message]],
        rejected: Sequence[Sequence[Message] | None],
        pair_ids: Sequence[str],
    ) -> PreparedQuestions:
        nothing: list[list[Message]] = [[] for _ in prompts]
        return super().prepare(nothing, chosen=prompts, rejected=[None] * len(prompts), pair_ids=pair_ids)
