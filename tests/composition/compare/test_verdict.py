"""The words follow from the figures: worlds, advice and warnings."""

from typing import Any

import pytest

from encore_ray.composition.compare.verdict import name_world, write_verdict, write_warnings


def correlation(**values: float | None) -> dict[str, Any]:
    found = {"pearson": -0.9, "pearson_p": 0.01, "pearson_low": -0.95, "pearson_high": -0.8, "num_rules": 8}
    return found | values


def line(name: str, accuracy: float, above: float, *, half: float = 0.01, uses_labels: bool = False) -> dict[str, Any]:
    stats = {"num_pairs": 1000, "accuracy": accuracy}
    difference = {"value": above, "low": above - half, "high": above + half}
    return {
        "name": name,
        "uses_labels": uses_labels,
        "all": None if uses_labels else stats,
        "heldout": stats | {"num_pairs": 200},
        "difference_to_uniform": difference,
        "difference_to_uniform_all": None if uses_labels else difference,
    }


def comparison(*lines: dict[str, Any], **values: Any) -> dict[str, Any]:
    """ENCORE clearly above uniform weights, no flags, unless told otherwise."""
    cells = [{"temperature": 2.0, "num_bins": None, "accuracy": 0.7, "accuracy_high": 0.72}]
    content: dict[str, Any] = {
        "num_pairs": 1000,
        "heldout": {"num_pairs": 200, "num_keys": 200},
        "temperature": 2.0,
        "schemes": [*(lines or [line("encore", 0.7, 0.05)]), line("uniform", 0.65, 0.0, half=0.0)],
        "baselines": [],
        "sweep": {"cells": cells},
        "rules": [],
        "correlations": {"redundant": [], "num_redundant": 0},
        "entropy_accuracy": correlation(),
        "sample_size": {"weight_error": 0.005, "target": 0.01, "needed_pairs": 250, "enough": True},
    }
    content |= values
    return content | {"world": name_world(content["entropy_accuracy"])}


@pytest.mark.parametrize(
    ("found", "world"),
    [
        (correlation(), "noise_drives_entropy"),
        (correlation(pearson=0.9, pearson_low=0.8, pearson_high=0.95), "signal_drives_entropy"),
        (correlation(pearson_p=0.05), "unclear"),
        (correlation(pearson_high=0.01), "unclear"),
        (correlation(pearson=None, pearson_p=None, pearson_low=None, pearson_high=None), "unclear"),
        (correlation(pearson_low=None, pearson_high=None), "unclear"),
        ({"pearson": -0.9, "pearson_p": 0.01}, "noise_drives_entropy"),
        ({"pearson": 0.9, "pearson_p": 0.05}, "unclear"),
    ],
)
def test_a_world_is_named_only_where_p_and_the_interval_if_there_is_one_agree(found: dict[str, Any], world: str):
    assert name_world(found) == world


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (comparison(), "Use ENCORE."),
        (comparison(line("encore", 0.655, 0.005)), "no significant difference"),
        (comparison(line("encore", 0.655, 0.005)), "Keep uniform weights."),
        (comparison(line("encore", 0.60, -0.05)), "significantly worse"),
        (comparison(line("encore", 0.60, -0.05)), "no scheme beats uniform weights. Keep uniform weights."),
        (
            comparison(line("encore", 0.7, 0.05), line("bradley_terry", 0.75, 0.1, uses_labels=True)),
            "Use ENCORE, or fit weights to labels (bradley_terry) if new pairs",
        ),
        (
            comparison(line("encore", 0.7, 0.05), line("best_single", 0.71, 0.055, uses_labels=True)),
            "best_single, which learns from labels, is best of 3 with 71.0%: +5.5 points (95% +4.5 to +6.5) against "
            "uniform weights. Use ENCORE.",
        ),
        (comparison(heldout={"num_pairs": 0, "num_keys": 0}), "significantly better. Use ENCORE."),
        (comparison(rules=[{"weight": 0.5, "flags": ["below_chance", "rarely_active"]}]), "First check the direction"),
        (
            comparison(line("encore", 0.6, -0.05), rules=[{"weight": 0.5, "flags": ["below_chance"]}]),
            "then compare again. Keep uniform weights until then.",
        ),
        (comparison(rules=[{"weight": 0.0, "flags": ["rarely_active"]}]), "Use ENCORE."),
        (comparison(baselines=[line("shorter_wins", 0.7, 0.05)]), "the length of a response alone does as well."),
    ],
)
def test_the_advice_follows_from_the_figures(found: dict[str, Any], said: str):
    assert said in write_verdict(found)


