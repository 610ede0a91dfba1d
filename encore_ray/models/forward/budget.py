"""Batch size search by tokens a second, before a job; and back-off to half a batch where memory runs out.

A budget is part of what decides the bits of a score, so that it is fixed before the first unit of a job. A unit that
then does not fit is scored with half of it, and half again; nothing changes for the units after it.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from encore_ray.errors import ModelError
from encore_ray.models.forward.scorer import PairScorer, Plan
from encore_ray.models.spec.forward import DEFAULT_BATCH_TOKENS, BudgetSearch, BudgetTrial, Strategy
from encore_ray.models.text.conversations import TokenizedPairs

FIRST_BUDGET, LAST_BUDGET = {"cpu": 512, "cuda": 2048}, {"cpu": 4096, "cuda": 65536}
SMALLEST_BUDGET = 16
SAMPLE_ROWS = 4  # of the last budget: how many tokens a trial reads
ROUNDS = 2  # of a trial, of which the faster counts
GOOD_ENOUGH = 0.97  # of the best rate: a smaller budget leaves memory for longer conversations
PATIENCE = 2  # doublings without a better rate before the search ends

Result = TypeVar("Result")


def sample_tokens(device: str) -> int:
    """How many tokens a search wants to read at the least, on `cpu` or `cuda`."""
    return SAMPLE_ROWS * LAST_BUDGET[device]


def find_budget(scorers: Sequence[PairScorer], pairs: Sequence[TokenizedPairs]) -> BudgetSearch:
    """The smallest budget with which a job's first pairs are scored about as fast as with any.

    Args:
        scorers: one a member model.
        pairs: the pairs as each member reads them; the first `sample_tokens` of them are used.

    Raises:
        ModelError: not even the smallest budget fits into memory.
    """
    device = scorers[0].model.device.type
    if not len(pairs[0]):
        return BudgetSearch(DEFAULT_BATCH_TOKENS[device], ())
    sides = zip(pairs[0].chosen_ids, pairs[0].rejected_ids, strict=True)
    total_N = np.cumsum([len(chosen) + (0 if rejected is None else len(rejected)) for chosen, rejected in sides])
    num_pairs = min(int(np.searchsorted(total_N, sample_tokens(device))) + 1, len(total_N))
    few = [of_member.take(range(num_pairs)) for of_member in pairs]

    def rate(batch_tokens: int) -> float:
        smaller = [with_budget(scorer, batch_tokens) for scorer in scorers]
        seconds = []
        for _ in range(ROUNDS):
            started = time.perf_counter()
            for scorer, of_member in zip(smaller, few, strict=True):
                scorer.score(of_member)
            seconds.append(time.perf_counter() - started)
        return float(total_N[num_pairs - 1]) / min(seconds)

    return search_budget(rate, first=FIRST_BUDGET[device], last=LAST_BUDGET[device])


def search_budget(rate: Callable[[int], float], *, first: int, last: int) -> BudgetSearch:
    """Double a budget as long as that pays; halve it where not even the first one fits.

    Args:
        rate: tokens a second with a budget; raises torch.OutOfMemoryError where memory does not do.
        first, last: budgets tried, in tokens; smaller ones than the first only if it does not fit.

    Raises:
        ModelError: no budget fits.
    """
    trials: list[BudgetTrial] = []
    fastest, unpaid = 0.0, 0
    for budget in _doubled(first, last):
        found = unless_out_of_memory(rate, budget)
        trials.append(BudgetTrial(budget, found))
        unpaid = 0 if found and found > fastest else unpaid + 1
        fastest = max(fastest, found or 0.0)
        if found is None or unpaid == PATIENCE:
            break
    budget = first
    while not fastest:
        budget //= 2
        if budget < SMALLEST_BUDGET:
            raise ModelError(
                f"Not even {2 * budget} tokens a forward pass fit into memory beside the model. Use more memory, a "
                "smaller dtype, or several GPUs a model (--gpus-per-actor)."
            )
        fastest = unless_out_of_memory(rate, budget) or 0.0
        trials.append(BudgetTrial(budget, fastest or None))
    good = min(trial.batch_tokens for trial in trials if (trial.tokens_per_s or 0.0) >= GOOD_ENOUGH * fastest)
    return BudgetSearch(good, tuple(trials))


@dataclass(frozen=True, eq=False)
class ScoredWithin:
    """Scores of N pairs, made within memory.

    Attributes:
        scores_N2K: as PairScorer.run returns them.
        batch_tokens: the budget that did; 1 where every sequence had to run alone.
        num_computed: token slots of the forward passes that made them.
        too_long: places of pairs with a response that does not fit even alone; their scores are NaN.
    """

    scores_N2K: np.ndarray
    batch_tokens: int
    num_computed: int
    too_long: tuple[int, ...] = ()


def score_within_memory(scorer: PairScorer, pairs: TokenizedPairs, plan: Plan) -> ScoredWithin:
    """Run a plan; where memory runs out, plan the pairs anew with half the budget, down to each sequence alone."""
    budget = scorer.batch_tokens
    scores_N2K = unless_out_of_memory(scorer.run, plan)
    lengths = [len(ids) for ids in (*pairs.chosen_ids, *pairs.rejected_ids) if ids is not None]
    while scores_N2K is None and scorer.strategy != "one_by_one" and budget > max(lengths):
        budget //= 2
        smaller = with_budget(scorer, budget)
        plan = smaller.plan(pairs)
        scores_N2K = unless_out_of_memory(smaller.run, plan)
    if scores_N2K is not None:
        return ScoredWithin(scores_N2K, budget, plan.num_computed)
    alone = with_budget(scorer, 1, strategy="one_by_one")
    found = [unless_out_of_memory(alone.score, pairs.take([i])) for i in range(len(pairs))]
    missing = np.full((1, 2, scorer.model.num_columns), np.nan, dtype=np.float32)
    return ScoredWithin(
        np.concatenate([missing if scores_12K is None else scores_12K for scores_12K in found]),
        1,
        sum(lengths),
        tuple(i for i, scores_12K in enumerate(found) if scores_12K is None),
    )


def unless_out_of_memory(work: Callable[..., Result], *args: object) -> Result | None:
    """What the work returns, or None where the device has no memory for it; what it held is free again."""
    try:
        return work(*args)
    except RuntimeError as error:  # keeps the tensors of the failed pass alive until here
        if not is_out_of_memory(error):
            raise
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None


def is_out_of_memory(error: Exception) -> bool:
    """Whether the device had no memory for a forward pass."""
    text = str(error)
    return isinstance(error, torch.OutOfMemoryError) or any(
        sign in text for sign in ("out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "can't allocate memory")
    )


def with_budget(scorer: PairScorer, batch_tokens: int, *, strategy: Strategy | None = None) -> PairScorer:
    """The same scorer with another budget; its forward passes count as the other's."""
    other = PairScorer(scorer.model, strategy=strategy or scorer.strategy, batch_tokens=batch_tokens)
    other.occupancy = scorer.occupancy
    return other


def _doubled(first: int, last: int) -> Iterator[int]:
    while first <= last:
        yield first
        first *= 2
