"""The words follow from the figures: worlds, advice and warnings."""

from typing import Any

import pytest

from encore_ray.composition.compare.decision import decide
from encore_ray.composition.compare.verdict import name_world, write_verdict, write_warnings


def correlation(**values: float | None) -> dict[str, Any]:
    found = {"pearson": -0.9, "pearson_p": 0.01, "pearson_low": -0.95, "pearson_high": -0.8, "num_rules": 8}
    return found | values


def line(name: str, accuracy: float, above: float, *, half: float = 0.01, uses_labels: bool = False) -> dict[str, Any]:
    stats = {"num_pairs": 1000, "accuracy": accuracy, "accuracy_low": accuracy - 0.03, "accuracy_high": accuracy + 0.03}
    difference = {"value": above, "low": above - half, "high": above + half}
    return {
        "name": name,
        "uses_labels": uses_labels,
        "all": None if uses_labels else stats,
        "heldout": stats | {"num_pairs": 200},
        "difference_to_uniform": difference,
        "difference_to_uniform_all": None if uses_labels else difference,
    }


def rule(name: str, *flags: str, weight: float = 0.5, active: float = 0.5) -> dict[str, Any]:
    known = {"accuracy": 0.6, "accuracy_low": 0.55, "accuracy_high": 0.65}
    return {"name": name, "weight": weight, "flags": list(flags), "active_pair_share": active, **known}


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
        "rules": [rule("a"), rule("b")],
        "correlations": {"redundant": [], "num_redundant": 0},
        "entropy_accuracy": correlation(),
        "sample_size": {"weight_error": 0.005, "target": 0.01, "needed_pairs": 250, "enough": True},
    }
    content |= values
    return content | {"world": name_world(content["entropy_accuracy"]), "decision": decide(content)}


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
        (comparison(), "Use ENCORE at temperature 2 on this corpus: of the schemes that look at no label it is best"),
        (comparison(line("encore", 0.655, 0.005)), "no significant difference"),
        (comparison(line("encore", 0.655, 0.005)), "Keep uniform weights on this corpus"),
        (comparison(line("encore", 0.655, 0.005)), "+0.5 points (95% -0.5 to +1.5 over prompts), which is no clear"),
        (comparison(line("encore", 0.60, -0.05)), "significantly worse"),
        (comparison(line("encore", 0.60, -0.05)), "no scheme beats uniform weights."),
        (comparison(line("encore", 0.60, -0.05)), "Keep uniform weights on this corpus"),
        (
            comparison(line("encore", 0.66, 0.01, half=0.005), line("consensus", 0.72, 0.07)),
            "Use consensus on this corpus: of the schemes that look at no label it is best, and its rewards agree with "
            "72.0% of the labels (95% 69.0% to 75.0% over prompts), against 50% by a coin; 65.0% by uniform weights, "
            "+7.0 points (95% +6.0 to +8.0 over prompts).",
        ),
        (
            comparison(line("encore", 0.7, 0.05), line("bradley_terry", 0.75, 0.1, uses_labels=True)),
            "Or fit weights to labels (bradley_terry) if new pairs",
        ),
        (
            comparison(line("encore", 0.7, 0.05), line("best_single", 0.71, 0.055, uses_labels=True)),
            "best_single, which learns from labels, is best of 3 with 71.0%: +5.5 points (95% +4.5 to +6.5 over "
            "prompts) against uniform weights.",
        ),
        (comparison(heldout={"num_pairs": 0, "num_keys": 0}), "significantly better."),
        (
            comparison(baselines=[line("shorter_wins", 0.7, 0.05)]),
            "against 50% by a coin; 65.0% by uniform weights, +5.0 points (95% +4.0 to +6.0 over prompts); 70.0% by "
            "length alone (shorter_wins). The length of a response alone does as well or better: mend the rules before",
        ),
        (comparison(rules=[rule("a")]), "There is one rule, so that there are no weights to choose: its scores agree"),
        (comparison(rules=[rule("a", "below_chance", "rarely_active"), rule("b")]), "First check the direction"),
        (
            comparison(rules=[rule("a", "rarely_active", active=0.01), rule("b")]),
            "First drop the rules whose scores hardly vary (weigh.min_active 0.10), then compare again.",
        ),
        (
            comparison(rules=[rule("a", "rarely_active", active=0.01), rule("b", active=0.09)]),
            "First replace the rules whose scores hardly vary (no other rule would be left), then compare again.",
        ),
        (
            comparison(rules=[rule("a", "low_entropy", "wide_scale", active=0.01), rule("b")]),
            "First correct the scale of a in rules.yaml, far too wide for the scores, then compare again.",
        ),
    ],
)
def test_the_advice_follows_from_the_figures(found: dict[str, Any], said: str):
    assert said in write_verdict(found)


