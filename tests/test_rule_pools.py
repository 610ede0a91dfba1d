"""The rules that come with the package: distinct questions in both directions, and the pools they are in."""

import pytest

from encore_ray.errors import ConfigError
from encore_ray.rule_pools import RULE_POOLS, rule_pool
from encore_ray.rules import Scale


def test_the_pool_is_one_rule_set_of_short_distinct_questions_in_both_directions() -> None:
    pool = rule_pool("all")  # names are unique, or it would be no rule set
    assert len(pool) >= 60
    assert [rule for group in RULE_POOLS[2:] for rule in rule_pool(group)] == list(pool)
    assert len({rule.text for rule in pool}) == len(pool)
    for rule in pool:
        assert rule.text.isascii() and rule.text.endswith("?") and len(rule.text.split()) <= 20, rule.name
        assert (rule.scale, rule.link) == (Scale(-1.0, 1.0), "identity")  # P(yes) - P(no)
    for group in RULE_POOLS:
        assert {rule.higher_is for rule in rule_pool(group)} == {"better", "worse"}, group


def test_the_default_pool_is_ten_rules_of_the_pool() -> None:
    assert len(rule_pool()) == 10
    assert set(rule_pool()) <= set(rule_pool("all"))


def test_an_unknown_pool_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"'everything'; known: default, all, compliance"):
        rule_pool("everything")  # pyright: ignore[reportArgumentType]
