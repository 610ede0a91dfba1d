"""Whether a result was made from the same facts: one law for tables, weights, heads, trainings and energies."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encore_ray.errors import ResumeRefused
from encore_ray.folder.provenance import differing, is_same
from encore_ray.storage import fingerprint

FACTS = {"model": "a" * 64, "options": {"max_tokens": None, "dtype": "float32"}, "weights": "w1"}

scalars = st.none() | st.booleans() | st.integers(-3, 3) | st.text("ab", max_size=2)
facts = st.dictionaries(st.sampled_from("abc"), scalars | st.dictionaries(st.sampled_from("xyz"), scalars, max_size=3))


@given(facts, facts)
def test_facts_are_the_same_as_themselves_and_differ_where_some_key_does(one: dict, other: dict) -> None:
    assert is_same("here", one, dict(one))
    assert not is_same("here", None, one)
    assert differing(one, other) == differing(other, one)
    if one == other:
        assert differing(one, other) == []
        return
    keys = differing(one, other)
    assert keys  # nothing that differs goes unnamed: a fact that is not there is not one that is null
    with pytest.raises(ResumeRefused) as refused:
        is_same("here", one, other)
    said = str(refused.value)
    assert fingerprint(one)[:12] in said and fingerprint(other)[:12] in said
    assert all(f"{key} was " in said for key in keys)
    assert not is_same("here", one, other, overwrite=True)
    assert not is_same("here", one, other, derived={key.split(".")[0] for key in keys})


def test_a_refusal_names_the_place_both_fingerprints_every_fact_and_the_remedy() -> None:
    now = {**FACTS, "model": "b" * 64, "options": {"max_tokens": 64, "dtype": "float32"}}
    with pytest.raises(ResumeRefused) as refused:
        is_same("/run/scores", FACTS, now)
    pattern = (
        r"/run/scores holds results with fingerprint (\w{12}); this command would make (\w{12}): model was a{12}, is "
        r"b{12}; options\.max_tokens was null, is 64\. Use overwrite=True to start over, or another run folder\."
    )
    found = re.fullmatch(pattern, str(refused.value))
    assert found is not None
    assert found.groups() == (fingerprint(FACTS)[:12], fingerprint(now)[:12])


def test_what_follows_from_an_earlier_pass_is_made_anew_unasked_and_nothing_beside_it() -> None:
    assert not is_same("here", FACTS, {**FACTS, "weights": "w2"}, derived={"weights"})
    other = {**FACTS, "options": {**FACTS["options"], "dtype": "bfloat16"}}  # type: ignore[dict-item]
    assert not is_same("here", FACTS, other, derived={"options"})  # a nested fact goes by its first word
    with pytest.raises(ResumeRefused, match=r"weights was .*, is "):
        is_same("here", FACTS, {**other, "weights": "w2"}, derived={"options"})


RULES = [{"name": f"r{k}", "higher_is": "better", "scale": {"lo": 0.0, "hi": 1.0}} for k in range(40)]


def told(found: dict, now: dict) -> str:
    with pytest.raises(ResumeRefused) as refused:
        is_same("here", found, now)
    return str(refused.value).partition(": ")[2]


def test_a_rule_that_has_changed_is_named_with_what_has_changed_of_it() -> None:
    other = [*RULES[:30], {**RULES[30], "scale": {"lo": 0.0, "hi": 5.0}}, *RULES[31:]]
    assert told({"rules": RULES}, {"rules": other}).startswith("rules.r30.scale.hi was 1.0, is 5.0. ")
    assert told({"rules": RULES}, {"rules": RULES[:-1]}).startswith('rules.r39 was {"higher_is": "better"')
    as_weighed = [[rule["name"], rule["higher_is"], rule["scale"]] for rule in RULES]
    turned = [*as_weighed[:-1], ["r39", "worse", as_weighed[-1][2]]]
    assert told({"rules": as_weighed}, {"rules": turned}).startswith('rules.r39.2 was "better", is "worse". ')


def test_rules_in_another_order_are_not_the_same() -> None:
    assert "rules was [" in told({"rules": RULES}, {"rules": RULES[::-1]})
    assert differing({"rules": RULES}, {"rules": RULES[::-1]}) == ["rules"]


def test_long_values_are_cut_to_where_they_differ() -> None:
    found, now = (f"{'x' * 300} {end}" for end in ("before", "after"))
    said = told({"body": found}, {"body": now})
    assert 'before", is …' in said and 'after"' in said
    assert len(said) < 200
