"""The canonical pair: what two conversations share is the prompt, what follows are the two responses."""

from collections.abc import Sequence
from dataclasses import dataclass

from encore_ray.corpora.pairing.ratings import Ratings
from encore_ray.corpora.rows import BadRow
from encore_ray.corpora.turns.messages import USER, Turn, check_conversation
from encore_ray.corpora.turns.transcripts import is_marked
from encore_ray.schema import Reason

_WORD_CHARS = 8
LEAST_REPEATED = 16  # characters of a prompt: a shorter one may well be taken up by an answer
_EMPTY_WORDS = frozenset({"nan", "none", "null", "<na>"})


@dataclass(frozen=True, slots=True)
class Candidate:
    """Two whole conversations that a row compares, or one without a counterpart.

    Attributes:
        chosen_key, rejected_key: name of the response within its row, where the row holds several responses of
            which some are correct.
        ratings: that the row brings along for this pair, where its layout has any.
        notes: what was done to read the row, for the counts; each stands once for each time.
        tree: name of the conversation tree that a pair is of: pairs of one share turns, and count as one prompt.
    """

    chosen: list[Turn]
    rejected: list[Turn] | None
    chosen_key: str | None = None
    rejected_key: str | None = None
    ratings: Ratings | None = None
    notes: tuple[str, ...] = ()
    tree: str | None = None


@dataclass(frozen=True, slots=True)
class CanonicalPair:
    """prompt: the longest common run of turns; chosen, rejected: what follows, ending with an assistant turn."""

    prompt: list[Turn]
    chosen: list[Turn]
    rejected: list[Turn] | None

    @property
    def is_identical(self) -> bool:
        return self.chosen == self.rejected

    @property
    def nothing_said(self) -> int:
        """Responses that are a word by which tables write what is empty."""
        return sum([_is_empty_word(side[-1][1].strip()) for side in (self.chosen, self.rejected) if side])

    @property
    def marked_responses(self) -> int:
        """Responses that begin with a speaker's name, or end with a token of a template."""
        return sum(is_marked(side[-1][1]) for side in (self.chosen, self.rejected) if side)

    @property
    def repeats_prompt(self) -> int:
        """Responses that begin with the text of the last turn of the prompt; 0 unless each of them does."""
        sides = [side[0][1] for side in (self.chosen, self.rejected) if side]
        return len(sides) if self.prompt and repeats(self.prompt[-1][1], sides) else 0


def repeats(asked: str, replies: Sequence[str]) -> bool:
    """Whether each reply begins with the whole text before it, if that is no short one."""
    text = asked.strip()
    return len(text) >= LEAST_REPEATED and all(reply.lstrip().startswith(text) for reply in replies)


def says_something(response: str) -> bool:
    """Whether a response is neither blank nor a word by which tables write what is empty, and no template marked it."""
    said = response.strip()
    return bool(said) and not _is_empty_word(said) and not is_marked(said)


def _is_empty_word(text: str) -> bool:
    return len(text) < _WORD_CHARS and text.lower() in _EMPTY_WORDS


def canonical_pair(candidate: Candidate) -> CanonicalPair:
    """Split two conversations where they part.

    When one conversation is the start of the other, or both are the same, the prompt ends before the shorter one's
    last turn, so that both responses keep an assistant turn. A single conversation is split before its last turn.

    Raises:
        BadRow: roles out of order, a last turn that is not the assistant's, no user turn in common.
    """
    chosen, rejected = candidate.chosen, candidate.rejected
    check_conversation(chosen, where="chosen")
    if rejected is None:
        return CanonicalPair(chosen[:-1], chosen[-1:], None)
    check_conversation(rejected, where="rejected")
    limit = min(len(chosen), len(rejected)) - 1
    num_common = 0
    while num_common < limit and chosen[num_common] == rejected[num_common]:
        num_common += 1
    if USER not in [role for role, _ in chosen[:num_common]]:
        raise BadRow(Reason.NO_COMMON_PROMPT, "chosen and rejected do not start with the same user turn")
    return CanonicalPair(chosen[:num_common], chosen[num_common:], rejected[num_common:])
