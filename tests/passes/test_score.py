"""What the score pass says of scores that leave their declared scale."""

import pytest

from encore_ray.passes.score import range_warnings
from encore_ray.rules import Rule, RuleSet, Scale


def notes(low: float | None, high: float | None) -> list[dict[str, list[float | None]]]:
    return [{"low": [low], "high": [high]}, {"low": [None], "high": [None]}]


def rules(scale: Scale, **changes: str) -> RuleSet:
    return RuleSet([Rule("kind", "Is kind.", "better", scale, **changes)])  # type: ignore[arg-type]


def test_the_suggested_scale_is_valid_and_holds_what_was_seen() -> None:
    (warning,) = range_warnings(rules(Scale(0, 1)), notes(-1.2345, 10.049))
    assert "from -1.2345 to 10.049" in warning
    suggested = RuleSet.from_yaml(
        "[{name: kind, text: k, higher_is: better, " + warning.split("`")[1] + "}]"  # the snippet as it stands
    )[0].scale
    assert (suggested.lo, suggested.hi) == (-1.3, 11)  # two digits, outward
    assert range_warnings(rules(suggested), notes(-1.2345, 10.049)) == []


def test_one_value_outside_has_no_scale_to_suggest() -> None:
    (warning,) = range_warnings(rules(Scale(0, 1)), notes(-0.0235, -0.0235))
    assert "scale: {" not in warning
    assert "`out_of_range: clip`" in warning


@pytest.mark.parametrize(
    ("scale", "low", "high"),
    [
        (Scale(0, 1), 0.0, 1.0),
        (Scale(0.1, 1), 0.10000000149011612, 0.5),  # .1 as float32
        (Scale(1, 5, (1, 2, 5)), 0.6, 6.2),  # within half of the last step: the nearest level is 5
        (Scale(0, 1), None, None),
    ],
)
def test_scores_that_weigh_takes_are_not_warned_of(scale: Scale, low: float | None, high: float | None) -> None:
    assert range_warnings(rules(scale), notes(low, high)) == []


def test_a_rule_that_clips_is_not_warned_of() -> None:
    assert range_warnings(rules(Scale(0, 1), out_of_range="clip"), notes(-5, 5)) == []


def test_a_code_for_no_rating_is_mended_in_the_data_and_widens_no_scale() -> None:
    (warning,) = range_warnings(rules(Scale(0, 5)), notes(-1.0, 5.0))
    assert "-1 is a usual code for a missing value" in warning
    assert "scale:" not in warning and "clip" not in warning
