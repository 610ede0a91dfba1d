"""The canonical pair: what two conversations share is the prompt, what follows are the two responses."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from json.encoder import encode_basestring

import numpy as np

from encore_ray.corpora.ratings import Ratings
from encore_ray.corpora.rows import BadRow
from encore_ray.corpora.turns.messages import ASSISTANT, USER, Turn, check_conversation
from encore_ray.schema import Reason

_EMPTY_WORDS = frozenset({"nan", "none", "null", "<na>"})


@dataclass(frozen=True, slots=True)
class Candidate:
    """Two whole conversations that a row compares, or one without a counterpart.

    Attributes:
        chosen_key, rejected_key: name of the response within its row, where the row holds several responses of
            which some are correct.
        ratings: that the row brings along for this pair, where its layout has any.
        notes: what was done to read the row, for the counts; each stands once for each time.
    """

    chosen: list[Turn]
    rejected: list[Turn] | None
    chosen_key: str | None = None
    rejected_key: str | None = None
    ratings: Ratings | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CanonicalPair:
    """prompt: the longest common run of turns; chosen, rejected: what follows, ending with an assistant turn."""

    prompt: list[Turn]
    chosen: list[Turn]
    rejected: list[Turn] | None

    @property
    def prompt_id(self) -> str:
        """128-bit hash of the prompt's turns, 32 hexadecimal digits."""
        return short_hash(_canonical(self.prompt))

    @property
    def content_id(self) -> str:
        """128-bit hash of prompt, chosen and rejected."""
        return short_hash(_canonical([self.prompt, self.chosen, self.rejected]))

    @property
    def is_identical(self) -> bool:
        return self.chosen == self.rejected

    @property
    def nothing_said(self) -> int:
        """Responses that are a word by which tables write what is empty."""
        return sum(side[-1][1].strip().lower() in _EMPTY_WORDS for side in (self.chosen, self.rejected) if side)


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
    if not any(role == USER for role, _ in chosen[:num_common]):
        raise BadRow(Reason.NO_COMMON_PROMPT, "chosen and rejected do not start with the same user turn")
    return CanonicalPair(chosen[:num_common], chosen[num_common:], rejected[num_common:])


def plain_ids(prompts: Sequence[bytes], *sides: Sequence[bytes]) -> tuple[list[str], list[str]]:
    """prompt_ids and content_ids of pairs whose prompts are a user turn each, whose responses an assistant turn.

    Args:
        prompts: in UTF-8.
        sides: chosen and rejected responses, or those of singles.
    """
    prompt, reply = (_canonical([(role, "%b")]).encode() for role in (USER, ASSISTANT))
    content = b"[%b]" % b",".join([prompt, reply, reply if len(sides) > 1 else b"null"])
    quoted = [_between_quotes(texts) for texts in (prompts, *sides)]
    rows = zip(*quoted, strict=True)
    return short_hashes(prompt % text for text in quoted[0]), short_hashes(content % texts for texts in rows)


def _between_quotes(texts: Sequence[bytes]) -> list[bytes]:
    """Each text as JSON has it between quotes: all at once, since to look at each costs more than what is changed."""
    joined = b"\0".join(texts)
    if joined.count(b"\0") >= len(texts):
        return [_quoted(text.decode()) for text in texts]
    byte_B = np.frombuffer(joined, dtype=np.uint8)
    controls = np.unique(byte_B[byte_B < ord(" ")]).tolist()
    for code in (ord("\\"), ord('"'), *controls):
        if code:
            joined = joined.replace(bytes([code]), _quoted(chr(code)))
    return joined.split(b"\0")


def _quoted(text: str) -> bytes:
    return encode_basestring(text)[1:-1].encode()


def short_hash(text: str) -> str:
    """The first 128 bits of SHA-256 as 32 hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def short_hashes(texts: Iterable[bytes]) -> list[str]:
    """The same of many texts in UTF-8."""
    sha256 = hashlib.sha256
    return [sha256(text).hexdigest()[:32] for text in texts]


def _canonical(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
