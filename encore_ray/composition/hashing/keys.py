"""Resampling keys: a sketch of how many are distinct (k minimum values), and hash folds that say which are held out."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encore_ray.composition.hashing.texts import Texts

MAX_HASHES = 65_536
NUM_FOLDS = 5


def hash_keys(keys: Sequence[str]) -> NDArray[np.uint64]:
    """A 64-bit hash of each key, the same on every machine: see `Texts.hash_N`."""
    return Texts.of(keys).hash_N()


def is_heldout(keys: Sequence[str]) -> NDArray[np.bool_]:
    """Which rows no learned scheme may see: a fifth of the keys, int(sha256(key).hexdigest(), 16) mod 5 == 0.

    The rest are the calibration pairs. A key is in the same part in every corpus, on every machine.
    """
    return folds_of(keys) == 0


def folds_of(keys: Sequence[str]) -> NDArray[np.int64]:
    """Which of five parts each row belongs to: int(sha256(key).hexdigest(), 16) mod 5."""
    sha256 = hashlib.sha256
    digests = b"".join([sha256(key).digest() for key in Texts.of(keys).encoded])
    # 256 is 1 modulo 5, so a number and the sum of its bytes leave the same remainder.
    byte_ND = np.frombuffer(digests, dtype=np.uint8).reshape(-1, 32)
    return byte_ND.sum(axis=1, dtype=np.int64) % NUM_FOLDS


def heldout_halves(keys: Sequence[str]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The held-out rows in two parts, for what is chosen on some and tested on others: even hashes, odd hashes."""
    heldout_N = is_heldout(keys)
    odd_N = np.array([hashlib.sha256(key).digest()[-1] % 2 == 1 for key in Texts.of(keys).encoded], dtype=bool)
    return heldout_N & ~odd_N, heldout_N & odd_N


@dataclass(frozen=True, eq=False)
class DistinctKeys:
    """A sketch of a set of keys: the 65,536 smallest hashes. Merging with ``+`` is set union, in any order.

    Exact up to 65,535 keys, within about 0.4 % (one standard error) above.

    Attributes:
        hashes: uint64, ascending, distinct, at most 65,536.

    Source: k minimum values, Bar-Yossef et al., RANDOM 2002.
    """

    hashes: NDArray[np.uint64]

    @classmethod
    def of(cls, hashes: NDArray[np.uint64]) -> "DistinctKeys":
        """The sketch of keys given by their hashes (`hash_keys`), repeated or not."""
        return cls._of_ascending(np.sort(hashes))

    @classmethod
    def _of_ascending(cls, ascending: NDArray[np.uint64]) -> "DistinctKeys":
        return cls(ascending[np.diff(ascending, prepend=~ascending[:1]) != 0][:MAX_HASHES])

    @property
    def count(self) -> int:
        """Number of distinct keys."""
        if len(self.hashes) < MAX_HASHES:
            return len(self.hashes)
        # The k-th smallest of n uniform hashes lies near k / n of the whole range; k - 1 makes it unbiased.
        return ((MAX_HASHES - 1) << 64) // (int(self.hashes[-1]) + 1)

    def __add__(self, other: "DistinctKeys") -> "DistinctKeys":
        others = other.hashes
        if len(self.hashes) == MAX_HASHES:  # no other can be among the smallest
            others = others[: np.searchsorted(others, self.hashes[-1])]
        # A stable sort finds the two runs and merges them.
        return DistinctKeys._of_ascending(np.sort(np.concatenate([self.hashes, others]), kind="stable"))
