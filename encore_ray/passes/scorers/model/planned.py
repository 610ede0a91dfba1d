"""The model of a pass as it is planned on the driver: what it is, how it is run, and what decides its outputs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from encore_ray.config import ScoreOptions
from encore_ray.models.judge.questions import ask_rating, question
from encore_ray.models.spec.conversation import Message
from encore_ray.models.spec.forward import BudgetSearch, StrategyChoice
from encore_ray.models.spec.load_options import LoadOptions
from encore_ray.models.spec.source import ModelSource
from encore_ray.passes.scorers.model.place import local_model
from encore_ray.passes.scorers.model.reading import reading_of
from encore_ray.rules import Rule, RuleSet

if TYPE_CHECKING:
    from encore_ray.models.judge.judge import Judge
    from encore_ray.models.loading.ensemble_scorer import EnsembleScorer
    from encore_ray.models.loading.identity import ModelIdentity

SEARCH = "search"  # instead of a token budget
MODEL = "model"  # fact: the digest of the model's files
TEMPLATE = "template"  # fact: the name of the template that is used, and the digest of a chat template

# Where a model lies: the same weights in another folder give the same outputs.
# The template follows from the model's files, and what else decides it is a fact of its own: `reading_facts`.
_UNDECISIVE = ("model_source", "revision", TEMPLATE)


@dataclass(frozen=True)
class PlannedModel:
    """A model of any kind, as planned.

    Attributes:
        path: folder, hub id or URL.
        options: how it is loaded and fed.
        strategies: one a member model, with what decided it.
        facts: what decides its outputs, as JSON values; `batch_tokens` is "search" until a number has been found.
        search: how that number was found, if it was.
    """

    path: str
    options: ScoreOptions
    strategies: tuple[StrategyChoice, ...]
    facts: Mapping[str, Any]
    search: BudgetSearch | None = None

    def load(self) -> "EnsembleScorer":
        """Load it in this process."""
        raise NotImplementedError

    def require(self) -> "ModelIdentity":
        """The model on this node, which must be the one that was planned; ModelError where it is another."""
        from encore_ray.models.loading.identity import require_model

        return require_model(local_model(self.source), self.facts[MODEL], name=self.path)

    @property
    def outputs_fingerprint(self) -> str:
        """Which numbers it gives, in their order."""
        raise NotImplementedError

    @property
    def decisive_facts(self) -> dict[str, Any]:
        """The facts that outputs are compared by: where the model lies is recorded, not compared."""
        facts = {key: value for key, value in self.facts.items() if key not in _UNDECISIVE}
        return {**facts, "rules": self.outputs_fingerprint}

    @property
    def source(self) -> ModelSource:
        """The model as it was found, wherever a branch of its repository has moved on to since."""
        options = self.options
        revision = self.facts["revision"] or options.revision
        return ModelSource(self.path, revision, options.trust_remote_code, options.allow_pickle)

    @property
    def load_options(self) -> LoadOptions:
        """How every actor runs it."""
        gpus = self.options.gpus_per_actor or 1
        return LoadOptions(
            dtype=self.facts["dtype"],
            device=self.facts["device"],
            max_length=self.options.max_tokens,
            batch_tokens=None if self.facts["batch_tokens"] == SEARCH else self.facts["batch_tokens"],
            compile=self.options.compile,
            split=gpus > 1,
            gpu_share=gpus,
            reading=reading_of(self.options),
        )


@dataclass(frozen=True)
class ScoringModel(PlannedModel):
    """A multi-head reward model.

    Attributes:
        rules: of its heads.
    """

    rules: RuleSet = field(kw_only=True)

    def load(self) -> "EnsembleScorer":
        from encore_ray.models.loading.ensemble_scorer import load_scorer

        return load_scorer(
            local_model(self.source),
            self.load_options,
            strategies=[choice.strategy for choice in self.strategies],
            rules=self.rules,
            keep_embeddings=self.options.keep_embeddings,
        )

    @property
    def outputs_fingerprint(self) -> str:
        return self.rules.scoring_fingerprint


@dataclass(frozen=True)
class JudgeModel(ScoringModel):
    """A causal language model that rates under the rules."""

    def load(self) -> "Judge":
        from encore_ray.models.judge.judge import Judge

        return self.load_as(Judge)

    def asks(self, prompt: Sequence[Message], answer: Sequence[Message]) -> list[Message]:
        """What it reads of a prompt and a response, under the rule that makes the longest question."""
        return ask_rating([*prompt, *answer], self.longest_rule)

    @property
    def longest_rule(self) -> Rule:
        """The rule that makes the longest question."""
        return max(self.rules, key=lambda rule: len(question(rule)))

    def load_as(self, kind: "type[Judge]") -> "Judge":
        """Load it to rate what that kind of judge rates."""
        from encore_ray.models.judge.judge import load_judge

        source, strategy = local_model(self.source), self.strategies[0].strategy
        return load_judge(source, self.load_options, strategy=strategy, rules=self.rules, kind=kind)
