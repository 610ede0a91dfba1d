"""Budgets: the search takes the smallest that is fast, and a pass that runs out of memory is made smaller."""

from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from encore_ray.errors import ModelError
from encore_ray.models.forward.budget import (
    GOOD_ENOUGH,
    find_budget,
    score_within_memory,
    search_budget,
    unless_out_of_memory,
)
from encore_ray.models.forward.multihead import MultiHeadModel
from encore_ray.models.forward.scorer import PairScorer
from encore_ray.models.spec.forward import BudgetTrial
from tests.models import tiny


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory):
    return tiny.save_own_form(tmp_path_factory.mktemp("llama"), "llama", pooling="last")


@pytest.fixture
def model(checkpoint):
    """A new one for each test: tests take memory away from it."""
    return tiny.load(checkpoint)


def limit_memory(model: MultiHeadModel, most_tokens: int) -> list[int]:
    """Let the backbone run out of memory above so many token slots; returns the list of slots that it was given."""
    given_slots: list[int] = []

    def refuse(_module: object, _args: object, inputs: Mapping[str, torch.Tensor]) -> None:
        given_slots.append(inputs["input_ids"].numel())
        if given_slots[-1] > most_tokens:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    model.backbone.register_forward_pre_hook(refuse, with_kwargs=True)
    return given_slots


def rates(of: Mapping[int, float]) -> Callable[[int], float]:
    """A rate a budget; memory does not do for the others."""

    def rate(batch_tokens: int) -> float:
        if batch_tokens not in of:
            raise torch.OutOfMemoryError
        return of[batch_tokens]

    return rate


def test_the_smallest_budget_within_three_per_cent_of_the_best_is_taken() -> None:
    found = search_budget(rates({1: 50, 2: 96.9, 4: 97.1, 8: 100, 16: 99}), first=1, last=16)
    assert found.batch_tokens == 4  # 97.1 >= .97 * 100 > 96.9
    assert [trial.batch_tokens for trial in found.trials] == [1, 2, 4, 8, 16]


def test_the_search_ends_where_memory_does() -> None:
    found = search_budget(rates({512: 10, 1024: 20}), first=512, last=65536)
    assert found.batch_tokens == 1024
    assert found.trials == (BudgetTrial(512, 10), BudgetTrial(1024, 20), BudgetTrial(2048, None))


def test_the_search_ends_after_two_doublings_that_do_not_pay() -> None:
    found = search_budget(rates({1: 10, 2: 9, 4: 8, 8: 99}), first=1, last=8)
    assert found.batch_tokens == 1
    assert [trial.batch_tokens for trial in found.trials] == [1, 2, 4]


def test_a_first_budget_that_does_not_fit_is_halved_until_one_does() -> None:
    found = search_budget(rates({64: 3}), first=512, last=4096)
    assert found.batch_tokens == 64
    assert [trial.batch_tokens for trial in found.trials] == [512, 256, 128, 64]
    with pytest.raises(ModelError, match="Not even 16 tokens a forward pass fit into memory"):
        search_budget(rates({}), first=512, last=4096)


@given(st.lists(st.floats(1, 1e6), min_size=1, max_size=8), st.integers(0, 8))
def test_what_is_found_fits_and_is_about_as_fast_as_all_that_was_tried(found_rates: list[float], fits: int) -> None:
    of = {16 * 2**i: rate for i, rate in enumerate(found_rates[: max(fits, 1)])}
    found = search_budget(rates(of), first=16, last=16 * 2**7)
    tried = [trial.tokens_per_s for trial in found.trials if trial.tokens_per_s is not None]
    assert of[found.batch_tokens] >= GOOD_ENOUGH * max(tried)
    smaller = [rate for budget, rate in of.items() if budget < found.batch_tokens]
    assert all(rate < GOOD_ENOUGH * max(tried) for rate in smaller)


def test_a_real_model_is_tried_with_rows_that_fit_its_memory(model: MultiHeadModel) -> None:
    pairs = tiny.random_pairs(200, vocab_size=model.backbone.config.vocab_size, seed=1)
    slots = limit_memory(model, 900)
    found = find_budget([PairScorer(model, strategy="tree", batch_tokens=1)], [pairs])
    assert found.batch_tokens == 512
    assert [trial.tokens_per_s is None for trial in found.trials] == [False, True]
    assert max(slots) > 900 >= sorted(slots)[-2]  # one pass was too large, and the search went no further


@pytest.mark.parametrize("strategy", ["tree", "packed", "padded"])
def test_a_unit_that_runs_out_of_memory_is_scored_at_half_the_budget(model: MultiHeadModel, strategy) -> None:
    pairs = tiny.random_pairs(60, vocab_size=model.backbone.config.vocab_size, seed=2)
    scorer = PairScorer(model, strategy=strategy, batch_tokens=400)
    undisturbed = PairScorer(model, strategy=strategy, batch_tokens=100).score(pairs)
    slots = limit_memory(model, 150)
    fitted = score_within_memory(scorer, pairs, scorer.plan(pairs))
    assert fitted.batch_tokens == 100  # 400 and 200 are more than 150
    np.testing.assert_array_equal(fitted.scores_N2K, undisturbed)
    assert fitted.num_computed == scorer_plan_size(model, strategy, pairs, 100)
    assert fitted.too_long == ()
    assert len([size for size in slots if size > 150]) == 2  # one failed pass a budget, not one a row
    assert scorer.batch_tokens == 400  # the units after it are scored as planned


def scorer_plan_size(model: MultiHeadModel, strategy, pairs, batch_tokens: int) -> int:
    return PairScorer(model, strategy=strategy, batch_tokens=batch_tokens).plan(pairs).num_computed


def test_a_unit_that_fits_is_left_alone(model: MultiHeadModel) -> None:
    pairs = tiny.random_pairs(20, vocab_size=model.backbone.config.vocab_size, seed=3)
    scorer = PairScorer(model, strategy="tree", batch_tokens=200)
    plan = scorer.plan(pairs)
    fitted = score_within_memory(scorer, pairs, plan)
    assert (fitted.batch_tokens, fitted.num_computed) == (200, plan.num_computed)


def test_a_conversation_that_does_not_fit_alone_is_named_and_the_others_are_scored(model: MultiHeadModel) -> None:
    pairs = tiny.tokenized([[7] * 50, [8] * 20, [9] * 90], [[10] * 20, None, [11] * 5])
    expected = PairScorer(model, strategy="one_by_one").score(pairs)
    scorer = PairScorer(model, strategy="tree", batch_tokens=400)
    plan = scorer.plan(pairs)
    limit_memory(model, 60)
    fitted = score_within_memory(scorer, pairs, plan)
    assert fitted.too_long == (2,)
    assert np.isnan(fitted.scores_N2K[2]).all()
    np.testing.assert_array_equal(fitted.scores_N2K[:2], expected[:2])


@pytest.mark.parametrize(
    "text",
    ["CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate", "can't allocate memory"],
)
def test_a_lack_of_memory_is_known_by_any_of_its_names(text: str) -> None:
    def fail() -> None:
        raise RuntimeError(text)

    assert unless_out_of_memory(fail) is None


def test_only_a_lack_of_memory_is_forgiven() -> None:
    with pytest.raises(RuntimeError, match="shapes"):
        unless_out_of_memory(torch.mm, torch.ones(2, 3), torch.ones(2, 3))
    with pytest.raises(ZeroDivisionError):
        unless_out_of_memory(lambda: 1 // 0)
    assert unless_out_of_memory(max, 1, 2) == 2
