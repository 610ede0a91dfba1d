import itertools

from hypothesis import given
from hypothesis import strategies as st

from encore_ray.corpora.files.digest import ContentDigest

ITEMS = st.lists(st.binary(max_size=5), max_size=20)


@given(items=ITEMS, cuts=st.lists(st.integers(0, 20), max_size=5))
def test_the_digest_of_a_whole_is_the_sum_over_its_parts_wherever_it_is_cut(items: list[bytes], cuts: list[int]):
    bounds = [0, *sorted(min(cut, len(items)) for cut in cuts), len(items)]
    parts = [ContentDigest.of(items[a:b]) for a, b in itertools.pairwise(bounds)]
    assert sum(parts, ContentDigest()) == ContentDigest.of(items)


@given(left=ITEMS, right=ITEMS)
def test_different_sequences_have_different_digests(left: list[bytes], right: list[bytes]):
    assert (ContentDigest.of(left).hex == ContentDigest.of(right).hex) == (left == right)


def test_order_and_cuts_between_items_matter():
    digests = {ContentDigest.of(items).hex for items in ([b"ab", b"c"], [b"c", b"ab"], [b"a", b"bc"], [b"abc"], [])}
    assert len(digests) == 5