def test_weights_that_are_better_than_others_but_not_than_a_coin_are_told_as_such():
    found = comparison(line("encore", 0.52, 0.02, half=0.001))
    found["schemes"][-1] = line("uniform", 0.5, 0.0, half=0.0)
    found["decision"] = decide(found)
    assert found["decision"]["title"] == "No weights are clearly better than a coin"
    assert "That is not clearly better than a coin: mend the rules before any weights." in write_verdict(found)


def test_weights_that_are_clearly_worse_than_a_coin_are_told_as_swapped_sides_and_not_as_useless():
    found = comparison(line("encore", 0.40, 0.001))
    found["schemes"][-1] = line("uniform", 0.399, 0.0)
    found["decision"] = decide(found)
    assert found["decision"]["title"] == "All weights are worse than a coin: look for swapped sides"
    assert not found["decision"]["beats_coin"]
    assert "That is clearly worse than a coin, as where sides are swapped: look which response" in write_verdict(found)
    assert "mend the rules before" not in write_verdict(found)


def test_the_decision_stands_first_and_nothing_is_to_do_first_where_a_dropped_rule_is_flagged():
    found = comparison(rules=[rule("a", "rarely_active", weight=0.0), rule("b")])
    assert write_verdict(found).startswith("Use ENCORE at temperature 2 on this corpus")
    assert "First" not in write_verdict(found)


def test_the_best_of_many_needs_a_wider_interval_than_the_best_of_one():
    # +0.9 +- 0.7: widened by z(.9875) / z(.975) = 2.24 / 1.96 to 0.80 for two, by 2.64 / 1.96 to 0.94 for six.
    best = line("consensus", 0.659, 0.009, half=0.007)
    names = ("encore", "one_minus_entropy", "inverse_variance", "lowest_entropy", "consensus_encore")
    others = [line(name, 0.655, 0.005) for name in names]
    assert decide(comparison(best, line("encore", 0.65, 0.0)))["scheme"] == "consensus"
    many = comparison(best, *others)
    assert (many["decision"]["num_candidates"], many["decision"]["scheme"]) == (6, "uniform")
    assert "which as the best of 6 is no clear difference" in write_verdict(many)
    assert "not a clear difference" in write_verdict(many)


def test_a_scheme_that_is_only_compared_is_never_advised():
    found = comparison(line("encore", 0.66, 0.01), line("soft_min", 0.8, 0.15), line("random", 0.75, 0.1))
    assert decide(found)["best"] == "encore"


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
    assert "+1.04 points (95% +0.04 to +2.04 over prompts), significantly better" in write_verdict(found)


def test_the_best_temperature_of_the_sweep_is_told_beside_the_interval_of_the_present_one():
    def cell(temperature: float, accuracy: float, *, num_bins: int | None = None) -> dict[str, Any]:
        return {
            "temperature": temperature,
            "num_bins": num_bins,
            "accuracy": accuracy,
            "accuracy_high": accuracy + 0.02,
        }

    within = comparison(sweep={"cells": [cell(2.0, 0.7), cell(0.5, 0.72), cell(0.25, 0.9, num_bins=5)]})
    above = comparison(sweep={"cells": [cell(2.0, 0.7), cell(0.5, 0.721)]})
    now = comparison(sweep={"cells": [cell(2.0, 0.7), cell(0.5, 0.7)]})
    said = "; of the temperatures tried, 0.5 to 2, 0.5 has most"
    assert f"{said}, 72.0%, within the interval of this one." in write_verdict(within)
    assert f"{said}, 72.1%, above that interval." in write_verdict(above)
    assert "temperatures tried" not in write_verdict(now)


def test_warnings_name_figures_and_remedies():
    one = {"name": "tight", "weight": 0.1, "flags": [], "accuracy": 0.501, "accuracy_low": 0.49, "accuracy_high": 0.51}
    rules = [one, one | {"name": "wide", "accuracy_low": 0.4}, one | {"name": "off", "weight": 0.0}]
    warnings = write_warnings(
        comparison(
            rules=rules,
            baselines=[line("shorter_wins", 0.71, 0.06)],
            sample_size={"weight_error": 0.031, "target": 0.01, "needed_pairs": 9610, "enough": False},
        ),
        left_out=["Not compared: x."],
    )
    assert warnings[0] == "Not compared: x."
    assert "no better than a coin: tight (50.1%, weight 10.0%)." in warnings[1]
    assert "known to within 3.1% at 1,000 pairs; for 1% about 9,610 pairs are needed" in warnings[2]
    assert "shorter_wins agrees with 71.0% of the labels, ENCORE with 70.0%" in warnings[3]
    assert len(warnings) == 4
