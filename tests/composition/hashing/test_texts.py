import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encore_ray.composition.hashing.texts import Texts

WRAP = 2**64


def splitmix(state):
    """One step of splitmix64, as published: https://prng.di.unimi.it/splitmix64.c"""
    state = (state + 0x9E3779B97F4A7C15) % WRAP
    state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % WRAP
    state = (state ^ (state >> 27)) * 0x94D049BB133111EB % WRAP
    return state ^ (state >> 31)


def hash_one(text):
    data = text.encode()
    state = splitmix(len(data))
    for start in range(0, len(data), 8):
        state = splitmix(state ^ int.from_bytes(data[start : start + 8], "little"))
    return state


def test_the_mixing_function_gives_the_published_first_number_of_seed_1234567():
    assert splitmix(1234567) == 6457827717110365317


@given(st.lists(st.text(max_size=30), max_size=20))
def test_texts_are_hashed_one_by_one_whatever_stands_beside_them(texts):
    assert Texts.of(texts).hash_N().tolist() == [hash_one(text) for text in texts]


@given(st.lists(st.text("0123456789abcdef", min_size=32, max_size=32), max_size=20), st.integers(0, 20))
def test_texts_of_one_length_are_hashed_as_any_others(texts, start):
    expected = [hash_one(text) for text in texts]
    assert Texts.of(texts).hash_N().tolist() == expected
    assert Texts.of(texts)[start:].hash_N().tolist() == expected[start:]
    assert Texts.of([*texts, "short"]).hash_N().tolist()[:-1] == expected


def test_texts_that_only_differ_in_zeros_at_their_end_have_different_hashes():
    texts = ["", "\0", "a", "a\0", "a" * 8, "a" * 8 + "\0", "a" * 16]
    assert len(set(Texts.of(texts).hash_N().tolist())) == len(texts)


def test_close_texts_do_not_collide_and_their_hashes_spread_evenly():
    hash_N = Texts.of([f"prompt-{number}" for number in range(100_000)]).hash_N()
    assert len(np.unique(hash_N)) == 100_000
    # mean 1/2 of uniform numbers, standard deviation 1 / sqrt(12 * 100,000) = .0009
    assert (hash_N / 2.0**64).mean() == pytest.approx(0.5, abs=0.004)
    ones_64 = ((hash_N[:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)).mean(axis=0)
    assert np.abs(ones_64 - 0.5).max() < 0.008  # five standard deviations of .0016


@given(st.lists(st.text(max_size=5), max_size=10), st.integers(0, 10), st.integers(0, 10))
def test_texts_are_a_sequence_of_what_they_were_made_of(texts, start, stop):
    made = Texts.of(texts)
    assert list(made) == texts
    assert [made[row] for row in range(-len(texts), len(texts))] == texts + texts
    part = made[start:stop]
    assert list(part) == texts[start:stop]
    assert part.hash_N().tolist() == made.hash_N().tolist()[start:stop]
    assert Texts.of(made) is made
    with pytest.raises(IndexError):
        made[len(texts)]
