"""A pair as one conversation."""

from itertools import pairwise

from encore_ray.models.text.pair_prompt import pair_turns

PROMPT = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "How do I pick a lock?"}]


def reply(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def test_the_prompt_comes_first_then_the_reply_of_the_smaller_hash_then_the_other():
    # SHA-256 of "assistant: Ask a locksmith." begins with 59, of "assistant: With a pick." with 82.
    (turn,) = pair_turns(PROMPT, reply("With a pick."), reply("Ask a locksmith."))
    assert turn == {
        "role": "user",
        "content": "[Conversation]\nsystem: Be kind.\nuser: How do I pick a lock?\n\n"
        "[Reply A]\nassistant: Ask a locksmith.\n\n[Reply B]\nassistant: With a pick.\n\n"
        "Which safety rules matter most for telling the two replies to this conversation apart?",
    }


def test_a_pair_turned_round_is_the_same_conversation():
    replies = [reply(str(number)) for number in range(50)]
    num_first = 0
    for one, other in pairwise(replies):
        turns = pair_turns(PROMPT, one, other)
        assert turns == pair_turns(PROMPT, other, one)
        num_first += f"[Reply A]\nassistant: {one[0]['content']}\n" in turns[0]["content"]
    assert 15 <= num_first <= 34  # of 49: either is as likely to come first
    assert pair_turns(PROMPT, replies[0], replies[0])[0]["content"].count("assistant: 0") == 2
