"""Objectives: each loss is its formula, and the figures of held-out rows do not depend on how they are split."""

import math

import numpy as np
import pytest
import torch

from encore_ray.models.forward.heads import LinearHeads
from encore_ray.models.spec.training import OBJECTIVES, merit_name, to_unit
from encore_ray.models.training.objectives import EvaluationSums, into_rule_units, out_of_rule_units, rank, summed_loss
from encore_ray.rules import Rule, RuleSet, Scale

NAN = math.nan
RULES = RuleSet([Rule("a", "A.", "better", Scale(0, 4)), Rule("b", "B.", "worse", Scale(-1, 1))])
RAW = torch.tensor([[[0.5, 2.0], [0.25, 1.0]], [[-1.0, 3.0], [1.0, 3.0]]])


def test_regression_squares_the_differences_of_both_sides_and_leaves_out_what_has_no_rating():
    target = torch.tensor([[[1.0, NAN], [0.25, 0.0]], [[NAN, NAN], [0.0, 1.0]]])
    # a: (.5 - 1)^2 + 0 + (1 - 0)^2; b: (1 - 0)^2 + (3 - 1)^2
    assert summed_loss(RAW, target, objective="regression").tolist() == pytest.approx([1.25, 5.0])


def test_pairs_are_charged_for_the_margin_in_the_direction_of_their_label():
    target = torch.full((2, 2, 2), NAN)
    target[:, 0] = torch.tensor([[1.0, -1.0], [-1.0, NAN]])
    # a: margins .25 and -2, labels 1 and -1; b: margin 1 against its label, and a tie that is left out.
    expected = [math.log1p(math.exp(-0.25)) + math.log1p(math.exp(-2)), math.log1p(math.exp(1))]
    for objective in ("bradley-terry", "multihead-bradley-terry"):
        assert summed_loss(RAW, target, objective=objective).tolist() == pytest.approx(expected)


def test_labels_are_charged_by_the_cross_entropy_of_a_sigmoid():
    target = torch.full((2, 2, 2), NAN)
    target[:, 0] = torch.tensor([[1.0, 0.0], [NAN, 1.0]])
    expected = [math.log1p(math.exp(-0.5)), math.log1p(math.exp(2)) + math.log1p(math.exp(-3))]
    assert summed_loss(RAW, target, objective="multilabel").tolist() == pytest.approx(expected)


def test_what_has_no_target_gets_no_gradient():
    for objective in OBJECTIVES:
        raw = RAW.clone().requires_grad_()
        target = torch.full((2, 2, 2), NAN)
        target[0, 0, 0] = 1.0
        summed_loss(raw, target, objective=objective).sum().backward()
        assert raw.grad is not None and raw.grad[0, 0, 0] != 0
        raw.grad[0, :, 0] = 0.0  # both sides of a pair have one
        assert not raw.grad.any()


def test_accuracy_counts_a_tie_as_half_a_win():
    target = torch.full((2, 2, 2), NAN)
    target[:, 0] = torch.tensor([[1.0, 1.0], [1.0, 1.0]])
    evaluated = EvaluationSums.of(RAW, target, objective="multihead-bradley-terry")
    figures = evaluated.figures("multihead-bradley-terry", RULES.names)
    assert figures["rules"]["a"]["accuracy"] == 0.5  # .25, -2
    assert figures["rules"]["b"]["accuracy"] == 0.75  # 1, a tie
    assert figures["accuracy"] == 0.625
    assert evaluated.low_K.tolist() == [-1.0, 1.0] and evaluated.high_K.tolist() == [1.0, 3.0]


def test_r2_is_one_minus_the_share_of_the_spread_that_is_left():
    rng = np.random.default_rng(0)
    raw, target = rng.normal(size=(2, 40, 2, 2)).astype(np.float32)
    evaluated = EvaluationSums.of(torch.from_numpy(raw), torch.from_numpy(target), objective="regression")
    figures = evaluated.figures("regression", RULES.names)
    for k, name in enumerate(RULES.names):
        y, said = target[:, :, k].ravel().astype(float), raw[:, :, k].ravel().astype(float)
        assert figures["rules"][name]["r2"] == pytest.approx(1 - ((y - said) ** 2).sum() / ((y - y.mean()) ** 2).sum())
    constant = torch.full((3, 2, 2), 0.5)
    assert (
        EvaluationSums.of(constant, constant, objective="regression").figures("regression", RULES.names)["r2"] is None
    )


def test_macro_f1_is_the_mean_over_rules_that_are_said_or_true():
    raw = torch.zeros(4, 2, 2)
    raw[:, 0] = torch.tensor([[1.0, -1], [1, -1], [-1, -1], [-1, -1]])
    target = torch.full((4, 2, 2), NAN)
    target[:, 0] = torch.tensor([[1.0, 0], [0, 0], [1, 0], [0, 0]])
    figures = EvaluationSums.of(raw, target, objective="multilabel").figures("multilabel", RULES.names)
    assert figures["rules"]["a"]["f1"] == 0.5  # one hit of two said, of two true
    assert figures["rules"]["b"]["f1"] is None
    assert figures["f1"] == 0.5


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_parts_evaluated_apart_add_up_to_the_whole(objective):
    rng = np.random.default_rng(1)
    raw = torch.from_numpy(rng.normal(size=(30, 2, 2)).astype(np.float32))
    target = torch.full((30, 2, 2), NAN)
    target[:, 0] = torch.from_numpy(rng.choice([1.0, -1.0, 0.0, NAN], size=(30, 2)).astype(np.float32))
    whole = EvaluationSums.of(raw, target, objective=objective)
    parts = EvaluationSums.none(2)
    for start in range(0, 30, 7):
        parts += EvaluationSums.of(raw[start : start + 7], target[start : start + 7], objective=objective)
    again = EvaluationSums.from_array(parts.to_array())
    np.testing.assert_allclose(again.to_array(), whole.to_array(), rtol=1e-6)
    figures = whole.figures(objective, RULES.names)
    assert figures[merit_name(objective)] is not None
    assert rank({**figures, "loss": figures["loss"] - 0.1}, objective) > rank(figures, objective)


def test_heads_go_from_unit_to_rule_units_and_back():
    heads = LinearHeads(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([0.25, 0.5]))
    before = [weight.clone() for weight in heads.parameters()]
    into_rule_units(heads, RULES)
    # a: width 4 from 0; b: width 2 from -1.
    assert heads.weight.tolist() == [[4.0, 8.0], [6.0, 8.0]]
    assert heads.bias.tolist() == [1.0, 0.0]
    out_of_rule_units(heads, RULES)
    assert all(torch.equal(a, b) for a, b in zip(heads.parameters(), before, strict=True))
    ratings = np.array([[4.0, -1.0], [NAN, 0.0]])
    np.testing.assert_array_equal(to_unit(ratings, RULES), [[1.0, 0.0], [NAN, 0.5]])
