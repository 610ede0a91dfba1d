"""What is advised goes with the decision, for the terminal and the report alike."""

from encore_ray.composition.compare.decision import advised_options
from encore_ray.composition.weigh.flags import DEGENERATE, WIDE_SCALE

STILL = next(iter(DEGENERATE - {WIDE_SCALE}))
LIVE = ("kind", 0.5, (), 0.9)


def test_a_scheme_is_named_where_it_is_another_and_still_rules_are_dropped_with_it():
    assert advised_options("encore", "encore", [LIVE]) == {}
    assert advised_options("uniform", "encore", [LIVE]) == {"scheme": "uniform"}
    still = ("safe", 0.5, (STILL,), 0.0)
    assert advised_options("inverse_variance", "encore", [LIVE, still]) == {
        "scheme": "inverse_variance",
        "min_active": "0.10",
    }
    assert advised_options("uniform", "encore", [still]) == {"scheme": "uniform"}, "no rule would be left"
