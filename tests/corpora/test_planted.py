"""The planted corpora against what is known of them."""

import numpy as np
import pytest

from encore_ray.corpora.planted.corpus import WORLDS, planted_ratings, planted_text
from encore_ray.corpora.planted.sentences import LADDERS, RULE_TEXTS
from encore_ray.errors import ConfigError

# World: Pearson(H, accuracy), accuracy of uniform weights, of ENCORE at tau = .25, .5, 1, 2: measured at n = 20,000.
MEASURED = {
    "noise": (-0.97, 0.662, 0.769, 0.740, 0.703, 0.682),
    "signal": (0.98, 0.704, 0.615, 0.651, 0.677, 0.690),
    "noise_and_degenerate": (0.14, 0.661, 0.691, 0.687, 0.694, 0.677),
    "noise_and_wrong_sign": (0.02, 0.656, 0.548, 0.664, 0.682, 0.671),
}


def entropy_K(world):
    ratings_MK = np.concatenate([world.chosen_NK, world.rejected_NK])
    share_KL = np.stack([(ratings_MK == level).mean(axis=0) for level in range(11)], axis=1)
    return -(share_KL * np.log(np.where(share_KL > 0, share_KL, 1))).sum(axis=1)


def accuracy(world, weight_K):
    """Share of pairs won, a tie half; the ratings are whole, so that a tie is a margin of rounding errors only."""
    margin_N = (world.chosen_NK.astype(float) - world.rejected_NK) @ weight_K
    return (margin_N > 1e-9).mean() + (np.abs(margin_N) <= 1e-9).mean() / 2


def accuracy_K(world):
    return np.array([accuracy(world, one) for one in np.eye(len(world.rules))])


@pytest.mark.parametrize("name", WORLDS)
def test_a_world_gives_the_figures_that_were_measured(name):
    world = planted_ratings(name, num_pairs=20_000, seed=11)
    entropy = entropy_K(world)
    live = entropy > 0
    found = [np.corrcoef(entropy[live], accuracy_K(world)[live])[0, 1], accuracy(world, np.ones(len(world.rules)))]
    found += [accuracy(world, np.exp(-entropy / tau)) for tau in (0.25, 0.5, 1, 2)]
    assert found == pytest.approx(MEASURED[name], abs=0.02)


@pytest.mark.parametrize("name", ["noise", "signal"])
def test_rules_are_right_as_often_as_planted_up_to_rounding(name):
    # (1 - 2 eps)(1/2 + atan(a / (sigma sqrt 2)) / pi) + eps; first rule of `noise`: a = .8, sigma = .4:
    # .8 * (.5 + atan(1.41421) / pi) + .1 = .8 * (.5 + .30409) + .1 = .74327. Ratings are rounded: up to .05 less.
    world = planted_ratings(name, num_pairs=20_000, seed=12)
    if name == "noise":
        assert world.expected_accuracy_K[0] == pytest.approx(0.74327, abs=1e-5)
    short_K = world.expected_accuracy_K - accuracy_K(world)
    assert (short_K > -0.012).all()  # three standard errors: 3 * sqrt(.25 / 20,000) = .0106
    assert (short_K < 0.06).all()


@pytest.mark.parametrize("name", WORLDS)
def test_ratings_are_levels_of_their_rules(name):
    world = planted_ratings(name, num_pairs=500, seed=1)
    assert world.chosen_NK.shape == world.rejected_NK.shape == (500, len(world.rules))
    assert world.chosen_NK.dtype == np.float32
    for k, rule in enumerate(world.rules):
        assert set(world.chosen_NK[:, k]) | set(world.rejected_NK[:, k]) <= set(rule.scale.levels)


def test_the_degenerate_rules_are_degenerate():
    world = planted_ratings("noise_and_degenerate", num_pairs=20_000, seed=2)
    assert world.rules.names[-3:] == ["constant", "rare", "tight_noise"]
    both_MK = np.concatenate([world.chosen_NK, world.rejected_NK])
    assert (both_MK[:, -3] == 10).all()
    assert (both_MK[:, -2] == 0).mean() == pytest.approx(0.01, abs=0.002)
    assert np.isnan(world.expected_accuracy_K[-3:]).all()


def test_the_same_seed_gives_the_same_corpus_and_another_seed_another():
    first, again, other = (planted_text(50, seed=seed) for seed in (3, 3, 4))
    assert first.rows == again.rows
    np.testing.assert_array_equal(first.world.chosen_NK, again.world.chosen_NK)
    assert {row["prompt"] for row in first.rows} != {row["prompt"] for row in other.rows}
    assert {row["id"] for row in first.rows}.isdisjoint(row["id"] for row in other.rows)


def test_a_text_says_one_sentence_a_rule_at_its_rating():
    corpus = planted_text(300, seed=5)
    for side, ratings_NK in (("chosen", corpus.world.chosen_NK), ("rejected", corpus.world.rejected_NK)):
        for row, ratings_K in zip(corpus.rows, ratings_NK, strict=True):
            rest = row[side]
            for name, rating in zip(corpus.world.rules.names, ratings_K, strict=True):
                assert rest.count(LADDERS[name][int(rating)]) == 1
                rest = rest.replace(LADDERS[name][int(rating)], "")
            assert not rest.strip()


def test_no_two_ratings_are_said_alike():
    said = [sentence for ladder in LADDERS.values() for sentence in dict.fromkeys(ladder)]
    assert len(said) == len(set(said)) == 8 * 11 + 1 + 2  # eight full ladders, a constant, a rare one
    assert list(LADDERS) == list(RULE_TEXTS)


def test_the_text_corpus_is_one_that_encore_wins_and_two_rules_are_degenerate():
    world = planted_text(4000, seed=6).world
    entropy = entropy_K(world)
    assert entropy[-2] == 0  # no_slurs
    assert 0 < entropy[-1] < 0.1  # no_doxxing: -.01 ln .01 - .99 ln .99 = .056
    assert (entropy[:8] > 1).all()
    assert accuracy(world, np.exp(-entropy / 2)) > accuracy(world, np.ones(10)) + 0.01


def test_every_pair_has_a_prompt_and_an_id_of_its_own():
    # Prompts are the independent unit of every interval: few prompts would make them all meaningless.
    rows = planted_text(4000, seed=7).rows
    assert len({row["prompt"] for row in rows}) == len({row["id"] for row in rows}) == 4000
    assert len({row["subset"] for row in rows}) == 5
    assert all(list(row) == ["id", "prompt", "chosen", "rejected", "subset"] for row in rows)


def test_what_cannot_be_planted_is_refused():
    with pytest.raises(ConfigError, match="Unknown planted world 'calm'; known: noise, signal"):
        planted_ratings("calm", num_pairs=10, seed=0)
    with pytest.raises(ConfigError, match="needs one pair or more; 0 were asked for"):
        planted_text(0, seed=0)
    with pytest.raises(ConfigError, match="at most 40960 pairs; 40961 were asked for"):
        planted_text(40_961, seed=0)
