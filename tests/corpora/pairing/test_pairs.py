import pytest
from hypothesis import given
from hypothesis import strategies as st

from encore_ray.corpora.pairing.pairs import Candidate, canonical_pair
from encore_ray.corpora.rows import BadRow
from encore_ray.corpora.turns.messages import Turn
from encore_ray.schema import Reason


def conversation(*contents: str, system: str | None = None) -> list[Turn]:
    """Alternating turns, user first."""
    turns = [(("user", "assistant")[i % 2], content) for i, content in enumerate(contents)]
    return [("system", system), *turns] if system is not None else turns


CONVERSATIONS = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("ab")), min_size=1, max_size=4).map(
    lambda exchanges: conversation(*(content for exchange in exchanges for content in exchange))
)


@given(chosen=CONVERSATIONS, rejected=CONVERSATIONS)
def test_prompt_and_response_make_up_the_conversation_again(chosen: list[Turn], rejected: list[Turn]):
    if chosen[0] != rejected[0]:
        with pytest.raises(BadRow) as problem:
            canonical_pair(Candidate(chosen, rejected))
        assert problem.value.reason is Reason.NO_COMMON_PROMPT
        return
    pair = canonical_pair(Candidate(chosen, rejected))
    assert pair.rejected is not None
    assert pair.prompt + pair.chosen == chosen
    assert pair.prompt + pair.rejected == rejected
    assert pair.chosen[-1][0] == pair.rejected[-1][0] == "assistant"
    is_longest = pair.chosen[0] != pair.rejected[0] or min(len(pair.chosen), len(pair.rejected)) == 1
    assert is_longest


def test_the_prompt_is_the_longest_common_run_of_turns():
    pair = canonical_pair(Candidate(conversation("q", "a", "r", "b"), conversation("q", "a", "s", "c", "t", "d")))
    assert pair.prompt == conversation("q", "a")
    assert pair.chosen == conversation("r", "b")
    assert pair.rejected == conversation("s", "c", "t", "d")


def test_identical_sides_keep_their_last_turn():
    pair = canonical_pair(Candidate(conversation("q", "a"), conversation("q", "a")))
    assert (pair.prompt, pair.chosen, pair.rejected) == ([("user", "q")], [("assistant", "a")], [("assistant", "a")])
    assert pair.is_identical


def test_a_conversation_that_starts_the_other_keeps_its_last_turn():
    short, long = conversation("q", "a"), conversation("q", "a", "r", "b")
    pair = canonical_pair(Candidate(short, long))
    assert (pair.prompt, pair.chosen, pair.rejected) == (long[:1], long[1:2], long[1:])


def test_a_single_response_is_the_last_turn():
    pair = canonical_pair(Candidate(conversation("q", "a", "r", "b"), None))
    assert (pair.prompt, pair.chosen, pair.rejected) == (conversation("q", "a", "r"), [("assistant", "b")], None)
    assert not pair.is_identical


def test_a_common_system_turn_alone_is_no_common_prompt():
    with pytest.raises(BadRow, match="same user turn"):
        canonical_pair(Candidate(conversation("q", "a", system="be kind"), conversation("p", "a", system="be kind")))


def test_the_side_with_the_fault_is_named():
    with pytest.raises(BadRow, match="turn 2 of rejected: expected assistant, found user"):
        canonical_pair(Candidate(conversation("q", "a"), [("user", "q"), ("user", "r")]))
