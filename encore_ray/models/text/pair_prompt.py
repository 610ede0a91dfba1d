"""A pair as one conversation: what a rule adapter reads, which looks at a prompt and both of its responses at once.

The text is the same wherever an adapter is trained or used. Replies are called A and B in an order that follows from
their texts alone, so that nothing tells which one a human preferred.
"""

import hashlib
import itertools
from collections.abc import Sequence

from encore_ray.models.spec.conversation import Message

_TASK = "Which safety rules matter most for telling the two replies to this conversation apart?"


def pair_turns(prompt: Sequence[Message], one: Sequence[Message], other: Sequence[Message]) -> list[Message]:
    """One turn of the user's that holds the conversation, then replies A and B, whichever is named first.

    Args:
        prompt: turns of the conversation before the replies.
        one, other: the turns that each reply adds, of which the last one is the assistant's. Reply A is the one whose
            text has the smaller SHA-256.
    """
    first, second = sorted(map(transcript, (one, other)), key=_digest)
    parts = [("[Conversation]", transcript(prompt)), ("[Reply A]", first), ("[Reply B]", second)]
    text = "\n\n".join(f"{title}\n{body}" for title, body in parts)
    return [{"role": "user", "content": f"{text}\n\n{_TASK}"}]


def transcript(turns: Sequence[Message]) -> str:
    """A conversation as text, a line a turn."""
    return "\n".join(f"{turn['role']}: {turn['content']}" for turn in turns)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def pair_prompt_digest() -> str:
    """SHA-256 of all that a pair's prompt adds to the pair: another wording or order is another reading."""
    replies: list[list[Message]] = [[{"role": "assistant", "content": text}] for text in "abc"]
    texts = [pair_turns((), *pair)[0]["content"] for pair in itertools.permutations(replies, 2)]
    return hashlib.sha256("\n\n".join(texts).encode()).hexdigest()
