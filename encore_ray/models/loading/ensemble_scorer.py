"""Ensemble inference: one model, or several that act as one, from conversations to scores.

`prepare` is the work of a CPU and may overlap `score`, which is the work of the device and for one thread at a time.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from torch._dynamo.exc import TorchDynamoException

from encore_ray.errors import ModelError
from encore_ray.models.forward.body_model import BodyModel
from encore_ray.models.forward.budget import find_budget, score_within_memory, unless_out_of_memory
from encore_ray.models.forward.occupancy import Occupancy, Occupied
from encore_ray.models.forward.scorer import PairScorer, Plan
from encore_ray.models.forward.selfcheck import check_scorer
from encore_ray.models.loading.checkpoint import load_models
from encore_ray.models.spec.conversation import Message
from encore_ray.models.spec.forward import BudgetSearch, Strategy
from encore_ray.models.spec.load_options import LoadOptions
from encore_ray.models.spec.source import ModelSource
from encore_ray.models.text.conversations import TokenizedPairs
from encore_ray.rules import RuleSet


@dataclass(frozen=True, eq=False)
class PreparedPairs:
    """N pairs as every member reads them, and the forward passes planned for them.

    Attributes:
        pairs, plans: one a member.
    """

    pairs: tuple[TokenizedPairs, ...]
    plans: tuple[Plan, ...]

    @property
    def chosen_tokens_N(self) -> np.ndarray:
        """Tokens before truncation, as the first member reads them."""
        return self.pairs[0].chosen_tokens

    @property
    def rejected_tokens_N(self) -> np.ndarray:
        """The same of the rejected side; 0 where there is none."""
        return self.pairs[0].rejected_tokens

    @property
    def truncated_N(self) -> np.ndarray:
        """Whether any member leaves out tokens of a side."""
        return np.any([member.chosen_truncated | member.rejected_truncated for member in self.pairs], axis=0)

    @property
    def altered_N(self) -> np.ndarray:
        """Whether a template drops or changes text of the pair; empty where none tells."""
        return np.any([member.altered for member in self.pairs], axis=0)

    @property
    def made_equal_N(self) -> np.ndarray:
        """Whether a template, or cutting, makes both sides the same; empty where none tells."""
        return np.any([member.made_equal for member in self.pairs], axis=0)

    @property
    def num_tokens(self) -> int:
        """Tokens of all sequences of all members, after truncation."""
        return sum(plan.num_tokens for plan in self.plans)


@dataclass(frozen=True, eq=False)
class ScoredPairs:
    """Scores of N pairs, and what they took.

    Attributes:
        scores_N2K: float32, rules of all members; NaN for no response.
        embeddings_N2D: float32, what enters the heads of all members, one behind the other; D is 0 where none is kept.
        too_long: places of pairs for which the device's memory does not do even one response at a time.
        num_computed: token slots that went through the models.
        batch_tokens: the smaller budget that it took where memory ran out, else None.
        occupied: with and without a forward pass since the call before.
    """

    scores_N2K: np.ndarray
    embeddings_N2D: np.ndarray
    too_long: tuple[int, ...]
    num_computed: int
    batch_tokens: int | None
    occupied: Occupied


class EnsembleScorer:
    """Scores conversations with one or more models; the rules of the members follow each other.

    Args:
        models: loaded.
        strategies: one a member, exact for it.
        batch_tokens: token budget of a forward pass, None: the default of the device.
    """

    def __init__(self, models: Sequence[BodyModel], *, strategies: Sequence[Strategy], batch_tokens: int | None = None):
        self.scorers = [
            PairScorer(model, strategy=strategy, batch_tokens=batch_tokens)
            for model, strategy in zip(models, strategies, strict=True)
        ]
        self._watch()

    def _watch(self) -> None:
        """Begin to tell time with a forward pass from time without one."""
        self._occupancy = Occupancy(self.scorers[0].model.device)
        for scorer in self.scorers:
            scorer.occupancy = self._occupancy

    def prepare(
        self,
        prompts: Sequence[Sequence[Message]],
        *,
        chosen: Sequence[Sequence[Message]],
        rejected: Sequence[Sequence[Message] | None],
        pair_ids: Sequence[str],
    ) -> PreparedPairs:
        """Tokenise for every member and plan; needs no device.

        Args:
            prompts, chosen, rejected, pair_ids: of N pairs, see ConversationTokenizer.tokenize_pairs.

        Raises:
            DataError: a member's chat template refuses a conversation, or one has no token; it is named.
        """
        pairs = tuple(
            scorer.model.conversations.tokenize_pairs(prompts, chosen=chosen, rejected=rejected, pair_ids=pair_ids)
            for scorer in self.scorers
        )
        plans = tuple(scorer.plan(member) for scorer, member in zip(self.scorers, pairs, strict=True))
        return PreparedPairs(pairs, plans)

    def score(self, prepared: PreparedPairs) -> ScoredPairs:
        """Run the planned forward passes; within less memory where a device has not enough for them."""
        members = zip(self.scorers, prepared.pairs, prepared.plans, strict=True)
        fitted = [score_within_memory(scorer, pairs, plan) for scorer, pairs, plan in members]
        sides = [
            np.split(one.scores_N2K, [scorer.model.num_scores], axis=2)
            for one, scorer in zip(fitted, self.scorers, strict=True)
        ]
        reduced = [
            one.batch_tokens
            for one, scorer in zip(fitted, self.scorers, strict=True)
            if one.batch_tokens != scorer.batch_tokens
        ]
        return ScoredPairs(
            scores_N2K=np.concatenate([scores_N2K for scores_N2K, _ in sides], axis=2),
            embeddings_N2D=np.concatenate([embeddings_N2D for _, embeddings_N2D in sides], axis=2),
            too_long=tuple(sorted({i for one in fitted for i in one.too_long})),
            num_computed=sum(one.num_computed for one in fitted),
            batch_tokens=min(reduced, default=None),
            occupied=self._occupancy.take(),
        )

    def check(self, prepared: PreparedPairs, *, name: str) -> bool:
        """Make sure that every member's strategy gives the scores that the model gives one by one.

        Args:
            prepared: of the job's own pairs; where memory does not do for the long ones, shorter ones are checked.
            name: of the model.

        Returns:
            Whether there was a pair to check for every member.

        Raises:
            ModelError: it does not, or a body that was to be compiled cannot be.
        """
        check = partial(check_scorer, name=name)
        was_checked = True
        with _explained_compilation(name):
            for scorer, pairs in zip(self.scorers, prepared.pairs, strict=True):
                while len(pairs) and unless_out_of_memory(check, scorer, pairs) is None:
                    tokens_N = pairs.chosen_tokens + pairs.rejected_tokens
                    pairs = pairs.take(np.argsort(tokens_N, kind="stable")[: len(pairs) // 2].tolist())
                was_checked &= len(pairs) > 0
        self._watch()  # a check is nobody's waiting
        return was_checked

    def find_budget(self, prepared: PreparedPairs, *, name: str) -> BudgetSearch:
        """The token budget that suits these models and pairs; see `budget.find_budget`."""
        with _explained_compilation(name):
            return find_budget(self.scorers, prepared.pairs)


@contextlib.contextmanager
def _explained_compilation(name: str) -> Iterator[None]:
    try:
        yield
    except TorchDynamoException as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise ModelError(f"{name} cannot be compiled here: {reason} Score without compile.") from error


def load_scorer(
    source: ModelSource,
    options: LoadOptions,
    *,
    strategies: Sequence[Strategy],
    rules: RuleSet | None = None,
    keep_embeddings: bool = False,
) -> EnsembleScorer:
    """Load a model, or all members of one, ready to score conversations.

    Args:
        source, options: which model, and how it is run.
        strategies: one a member, exact for it; see `choose_strategies`.
        rules: of all members, instead of the rules.yaml in the folder.
        keep_embeddings: give the vector that enters the heads beside the scores.

    Raises:
        ModelError: it cannot be loaded, or has no such vector.
    """
    models = load_models(source, options, rules=rules)
    if keep_embeddings:
        for model in models:
            model.keep_embeddings(name=str(source.path))
    return EnsembleScorer(models, strategies=strategies, batch_tokens=options.batch_tokens)
