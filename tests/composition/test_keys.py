import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from encore_ray.composition.keys import MAX_HASHES, DistinctKeys, hash_keys
from tests.composition.builders import plain


def sketch(keys):
    return DistinctKeys.of(hash_keys(keys))


def test_the_hash_of_a_key_is_fixed():
    # hashlib.blake2b(b"prompt-1", digest_size=8), little-endian: any change would move stored intervals
    assert hash_keys(["prompt-1", "ä"]).tolist() == [hash_keys(["prompt-1"])[0], hash_keys(["ä"])[0]]
    assert hash_keys(["prompt-1"]).dtype == np.uint64
    assert int(hash_keys(["prompt-1"])[0]) == 9205575635437560729


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
