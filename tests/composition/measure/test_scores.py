import numpy as np
import pytest

from encore_ray.composition.hashing.keys import is_heldout
from encore_ray.composition.measure.scores import PairScores, ScoreExtremes, measure_statistics
from encore_ray.composition.scales.binning import choose_binning
from encore_ray.errors import DataError
from tests.composition.builders import make_rule, make_rules, measure, plain

CHOSEN_KN = np.array([[0.2, 0.9, 0.4, 0.7], [0.5, 0.5, 0.5, 0.5]])
REJECTED_KN = np.array([[0.1, np.nan, 0.6, 0.3], [0.5, np.nan, 0.5, 0.5]])
RULES = make_rules(2)


def scores(rows: slice = slice(None)) -> PairScores:
    ids = [f"p{row:04d}" for row in range(4)][rows]
    return PairScores(
        chosen_KN=list(CHOSEN_KN[:, rows]),
        rejected_KN=list(REJECTED_KN[:, rows]),
        has_rejected_N=np.array([True, False, True, True])[rows],
        pair_ids=ids,
        keys=ids,
        subsets=None,
    )


def test_scores_in_memory_are_measured_as_their_columns_are():
    found = measure_statistics(scores(), RULES, [choose_binning(rule) for rule in RULES], clip=False)
    expected = measure(CHOSEN_KN, REJECTED_KN, rules=RULES, has_rejected_N=scores().has_rejected_N)
    assert plain(found) == plain(expected)


def test_weights_are_learned_from_the_differences_of_pairs_that_are_not_held_out():
    learned_N = scores().has_rejected_N & ~is_heldout(scores().keys)
    found = scores().calibration_differences(rules=RULES, score_range="declared")
    assert found.tolist() == (CHOSEN_KN - REJECTED_KN)[:, learned_N].tolist()
    worse = [make_rule("harm", higher_is="worse"), RULES[1]]
    assert scores().differences(learned_N, rules=type(RULES)(worse), score_range="declared")[0].tolist() == [
        -d for d in found[0].tolist()
    ]


def test_extremes_of_parts_add_up_and_leave_out_what_is_not_there():
    whole = ScoreExtremes.of(scores())
    parts = ScoreExtremes.of(scores(slice(0, 2))) + ScoreExtremes.of(scores(slice(2, 4)))
    assert plain(parts) == plain(whole)
    assert (whole.low_K.tolist(), whole.high_K.tolist()) == ([0.1, 0.5], [0.9, 0.5])
    first = ScoreExtremes(whole.low_K[:1], whole.high_K[:1]).binnings(make_rules(1), num_bins=4)
    assert [(cells.lo, cells.hi, cells.num_bins) for cells in first] == [(0.1, 0.9, 4)]
    with pytest.raises(DataError, match="two different scores; rule1 has one value or none"):
        whole.binnings(RULES, num_bins=None)