def test_schemes_of_the_same_weights_count_once():
    few = {"weights": {"a": 0.5, "b": 0.5}}
    found = comparison(
        line("best_single", 0.7, 0.05, uses_labels=True) | {"weights": {"a": 1.0, "b": 0.0}},
        line("encore", 0.66, 0.01) | {"weights": {"a": 0.6, "b": 0.4}},
        line("lowest_entropy", 0.65, 0.0) | few,
        line("random", 0.64, 0.0) | {"weights": None},
    )
    found["schemes"][-1] |= few  # uniform
    assert "best_single, which learns from labels, is best of 4 that differ, of 5, with 70.0%" in write_verdict(found)


def test_the_correlation_is_told_over_rules_and_over_prompts():
    told = write_verdict(comparison(entropy_accuracy=correlation(pearson_noise_free=-0.96)))
    assert (
        "(Pearson r = -0.90, p = 0.010 over 8 rules; without the noise of these pairs -0.96, 95% -0.95 to -0.80 over "
        "prompts)" in told
    )
    told = write_verdict(comparison(entropy_accuracy=correlation(pearson_noise_free=None)))
    assert "without the noise of these pairs not known" in told
    assert "noise of these" not in write_verdict(comparison())  # of an earlier version


def test_an_interval_that_ends_close_to_zero_shows_on_which_side():
    found = comparison(line("encore", 0.66, 0.0104))
    assert "+1.04 points (95% +0.04 to +2.04), significantly better" in write_verdict(found)


def test_another_temperature_is_advised_only_above_the_interval_of_the_present_one():
    def cell(temperature: float, accuracy: float, *, num_bins: int | None = None) -> dict[str, Any]:
        return {
            "temperature": temperature,
            "num_bins": num_bins,
            "accuracy": accuracy,
            "accuracy_high": accuracy + 0.02,
        }

    within = comparison(sweep={"cells": [cell(2.0, 0.7), cell(0.5, 0.72), cell(0.25, 0.9, num_bins=5)]})
    above = comparison(sweep={"cells": [cell(2.0, 0.7), cell(0.5, 0.721)]})
    assert "temperature 0.5" not in write_verdict(within)
    assert "try temperature 0.5, which gets 72.1%" in write_verdict(above)


def test_warnings_name_figures_and_remedies():
    rule = {"name": "tight", "weight": 0.1, "flags": [], "accuracy": 0.501, "accuracy_low": 0.49, "accuracy_high": 0.51}
    rules = [rule, rule | {"name": "wide", "accuracy_low": 0.4}, rule | {"name": "off", "weight": 0.0}]
    warnings = write_warnings(
        comparison(
            rules=rules,
            baselines=[line("shorter_wins", 0.71, 0.06)],
            sample_size={"weight_error": 0.031, "target": 0.01, "needed_pairs": 9610, "enough": False},
        ),
        left_out=["Scheme x is left out."],
    )
    assert warnings[0] == "Scheme x is left out."
    assert "no better than a coin: tight (50.1%, weight 10.0%)." in warnings[1]
    assert "known to within 3.1% at 1,000 pairs; for 1% about 9,610 pairs are needed" in warnings[2]
    assert "shorter_wins agrees with 71.0% of the labels, ENCORE with 70.0%" in warnings[3]
    assert len(warnings) == 4
