import itertools

from hypothesis import given
from hypothesis import strategies as st

from encore_ray.composition.measure.problems import Offenders, ScoreProblems


@given(st.lists(st.text("abc", max_size=3)), st.integers(0, 20))
def test_the_first_ids_do_not_depend_on_how_a_corpus_is_split(ids, cut):
    merged = Offenders.of(ids[cut:]) + Offenders.of(ids[:cut])
    assert merged == Offenders.of(ids)
    assert merged.count == len(ids)
    assert merged.first_ids == tuple(sorted(set(ids))[:5])


def test_problems_merge_by_count_and_by_range():
    parts = [
        ScoreProblems(Offenders.of(["b"]), Offenders(), 0.0, 1.0),
        ScoreProblems(Offenders.of(["a"]), Offenders.of(["c", "c"]), -1.0, 0.5),
        ScoreProblems(),
    ]
    expected = ScoreProblems(Offenders(2, ("a", "b")), Offenders(2, ("c",)), -1.0, 1.0)
    for a, b, c in itertools.permutations(parts):
        assert (a + b) + c == a + (b + c) == expected
