"""Token lengths of HH-RLHF's harmless test pairs, and pairs of random ids that have these lengths.

Needs numpy and `encore_ray.models` alone: the GPU benchmark runs where little else is installed.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from encore_ray.models.text.conversations import TokenizedPairs

FILE = Path(__file__).parent / "hh_lengths.json"
FIRST_ID = 2  # ids before it are the tokenizer's special tokens


@dataclass(frozen=True, eq=False)
class Lengths:
    """Tokens of N pairs, int64 [N] each.

    Attributes:
        shared_N: of the longest common prefix of chosen and rejected.
        chosen_N, rejected_N: of the whole conversations.
    """

    shared_N: np.ndarray
    chosen_N: np.ndarray
    rejected_N: np.ndarray

    @classmethod
    def of(cls, pairs: TokenizedPairs) -> "Lengths":
        """The lengths of tokenised pairs, all with a rejected side."""
        shared = [_common_prefix(*sides) for sides in zip(pairs.chosen_ids, pairs.rejected_ids, strict=True)]
        return cls(np.array(shared), pairs.chosen_tokens, pairs.rejected_tokens)

    @classmethod
    def read(cls, file: Path = FILE) -> "Lengths":
        record = json.loads(file.read_text(encoding="utf-8"))
        return cls(*(np.array(record[side], dtype=np.int64) for side in ("shared", "chosen", "rejected")))

    def take(self, num_pairs: int) -> "Lengths":
        """The first so many."""
        return Lengths(self.shared_N[:num_pairs], self.chosen_N[:num_pairs], self.rejected_N[:num_pairs])

    def __len__(self) -> int:
        return len(self.shared_N)

    def __str__(self) -> str:
        """What decides how much sharing gains, in a sentence."""
        shared, chosen, rejected = (float(side_N.mean()) for side_N in (self.shared_N, self.chosen_N, self.rejected_N))
        sequences = chosen + rejected
        return (
            f"{len(self):,} pairs of {chosen:.0f} + {rejected:.0f} tokens, {shared:.0f} of them shared "
            f"({2 * shared / sequences:.0%} of a sequence): a tree has {sequences / (sequences - shared):.2f}x fewer"
        )

    @property
    def tree_N(self) -> np.ndarray:
        """Tokens of each pair as a tree: the shared prefix once, and both branches."""
        return self.chosen_N + self.rejected_N - self.shared_N


def pairs_of_ids(chosen: Sequence[np.ndarray], rejected: Sequence[np.ndarray | None]) -> TokenizedPairs:
    """Pairs that are given as token ids, nothing truncated; rejected None for a single response."""
    chosen_N, rejected_N = (
        np.array([0 if ids is None else len(ids) for ids in side], dtype=np.int64) for side in (chosen, rejected)
    )
    whole_N = np.zeros(len(chosen), dtype=bool)
    return TokenizedPairs(list(chosen), list(rejected), chosen_N, rejected_N, whole_N, whole_N)


def random_pairs(lengths: Lengths, *, vocab_size: int, seed: int) -> TokenizedPairs:
    """Pairs of random ids with exactly these lengths."""
    rng = np.random.default_rng(seed)
    chosen, rejected = [], []
    for shared, *tokens in zip(lengths.shared_N, lengths.chosen_N, lengths.rejected_N, strict=True):
        a, b = (rng.integers(FIRST_ID, vocab_size, size=num_tokens, dtype=np.int32) for num_tokens in tokens)
        b[:shared] = a[:shared]
        if shared < min(tokens) and a[shared] == b[shared]:
            b[shared] = FIRST_ID if a[shared] != FIRST_ID else FIRST_ID + 1
        chosen.append(a)
        rejected.append(b)
    return pairs_of_ids(chosen, rejected)


def by_length(lengths: Lengths, *, num_pairs: int, seed: int) -> list[int]:
    """Places of a sample stratified by length, in the order of the corpus: one pair of each of equal strata."""
    rng = np.random.default_rng(seed)
    strata = np.array_split(np.argsort(lengths.chosen_N + lengths.rejected_N, kind="stable"), num_pairs)
    return sorted(int(rng.choice(stratum)) for stratum in strata)


def _common_prefix(a: np.ndarray, b: np.ndarray | None) -> int:
    assert b is not None
    length = min(len(a), len(b))
    different = np.flatnonzero(a[:length] != b[:length])
    return int(different[0]) if len(different) else length
