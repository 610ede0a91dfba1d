"""Rule sets: what is read, what is refused, and what the fingerprint tells apart."""

import dataclasses
import re
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from encore_ray.errors import ConfigError, DataError
from encore_ray.rules import Link, Rule, RuleSet, Scale, Veto, slug

SCALE = Scale(0.0, 1.0)

finite = st.floats(-1e9, 1e9)
intervals = st.tuples(finite, finite).filter(lambda ends: ends[1] - ends[0] > 1e-37).map(lambda ends: Scale(*ends))
ratings = (
    st.lists(finite, min_size=2, max_size=7, unique=True).map(sorted).filter(lambda found: found[-1] - found[0] > 1e-37)
)
scales = st.one_of(intervals, ratings.map(lambda levels: Scale(levels[0], levels[-1], tuple(levels))))
names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@st.composite
def rules(draw: st.DrawFn, name: str) -> Rule:
    scale = draw(scales)
    links: tuple[Link, ...] = ("identity", "sigmoid", "expected_level")
    return Rule(
        name,
        draw(texts),
        draw(st.sampled_from(["better", "worse"])),
        scale,
        draw(st.sampled_from(links if scale.levels else links[:2])),
        draw(st.sampled_from(["error", "clip"])),
    )


@st.composite
def rule_sets(draw: st.DrawFn) -> RuleSet:
    chosen = draw(st.lists(names, min_size=1, max_size=5, unique_by=str.lower))
    return RuleSet(draw(rules(name)) for name in chosen)


def mapping(**changes: Any) -> dict[str, Any]:
    base = {"name": "kind", "text": "Is kind.", "higher_is": "better", "scale": {"lo": 0, "hi": 1}}
    return {key: value for key, value in {**base, **changes}.items() if value is not ...}


@given(rule_sets())
@example(RuleSet([Rule("a", "a\x85b: é", "better", SCALE)]))
@settings(max_examples=40)
def test_what_is_written_as_yaml_is_read_back_the_same(rule_set: RuleSet) -> None:
    again = RuleSet.from_yaml(rule_set.to_yaml())
    assert again == rule_set
    assert again.fingerprint == rule_set.fingerprint


