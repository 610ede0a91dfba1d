"""All that is to be corrected before scores can be weighed is told at once, as lines to paste."""

import re

import numpy as np
import pytest
import yaml

from encore_ray.composition.measure.correcting import refuse_scores
from encore_ray.composition.measure.statistics import RuleStatistics
from encore_ray.composition.scales.binning import choose_binning
from encore_ray.errors import DataError
from encore_ray.rules import Rule, RuleSet, Scale
from encore_ray.shell import called_as

WIDE = Scale(-50.0, 50.0)
RANDOM = np.random.default_rng(0)
SPREAD = RANDOM.uniform(-1, 1, (2, 200))  # both sides of 200 pairs


def statistics(*scaled: tuple[Scale, float]) -> RuleStatistics:
    """Of rules a, b, ... on these scales, whose scores reach so far to both sides of 0."""
    rules = RuleSet(Rule("abcdef"[k], "", "better", scale) for k, (scale, _) in enumerate(scaled))
    sides = [[reach * SPREAD[side] for _, reach in scaled] for side in (0, 1)]
    ids = [f"p{n}" for n in range(200)]
    return RuleStatistics.measure(
        *sides,
        rules=rules,
        binnings=[choose_binning(rule) for rule in rules],
        has_rejected_N=np.ones(200, dtype=bool),
        pair_ids=ids,
        keys=ids,
    )


def refusal(found: RuleStatistics, *, score_range: str = "declared") -> str:
    with pytest.raises(DataError) as refused:
        refuse_scores(found, score_range=score_range)  # pyright: ignore[reportArgumentType]
    return str(refused.value)


def corrected(text: str) -> dict[str, Scale]:
    """The rules of the block in a refusal, as YAML reads them."""
    block = re.search(
        r"In rules.yaml, from all scores; the other keys of these rules stay:\n((?:- .*\n|  .*\n?)+)", text
    )
    assert block is not None, text
    return {rule["name"]: Scale.parse(rule["scale"]) for rule in yaml.safe_load(block[1])}


def test_scales_of_all_rules_and_how_to_add_them_are_told_in_one_refusal() -> None:
    with called_as(["run", "job.yaml"]):
        said = refusal(statistics((WIDE, 300.0), (WIDE, 0.05), (WIDE, 20.0), (WIDE, 80.0)))
    found = corrected(said)
    assert set(found) == {"a", "b", "d"}  # b is within its scale, which tells none of its scores apart; c suits its own
    assert "Rule b: its scale is far too wide for its scores" in said
    assert said.endswith("encore-ray run job.yaml --set weigh.score_range=unit")
    # what is pasted is refused for nothing else
    scales = [found.get(name, WIDE) for name in "abcd"]
    refuse_scores(
        statistics(*zip(scales, (300.0, 0.05, 20.0, 80.0), strict=True)),
        score_range="unit",
    )


@pytest.mark.parametrize("score_range", ["unit", "raw"])
def test_where_ranges_may_differ_nothing_is_said_of_them(score_range: str) -> None:
    assert "score_range" not in refusal(statistics((WIDE, 300.0), (WIDE, 80.0)), score_range=score_range)


def test_one_rule_that_leaves_its_scale_has_its_line_and_no_block() -> None:
    said = refusal(statistics((WIDE, 60.0), (WIDE, 40.0)))
    assert "In rules.yaml, from" not in said and "as `scale: {lo: -60, hi: 60}`" in said
    assert "With these scales rules have different ranges" in said  # -50 to 50 beside it
    assert "score_range" not in refusal(statistics((WIDE, 60.0)))  # a rule by itself


def test_rules_of_levels_have_no_scale_to_be_read_off_strays() -> None:
    levels = Scale(0.0, 1.0, (0.0, 1.0))
    said = refusal(statistics((levels, 9.0), (levels, 9.0)))
    assert "scale: {" not in said and "score_range" not in said


def test_scores_that_suit_their_scales_are_refused_for_none() -> None:
    refuse_scores(statistics((WIDE, 40.0), (WIDE, 0.05)), score_range="declared")


@pytest.mark.parametrize("code", [-1.0, 99.0, 999.0])
@pytest.mark.parametrize(
    "scale", [Scale(0.0, 5.0), Scale(1.0, 5.0, (1.0, 2.0, 3.0, 4.0, 5.0))], ids=["range", "levels"]
)
def test_codes_for_no_rating_are_mended_in_the_data_alike_for_each_rule(code: float, scale: Scale) -> None:
    rules = RuleSet(Rule(name, "", "better", scale) for name in "ab")
    sides = RANDOM.integers(1, 6, (2, 2, 200)) * 1.0  # [side, rule, pair]
    sides[0, :, ::4] = code
    ids = [f"p{n}" for n in range(200)]
    found = RuleStatistics.measure(
        *sides,
        rules=rules,
        binnings=[choose_binning(rule) for rule in rules],
        has_rejected_N=np.ones(200, dtype=bool),
        pair_ids=ids,
        keys=ids,
    )
    said = refusal(found)
    advice = (
        f"{code:g} is a usual code for a missing value, and stands for no rating: mend the data to null, or leave such"
    )
    assert said.count(advice) == 2
    assert "scale:" not in said and "clip" not in said  # neither makes no rating one


def test_the_other_end_of_a_scale_is_no_code_and_clipping_is_told_as_what_it_is() -> None:
    assert "`scale: {lo: -1, hi: 1}`" in refusal(statistics((Scale(0.0, 1.0), 1.0)))
    few = refusal(statistics((Scale(-0.99, 0.99), 1.0)))
    assert "That is for the weights alone: rewards are composed of the scores as they are" in few
