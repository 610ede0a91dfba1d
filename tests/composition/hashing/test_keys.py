import hashlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from encore_ray.composition.hashing.keys import MAX_HASHES, DistinctKeys, hash_keys, heldout_halves, is_heldout
from tests.composition.builders import plain


def sketch(keys):
    return DistinctKeys.of(hash_keys(keys))


def test_the_hash_of_a_key_is_fixed():
    # any change would move stored intervals; computed word by word in tests/composition/hashing/test_texts.py
    assert hash_keys(["prompt-1", "ä"]).tolist() == [hash_keys(["prompt-1"])[0], hash_keys(["ä"])[0]]
    assert hash_keys(["prompt-1"]).dtype == np.uint64
    assert int(hash_keys(["prompt-1"])[0]) == 8713993687663793392


def test_repeated_keys_count_once_and_none_count_zero():
    assert sketch(["a", "b", "a"]).count == 2
    assert sketch([]).count == 0


@given(st.lists(st.text(max_size=3)), st.lists(st.text(max_size=3)))
def test_merging_is_set_union_in_any_order(a, b):
    merged = sketch(a) + sketch(b)
    assert merged.count == len(set(a) | set(b))
    assert plain(merged) == plain(sketch(b) + sketch(a)) == plain(sketch(a + b))


def test_above_the_limit_the_count_is_estimated_within_two_per_cent_whatever_the_order_of_merging():
    keys = [str(number) for number in range(3 * MAX_HASHES)]
    parts = [sketch(keys[start : start + 20_000]) for start in range(0, len(keys), 20_000)]
    forwards, backwards = parts[0], parts[-1]
    for part in parts[1:]:
        forwards += part
    for part in reversed(parts[:-1]):
        backwards = part + backwards
    assert plain(forwards) == plain(backwards) == plain(sketch(keys))
    assert len(forwards.hashes) == MAX_HASHES
    assert abs(forwards.count / len(keys) - 1) < 0.02


@given(st.lists(st.text()))
def test_a_fifth_of_the_keys_is_held_out_by_their_sha256(keys):
    expected = [int(hashlib.sha256(key.encode()).hexdigest(), 16) % 5 == 0 for key in keys]
    assert is_heldout(keys).tolist() == expected


def test_the_held_out_share_is_a_fifth():
    # 4 standard deviations of a binomial share of 10,000: 4 * sqrt(.2 * .8 / 10,000) = .016
    assert abs(is_heldout([f"prompt-{i}" for i in range(10_000)]).mean() - 0.2) < 0.016


def test_the_halves_are_what_is_held_out_told_apart_by_the_last_bit():
    keys = [f"prompt-{number}" for number in range(500)]
    even, odd = heldout_halves(keys)
    numbers = [int(hashlib.sha256(key.encode()).hexdigest(), 16) for key in keys]
    assert even.tolist() == [number % 10 == 0 for number in numbers]
    assert odd.tolist() == [number % 10 == 5 for number in numbers]