def test_every_problem_of_every_rule_is_named_at_once() -> None:
    items = [
        mapping(name="-x", higher_is="up"),
        mapping(text=..., scale={"lo": 1, "hi": 1}, colour="red"),
        "not a rule",
        mapping(name="fine", link="expected_level"),
    ]
    with pytest.raises(DataError) as caught:
        RuleSet.from_list(items, where="my.yaml")
    said = str(caught.value)
    for part in (
        "my.yaml: rule 1 ('-x'): name must match",
        "rule 1 ('-x'): higher_is must be better or worse, found 'up'",
        "rule 2 ('kind'): unknown key 'colour' (known: name, text,",
        "rule 2 ('kind'): missing 'text'",
        "rule 2 ('kind'): scale.lo must be under scale.hi, found 1 and 1",
        "rule 3: expected a mapping, found str",
        "rule 4 ('fine'): link expected_level needs scale.levels",
    ):
        assert part in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: no", "name must be a YAML string, found False: put it in quotes"),
        ("name: 1e5", None),  # YAML 1.1 reads it as text
        ("name: 010", "name must be a YAML string, found 8"),
        ("name: 2024-01-01", "name must be a YAML string, found datetime.date"),
        ("name: ''", "name must match"),
        (f"name: {'a' * 65}", "name must match"),
        ("name: sub/set", "name must match"),
    ],
)
def test_a_name_that_yaml_does_not_read_as_text_is_refused(text: str, said: str | None) -> None:
    source = f"- {{{text}, text: t, higher_is: better, scale: {{lo: 0, hi: 1}}}}"
    if said is None:
        assert RuleSet.from_yaml(source).names == ["1e5"]
        return
    with pytest.raises(DataError) as caught:
        RuleSet.from_yaml(source)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("scale", "said"),
    [
        ("{lo: 0, hi: 1e5}", "finite numbers, found 0 and '1e5'"),  # YAML 1.1 wants 1.0e+5
        ("{lo: 0, hi: .inf}", "finite numbers, found 0 and inf"),
        ("{lo: .nan, hi: 1}", "finite numbers, found nan and 1"),
        (f"{{lo: 0, hi: {10**400}}}", "finite numbers"),
        ("{lo: -1.0e+39, hi: 0}", "scale must fit scores in float32 (1.2e-38 to 3.4e+38), found -1e+39 to 0"),
        ("{levels: [0, 1.0e+200]}", "scale must fit scores in float32"),
        ("{lo: 0, hi: 1.0e-39}", "scale must fit scores in float32"),
        ("{lo: false, hi: true}", "finite numbers, found False and True"),
        ("{levels: [1]}", "two or more finite numbers, found [1]"),
        ("{levels: [1, 3, 2]}", "strictly ascending"),
        ("{levels: [1, 1]}", "strictly ascending"),
        ("{lo: 0, hi: 1, levels: [0, 1]}", "lo and hi, or levels; found ['hi', 'levels', 'lo']"),
        ("[0, 1]", "scale must be {lo: .., hi: ..} or {levels: [..]}"),
    ],
)
def test_a_scale_that_is_none_is_refused_with_what_was_found(scale: str, said: str) -> None:
    with pytest.raises(DataError) as caught:
        RuleSet.from_yaml(f"- {{name: a, text: t, higher_is: better, scale: {scale}}}")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "found an empty list"),
        ("a: 1", "found dict"),
        ("", "found NoneType"),
        ("- {a", "is not valid YAML"),
        ("- 2026-13-45", "is not valid YAML"),
    ],
)
def test_a_file_that_holds_no_rules_is_refused(text: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        RuleSet.from_yaml(text)


def test_names_are_unique_ignoring_case() -> None:
    with pytest.raises(DataError, match=r"rule 2 \('KIND'\): same name as rule 1"):
        RuleSet.from_list([mapping(), mapping(name="KIND")])
    for twin in ("kind", "Kind"):
        with pytest.raises(DataError, match="more than once"):
            RuleSet([Rule("kind", "", "better", SCALE), Rule(twin, "", "worse", SCALE)])


def test_a_missing_rules_file_is_the_users_and_a_wrong_one_the_datas(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: no such file"):
        RuleSet.load(tmp_path / "nowhere.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"- name: caf\xe9")
    with pytest.raises(DataError, match=r"latin\.yaml is not UTF-8"):
        RuleSet.load(tmp_path / "latin.yaml")


@given(rule_sets(), st.data())
@settings(max_examples=25)
def test_the_fingerprint_changes_with_any_field(rule_set: RuleSet, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(rule_set) - 1))
    rule = rule_set[index]
    changes = {
        "name": f"x{rule.name}"[:64] if not rule.name.startswith("x") else f"y{rule.name}"[:64],
        "text": f"{rule.text}.",
        "higher_is": "worse" if rule.higher_is == "better" else "better",
        "scale": Scale(rule.scale.lo, rule.scale.hi + 1.0),
        "link": "identity" if rule.link != "identity" else "sigmoid",
        "out_of_range": "clip" if rule.out_of_range == "error" else "error",
    }
    for field, value in changes.items():
        changed = list(rule_set)
        changed[index] = dataclasses.replace(rule, **{field: value})
        if len({other.name.lower() for other in changed}) == len(changed):
            assert RuleSet(changed).fingerprint != rule_set.fingerprint, field


def test_the_order_of_rules_is_part_of_the_fingerprint() -> None:
    a, b = Rule("a", "", "better", SCALE), Rule("b", "", "better", SCALE)
    assert RuleSet([a, b]).fingerprint != RuleSet([b, a]).fingerprint


def test_integers_and_floats_of_the_same_value_are_the_same_scale() -> None:
    one = RuleSet.from_list([mapping(scale={"lo": 0, "hi": 1})])
    assert one.fingerprint == RuleSet.from_list([mapping(scale={"lo": 0.0, "hi": 1.0})]).fingerprint


def test_polarity_is_minus_one_where_higher_is_worse() -> None:
    rule_set = RuleSet([Rule("a", "", "better", SCALE), Rule("b", "", "worse", SCALE)])
    assert [rule.polarity for rule in rule_set] == [1, -1]


@given(st.text(max_size=80), st.lists(st.text(alphabet=string.ascii_letters + "_ ", max_size=6), max_size=5))
@settings(max_examples=50)
def test_a_slug_is_a_valid_name_that_nobody_has(label: str, others: list[str]) -> None:
    taken: list[str] = []
    for other in [*others, *others, label]:
        name = slug(other, taken)
        RuleSet.from_list([mapping(name=name)])
        assert name.lower() not in {used.lower() for used in taken}
        taken.append(name)


def test_many_equal_long_labels_get_names_of_their_own() -> None:
    base = "x" * 60
    taken = [base, *(f"{base}_{number}" for number in range(2, 1000))]  # as slug numbers them, up to 64 characters
    name = slug("x" * 80, taken)
    assert name == "x" * 59 + "_1000"
    assert len(name) == 64


def read(**changes: Any) -> Rule:
    return RuleSet.from_list([mapping(**changes)])[0]


@pytest.mark.parametrize(
    ("changes", "veto"),
    [
        ({"veto": {"below": 0.5}}, Veto("below", 0.5)),
        ({"veto": {"below": 1}}, Veto("below", 1.0)),  # only the best score keeps the rule
        ({"veto": {"above": 0}, "higher_is": "worse"}, Veto("above", 0.0)),
        ({"veto": {"below": 3}, "scale": {"levels": [1, 3, 5]}}, Veto("below", 3.0)),
    ],
)
def test_a_veto_is_read_where_it_is_on_the_bad_side_and_inside_the_scale(changes: Any, veto: Veto) -> None:
    assert read(**changes).veto == veto


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"veto": 0.5}, "veto must be {below: x}, found 0.5"),
        ({"veto": {}}, "veto must be {below: x}"),
        ({"veto": {"below": 0.2, "above": 0.8}}, "veto must be {below: x}"),
        ({"veto": {"under": 0.2}}, "veto must be {below: x}"),
        ({"veto": {"above": 0.8}}, "veto must be on the bad side: a higher score is better, so {below: x}"),
        ({"veto": {"below": 0.8}, "higher_is": "worse"}, "a higher score is worse, so {above: x}"),
        ({"veto": {"below": "0.5"}}, "veto.below must be a finite number, found '0.5'"),
        ({"veto": {"below": float("nan")}}, "veto.below must be a finite number"),
        ({"veto": {"below": 0}}, "inside the scale, so that a score can break it and another can keep it: over 0, up"),
        ({"veto": {"below": 1.1}}, "over 0, up to 1; found 1.1"),
        ({"veto": {"above": 1}, "higher_is": "worse"}, "from 0, under 1; found 1"),
        ({"points": 0}, "points must be a finite number above 0, found 0: to leave the rule out, remove it"),
        ({"points": -1}, "points must be a finite number above 0, found -1: turn higher_is to count it the other way"),
        ({"points": True}, "points must be a finite number above 0, found True"),
        ({"points": float("inf")}, "points must be a finite number above 0, found inf"),
        ({"veto": {"below": 0.5}, "higher_is": ["better"]}, "higher_is must be better or worse"),
    ],
)
def test_a_wrong_veto_or_wrong_points_are_refused_with_what_to_write(changes: Any, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        read(**changes)


def test_veto_and_points_are_in_the_fingerprint_where_they_are_set_and_decide_no_score() -> None:
    plain = RuleSet.from_list([mapping()])
    assert set(plain.to_list()[0]) == {"name", "text", "higher_is", "scale", "link", "out_of_range"}
    for changes in ({"veto": {"below": 0.5}}, {"points": 2}):
        changed = RuleSet.from_list([mapping(**changes)])
        assert RuleSet.from_yaml(changed.to_yaml()) == changed
        assert changed.fingerprint != plain.fingerprint
        assert changed.scoring_fingerprint == plain.scoring_fingerprint
