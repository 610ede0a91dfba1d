"""relevance/: how much each rule matters to each pair, and the models that tell it.

A rule adapter tells from prompt and both responses which rules should judge them; a judge from the prompt alone. Both
write relevance/: the units of pairs/, with pair_id, prompt_id, group_id, subset and a float32 column a rule, from 0 to
1, null for a single response. What wrote it decides what `select` makes of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from encore_ray.config import ScoreOptions
from encore_ray.engine.pools import FindResources
from encore_ray.errors import ConfigError, DataError, ModelError
from encore_ray.folder.attempt import Attempt
from encore_ray.folder.reading.table_rules import rules_metadata
from encore_ray.models.judge.questions import (
    ask_relevance,
    questions_digest,
    relevance_question,
    relevance_rules,
)
from encore_ray.models.spec.conversation import Message
from encore_ray.models.text.pair_prompt import pair_prompt_digest
from encore_ray.passes.scorers.model.plan import plan_model
from encore_ray.passes.scorers.model.planned import JudgeModel, ScoringModel
from encore_ray.passes.scorers.outputs import UnitOutputs, write_rows
from encore_ray.rules import RuleSet
from encore_ray.schema import TRUNCATED, relevance_column

if TYPE_CHECKING:
    from encore_ray.models.judge.adapter import RuleAdapter
    from encore_ray.models.judge.judge import Judge


@dataclass(frozen=True)
class AdapterModel(ScoringModel):
    """A rule adapter, as planned on the driver."""

    def load(self) -> "RuleAdapter":
        from encore_ray.models.judge.adapter import RuleAdapter

        return RuleAdapter(super().load())


def plan_adapter(path: str, options: ScoreOptions, *, resources: FindResources) -> AdapterModel:
    """Find a rule adapter, its rules and its identity, without loading its weights.

    Args:
        path: folder, hub id, or URL of a folder on an object store, with a multi-head model of our own form or another.

    Raises:
        ModelError: it is not there, or an output is no probability. ClusterError: its actors do not fit the cluster.
        ConfigError: the strategy asked for would change its outputs, or it shall keep embeddings.
    """
    if options.keep_embeddings:
        raise ConfigError("keep_embeddings: an adapter's embeddings are of pairs, not of responses. Leave it out.")
    model = plan_model(path, options, resources=resources)
    others = [rule.name for rule in model.rules if rule.link != "sigmoid"]
    if others:
        raise ModelError(
            f"{path} is no rule adapter: {len(others)} of its {len(model.rules)} rules have another link than sigmoid, "
            f"first of all {others[0]}, so what it gives is no probability. Train one by `encore-ray train`."
        )
    facts = {**model.facts, "by": "adapter", "pair_prompt": pair_prompt_digest()}
    return AdapterModel(model.path, model.options, model.strategies, facts, rules=model.rules)


def check_same_rules(model: AdapterModel, scored: RuleSet) -> None:
    """DataError where an adapter and scores are of different rules; their order may differ."""
    if set(model.rules.names) != set(scored.names):
        unlike = sorted(set(model.rules.names) ^ set(scored.names))
        raise DataError(
            f"Rules differ: the adapter {model.path} has {len(model.rules)}, the scores have {len(scored)}; only one "
            f"of both has {', '.join(unlike[:5])}{' …' if unlike[5:] else ''}. Train an adapter on a selection of "
            "these scores."
        )


@dataclass(frozen=True)
class RelevanceJudgeModel(JudgeModel):
    """A judge that rates how much each rule matters to a prompt; as planned on the driver."""

    def load(self) -> "Judge":
        from encore_ray.models.judge.relevance_judge import RelevanceJudge

        return self.load_as(RelevanceJudge)

    def asks(self, prompt: Sequence[Message], answer: Sequence[Message]) -> list[Message]:
        return ask_relevance(prompt, self.longest_rule)

    @classmethod
    def of(cls, judge: JudgeModel) -> "RelevanceJudgeModel":
        """The judge of the ratings, asked about relevance instead."""
        rules = relevance_rules(judge.rules)
        facts = {**judge.facts, "by": "judge", "questions": questions_digest(rules, ask=relevance_question)}
        return cls(judge.path, judge.options, judge.strategies, facts, rules=rules)


@dataclass(frozen=True)
class RelevanceWriter:
    """Writes relevance/: one number a pair and rule, which a model or judge gives in place of the first side's scores.

    Pairs whose relevance is not finite go to quarantine.

    Attributes:
        rules: K rules, for the columns.
    """

    rules: RuleSet

    def __call__(self, outputs: UnitOutputs, attempt: Attempt) -> Mapping[str, int]:
        relevance_NK, single_N = outputs.values_N2K[:, 0], outputs.single_N
        relevance = {
            relevance_column(name): pa.array(relevance_NK[:, k].astype(np.float32), mask=single_N)
            for k, name in enumerate(self.rules.names)
        }
        (wrong_W,) = np.nonzero(~np.isfinite(relevance_NK).all(axis=1) & ~single_N)
        truncated = {name: column for name, column in outputs.columns.items() if name == TRUNCATED}
        return write_rows(
            outputs,
            attempt,
            {**relevance, **truncated},
            wrong=dict.fromkeys(wrong_W.tolist(), "a relevance is not finite"),
            metadata={**outputs.metadata, **rules_metadata(self.rules)},
        )
