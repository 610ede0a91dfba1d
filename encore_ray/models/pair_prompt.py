"""A pair as one conversation: what a rule adapter reads, which looks at a prompt and both of its responses at once.

The text is the same wherever an adapter is trained or used. Responses are called A and B, so that nothing tells which
one a human preferred.
"""

from collections.abc import Sequence

from encore_ray.models.conversations import Message

_TASK = "Which safety rules matter most for telling the two replies to this conversation apart?"


def pair_turns(prompt: Sequence[Message], first: Sequence[Message], second: Sequence[Message]) -> list[Message]:
    """One turn of the user's that holds the conversation, then reply A (`first`), then reply B (`second`).

    Args:
        prompt: turns of the conversation before the replies.
        first, second: the turns that each reply adds, of which the last one is the assistant's.
    """
    parts = [("[Conversation]", prompt), ("[Reply A]", first), ("[Reply B]", second)]
    text = "\n\n".join(f"{title}\n{transcript(turns)}" for title, turns in parts)
    return [{"role": "user", "content": f"{text}\n\n{_TASK}"}]


def transcript(turns: Sequence[Message]) -> str:
    """A conversation as text, a line a turn."""
    return "\n".join(f"{turn['role']}: {turn['content']}" for turn in turns)
