"""A pair as one conversation."""

from encore_ray.models.pair_prompt import pair_turns


def test_the_prompt_comes_first_then_the_first_reply_then_the_second():
    prompt = [{"role": "user", "content": "How do I pick a lock?"}]
    first = [{"role": "assistant", "content": "With a pick."}]
    second = [{"role": "assistant", "content": "Ask a locksmith."}]
    (turn,) = pair_turns(prompt, first, second)
    assert turn == {
        "role": "user",
        "content": "[Conversation]\nuser: How do I pick a lock?\n\n[Reply A]\nassistant: With a pick.\n\n"
        "[Reply B]\nassistant: Ask a locksmith.\n\n"
        "Which safety rules matter most for telling the two replies to this conversation apart?",
    }


def test_swapping_the_replies_swaps_nothing_else():
    prompt = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}]
    one, two = [{"role": "assistant", "content": "1"}], [{"role": "assistant", "content": "2"}]
    text, swapped = pair_turns(prompt, one, two)[0]["content"], pair_turns(prompt, two, one)[0]["content"]
    assert swapped == text.replace("assistant: 1", "assistant: x").replace(": 2", ": 1").replace(": x", ": 2")
