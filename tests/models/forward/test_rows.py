"""Rows: every sequence whole, every shared prefix once, no row over its budget."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encore_ray.models.forward.rows import distinct_sequences, plan_rows

# Few different tokens and a common start: most sequences share something with others.
SEQUENCES = st.lists(
    st.builds(
        lambda system, rest: [*([1, 2, 3] if system else []), *rest],
        st.booleans(),
        st.lists(st.integers(0, 2), min_size=1, max_size=9),
    ),
    max_size=24,
)
BUDGETS = st.integers(1, 60)


def arrays(sequences):
    return [np.array(ids, dtype=np.int32) for ids in sequences]


def planned(sequences, *, batch_tokens=10_000, share=True):
    distinct, _ = distinct_sequences(arrays(sequences))
    return distinct, plan_rows(distinct, batch_tokens=batch_tokens, share=share)


def nodes_of_trie(sequences):
    return {tuple(ids[: i + 1]) for ids in sequences for i in range(len(ids))}


@given(SEQUENCES, BUDGETS, st.booleans())
def test_every_sequence_is_read_from_its_path_in_its_places(sequences, batch_tokens, share):
    distinct, rows = planned(sequences, batch_tokens=batch_tokens, share=share)
    assert [i for row in rows for i in row.sequences] == list(range(len(distinct)))
    for row in rows:
        for i, path in zip(row.sequences, row.paths, strict=True):
            assert row.ids_T[path].tolist() == distinct[i].tolist()
            assert row.positions_T[path].tolist() == list(range(len(distinct[i])))


@given(SEQUENCES, BUDGETS)
def test_a_row_has_one_slot_for_every_node_of_its_trie(sequences, batch_tokens):
    distinct, rows = planned(sequences, batch_tokens=batch_tokens)
    for row in rows:
        assert len(row.ids_T) == len(nodes_of_trie([distinct[i].tolist() for i in row.sequences]))


@given(SEQUENCES, BUDGETS, st.booleans())
def test_a_sequence_brings_its_last_tokens_and_every_slot_is_brought_once(sequences, batch_tokens, share):
    for row in planned(sequences, batch_tokens=batch_tokens, share=share)[1]:
        own = [path[first:].tolist() for path, first in zip(row.paths, row.own, strict=True)]
        assert all(own)  # at least one token, at whose slot the sequence is scored
        assert [slot for slots in own for slot in slots] == list(range(len(row.ids_T)))


@given(SEQUENCES, BUDGETS)
def test_without_sharing_no_slot_is_in_two_sequences(sequences, batch_tokens):
    distinct, rows = planned(sequences, batch_tokens=batch_tokens, share=False)
    assert sum(len(row.ids_T) for row in rows) == sum(map(len, distinct))
    for row in rows:
        assert len(np.unique(np.concatenate(row.paths))) == len(row.ids_T) == sum(map(len, row.paths))
        assert not any(row.own)


@given(SEQUENCES, BUDGETS, st.booleans())
def test_no_row_is_over_its_limit(sequences, batch_tokens, share):
    distinct, rows = planned(sequences, batch_tokens=batch_tokens, share=share)
    for row in rows:
        longest = len(distinct[row.sequences[0]])
        assert len(row.ids_T) <= max(batch_tokens, longest + longest // 2)


@given(SEQUENCES, BUDGETS, st.booleans(), st.randoms(use_true_random=False))
def test_the_order_of_the_sequences_does_not_matter(sequences, batch_tokens, share, random):
    order = random.sample(range(len(sequences)), len(sequences))
    (_, rows), (_, others) = (
        planned(given, batch_tokens=batch_tokens, share=share) for given in (sequences, [sequences[i] for i in order])
    )
    for row, other in zip(rows, others, strict=True):
        for name in ("ids_T", "positions_T"):
            np.testing.assert_array_equal(getattr(row, name), getattr(other, name))
        assert (row.own, row.sequences) == (other.own, other.sequences)


@given(SEQUENCES)
def test_distinct_sequences_are_sorted_and_found_again(sequences):
    distinct, places = distinct_sequences([*arrays(sequences), None])
    assert all(a.tolist() < b.tolist() for a, b in pairwise(distinct))
    assert [distinct[place].tolist() for place in places[:-1]] == sequences
    assert places[-1] == -1


def test_large_ids_are_sorted_by_their_value():
    # 256 and 65,536 have other bytes before their lowest: as little-endian bytes they would come before 1.
    distinct, _ = distinct_sequences(arrays([[65_536], [256], [1], [2**31 - 1]]))
    assert [ids.tolist() for ids in distinct] == [[1], [256], [65_536], [2**31 - 1]]


def test_a_pair_has_its_prompt_once():
    # 0 1 2 3 | 4 and 0 1 2 3 | 5 6: 4 + 1 + 2 slots.
    _, (row,) = planned([[0, 1, 2, 3, 5, 6], [0, 1, 2, 3, 4]])
    assert row.ids_T.tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert row.positions_T.tolist() == [0, 1, 2, 3, 4, 4, 5]
    assert [path.tolist() for path in row.paths] == [[0, 1, 2, 3, 4], [0, 1, 2, 3, 5, 6]]
    assert row.own == [0, 4]


def test_equal_sequences_are_one():
    distinct, places = distinct_sequences(arrays([[7, 8], [9], [7, 8]]))
    assert [ids.tolist() for ids in distinct] == [[7, 8], [9]]
    assert places.tolist() == [0, 1, 0]


def test_a_row_is_cut_where_least_is_shared():
    # Prompt A with 2 branches takes 5 + 1 + 1 = 7 slots, prompt B with 4 takes 9. Of 14 slots the second branch of B
    # fills the last; the row is cut before B nonetheless, so that B is computed once.
    families = [[*[prompt] * 5, branch] for prompt, branches in ((1, 2), (2, 4)) for branch in range(10, 10 + branches)]
    _, rows = planned(families, batch_tokens=14)
    assert [row.sequences for row in rows] == [[0, 1], [2, 3, 4, 5]]
    assert [len(row.ids_T) for row in rows] == [7, 9]


def test_a_row_is_not_cut_in_its_first_half():
    # Nothing is shared at the second sequence, but a cut there would leave a row of 2 slots where 20 are allowed.
    _, rows = planned([[1, 5], *([2, 3, branch] for branch in range(10, 40))], batch_tokens=20)
    assert len(rows[0].ids_T) > 10


def test_a_sequence_over_the_budget_keeps_its_branches():
    # A prompt of 100 with three branches of 10 under a budget of 60: 130 <= 1.5 * 110 slots, one row.
    branches = [[1] * 100 + [branch] * 10 for branch in (2, 3, 4)]
    _, rows = planned(branches, batch_tokens=60)
    assert [len(row.ids_T) for row in rows] == [130]


def test_many_branches_of_a_long_prompt_are_split():
    # Each branch of 60 on a prompt of 60: 60 + 60 = 120 <= 1.5 * 120 = 180, with two 180, with three 240 > 180.
    branches = [[1] * 60 + [branch] * 60 for branch in range(2, 6)]
    _, rows = planned(branches, batch_tokens=50)
    assert [len(row.ids_T) for row in rows] == [180, 180]


def test_a_row_gathers_at_most_eight_budgets_of_keys():
    # 99 short branches of a prompt of 50 need 149 slots but 99 * 51 keys; 1.5 * 51 = 76 < 200 slots are the limit.
    _, rows = planned([[1] * 50 + [branch] for branch in range(2, 101)], batch_tokens=200)
    keys = [sum(map(len, row.paths)) for row in rows]
    assert keys == [31 * 51, 31 * 51, 31 * 51, 6 * 51]  # 31 * 51 = 1581 <= 8 * 200 < 32 * 51


@pytest.mark.parametrize("share", [True, False])
def test_no_sequences_give_no_rows(share):
    assert planned([], share=share) == ([], [])
