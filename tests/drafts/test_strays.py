"""What lies far from all other scores is told, and leaves the scale of the others as it is."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from encore_ray.drafts.observed import observe
from encore_ray.drafts.rules import draft_rules
from encore_ray.drafts.strays import find_strays

FIVE = {1.0: 800, 2.0: 800, 3.0: 800, 4.0: 800, 5.0: 800}


@pytest.mark.parametrize(
    ("more", "strays"),
    [
        ({50.0: 1}, [50]),  # 45 away from 1 to 5
        ({50.0: 4}, [50]),  # as many as 0.1 % of 4,004
        ({50.0: 40}, []),  # 1 %: no slip any more
        ({9.0: 1}, [9]),  # 4 away, as far as 1 is from 5
        ({8.0: 1}, []),
        ({-1.0: 900}, [-1]),  # a code, however many
        ({99.0: 1500}, [99]),
        ({999.0: 12, -1.0: 3}, [999, -1]),
        ({0.0: 5}, []),
        ({100.0: 1, 200.0: 1}, [200, 100]),
        ({50.0: 1, 51.0: 1}, []),  # two beside each other are as far from one another as slips are not: 1 to 51 is one
    ],
    ids=str,
)
def test_a_value_far_from_all_others_is_one(more: dict[float, int], strays: list[float]) -> None:
    assert [stray.value for stray in find_strays(FIVE | more)] == strays


@pytest.mark.parametrize(
    "counts",
    [
        {-1.0: 500, 0.0: 500, 1.0: 500},  # a scale of three
        {float(n): 10 for n in range(100)},  # 99 is the last of a hundred
        {0.0: 9, 9.0: 1},  # too few to tell
        {0.0: 9999, 1.0: 1},  # two levels, of which one is rare
        {},
    ],
    ids=["three", "hundred", "few", "two", "none"],
)
def test_what_may_well_be_a_scale_has_none(counts: dict[float, int]) -> None:
    assert find_strays(counts) == []


def drafted(chosen: np.ndarray) -> tuple[str, tuple[str, ...]]:
    """The scale that is drafted for scores, and the notes."""
    rejected = np.roll(chosen, 1)
    table = pa.table({"chosen__a": chosen, "rejected__a": rejected})
    made = draft_rules(observe([table.slice(0, 7), table.slice(7)], ["a"]), of="x")
    scale = made.rules[0].scale
    return (f"{scale.levels or (scale.lo, scale.hi)}", made.notes)


def test_a_scale_leaves_out_what_stands_apart_and_says_so() -> None:
    ratings = np.tile([1.0, 2, 3, 4, 5], 400)
    ratings[77] = 50
    scale, notes = drafted(ratings)
    assert scale == "(1.0, 2.0, 3.0, 4.0, 5.0)"
    assert notes[-1] == (
        "a: 50 in 2 of 4,000, where the others lie from 1 to 5: likely a slip, or a code for no value. The scale "
        "leaves it out: mend the data, or widen the scale"
    )
    scale, notes = drafted(np.tile([0.0, 1, 2, 3, 4, -1], 400))  # it may be a level, and no scale would suffer by it
    assert scale == "(-1.0, 0.0, 1.0, 2.0, 3.0, 4.0)"
    assert notes[-1].endswith(
        "from 0 to 4: a usual code for a missing value. If it stands for no rating, take it off the scale, and mend "
        "the data to null, or leave such rows out"
    )


def test_scores_of_any_size_have_no_stray_among_them() -> None:
    scores = np.random.default_rng(0).normal(0, 3, 2000)
    scores[:3] = 40.5, 2.0, -7.0
    scale, notes = drafted(scores)
    assert scale == "(-12.0, 41.0)" and len(notes) == 2


def test_a_code_among_scores_of_any_size_is_found() -> None:
    scores = np.random.default_rng(0).uniform(0.1, 0.9, 2000)
    scores[::50] = -999
    scale, notes = drafted(scores)
    assert scale == "(0.0, 1.0)"
    assert notes[-1].startswith("a: -999 in 80 of 4,000, where the others lie from 0.1")


def test_what_is_counted_in_parts_is_what_is_counted_at_once() -> None:
    values = np.random.default_rng(1).choice([1.0, 2.0, 2.5, 7.0, 99.0], 600)
    table = pa.table({"chosen__a": values, "rejected__a": values})
    (once,) = observe([table], ["a"])
    (parts,) = observe([table.slice(start, 100) for start in range(0, 600, 100)], ["a"])
    assert once == parts
    assert once.strays and once.strays[0].count == 2 * Counter(values.tolist())[99.0]


@pytest.mark.parametrize("code", [99.0, -1.0, 999.0, 50.0])
@pytest.mark.parametrize("others", [[1.0, 2.0], [1.0, 1.5]], ids=["whole", "broken"])
def test_a_stray_is_no_evidence_for_a_direction(code: float, others: list[float]) -> None:
    chosen, rejected = np.tile(others, 300), np.tile([3.0, 4.0, 5.0], 200)
    if code == 50:  # a slip is rare
        chosen[7] = code
    else:  # a code, in the half of all at most, on one side or on both
        chosen[np.arange(600) % 5 < 3], rejected[[3, 4]] = code, code
    table = pa.table({"chosen__a": chosen, "rejected__a": rejected})
    (seen,) = observe([table.slice(0, 100), table.slice(100)], ["a"])
    fair = int(((chosen != code) & (rejected != code)).sum())
    assert [stray.value for stray in seen.strays] == [code]
    assert (seen.num_higher, seen.num_lower) == (0, fair) and seen.is_worse
    drafted = draft_rules([seen], of="x")
    assert drafted.rules[0].higher_is == "worse"
    assert f"in 0 of the {fair:,} pairs that differ and have no {code:g}\n" in drafted.text


def test_codes_of_each_rule_have_the_same_advice_and_none_to_widen_a_scale() -> None:
    random = np.random.default_rng(3)
    columns = {f"{side}__{rule}": random.integers(1, 6, 400) * 1.0 for side in ("chosen", "rejected") for rule in "abc"}
    for rule, code in zip("abc", (-1.0, 99.0, 999.0), strict=True):
        columns[f"chosen__{rule}"][::3] = code
    notes = draft_rules(observe([pa.table(columns)], [*"abc"]), of="x").notes[-3:]
    advice = "The scale leaves it out. It stands for no rating: mend the data to null, or leave such rows out"
    assert [note.partition(": a usual code for a missing value. ")[2] for note in notes] == [advice] * 3
