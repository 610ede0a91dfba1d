"""Many short texts as one buffer of bytes with offsets (as in Arrow), hashed without a Python object each."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray

from encore_ray.composition.hashing.splitmix import mix

_WORD = 8  # bytes that are mixed into the hash at a time
_PART_ROWS = 16_384


@dataclass(frozen=True, eq=False)
class Texts(Sequence[str]):
    """N texts, read-only; one is decoded only when it is asked for.

    Attributes:
        byte_B: uint8, the UTF-8 of all texts one after another.
        offset_N1: int64, N + 1 ascending positions: text i is the bytes from offset i to offset i + 1.
    """

    byte_B: NDArray[np.uint8]
    offset_N1: NDArray[np.int64]

    @classmethod
    def of(cls, texts: Sequence[str]) -> "Texts":
        """Any texts; those that are in this form already are returned as they are."""
        if isinstance(texts, Texts):
            return texts
        encoded = [text.encode() for text in texts]
        offset_N1 = np.zeros(len(encoded) + 1, dtype=np.int64)
        np.cumsum([len(text) for text in encoded], out=offset_N1[1:])
        return cls(np.frombuffer(b"".join(encoded), dtype=np.uint8), offset_N1)

    def __len__(self) -> int:
        return len(self.offset_N1) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> "Texts": ...
    def __getitem__(self, index: int | slice) -> "str | Texts":
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            assert step == 1, "texts are sliced without a step"
            return Texts(self.byte_B, self.offset_N1[start : max(start, stop) + 1])
        row = range(len(self))[index]
        return self.byte_B[self.offset_N1[row] : self.offset_N1[row + 1]].tobytes().decode()

    def __iter__(self) -> Iterator[str]:
        return (text.decode() for text in self.encoded)

    @property
    def encoded(self) -> list[bytes]:
        """Each text in UTF-8."""
        first = int(self.offset_N1[0])
        whole = self.byte_B[first : self.offset_N1[-1]].tobytes()
        return [whole[start:end] for start, end in itertools.pairwise((self.offset_N1 - first).tolist())]

    def hash_N(self) -> NDArray[np.uint64]:
        """A 64-bit hash of each text, the same on every machine and whatever stands beside it.

        Words of eight bytes, little-endian, the last one filled up with zeros, are mixed one by one into a state that
        starts from the number of bytes. Not for texts that somebody chooses so that they collide.

        Source: the mixing function is that of `encore_ray.composition.hashing.splitmix`.
        """
        first, last = int(self.offset_N1[0]), int(self.offset_N1[-1])
        num_bytes_N = np.diff(self.offset_N1)
        size = int(num_bytes_N.max(initial=0))
        if size % _WORD == 0 and size * len(self) == last - first:  # ids of one length, as ours are: a table of words
            word_NW = self.byte_B[first:last].view("<u8").reshape(len(self), size // _WORD)
            return _in_parts(len(self), lambda part: _hash_table(word_NW[part], size))
        padded_B = np.concatenate([self.byte_B, np.zeros(_WORD, dtype=np.uint8)])
        # The eight bytes from every position on, as overlapping words.
        word_B = np.ndarray(len(self.byte_B) + 1, dtype="<u8", buffer=padded_B, strides=(1,))
        return _in_parts(len(self), lambda part: _hash(word_B, self.offset_N1[:-1][part], num_bytes_N[part]))


def _in_parts(size: int, hash_part: Callable[[slice], NDArray[np.uint64]]) -> NDArray[np.uint64]:
    """Hashes of all texts, of so few at a time that the arrays in between stay in the processor's cache."""
    parts = [hash_part(slice(start, start + _PART_ROWS)) for start in range(0, size, _PART_ROWS)]
    return np.concatenate([np.zeros(0, dtype=np.uint64), *parts])


def _hash_table(word_NW: NDArray[np.uint64], num_bytes: int) -> NDArray[np.uint64]:
    """The hashes of texts of one length, a multiple of eight bytes."""
    state_N = mix(np.full(len(word_NW), num_bytes, dtype=np.uint64))
    for word_N in word_NW.T:
        state_N = mix(state_N ^ word_N)
    return state_N


def _hash(word_B: NDArray[np.uint64], position_A: NDArray[np.int64], left_A: NDArray[np.int64]) -> NDArray[np.uint64]:
    """The hashes of texts that begin at the positions and have so many bytes."""
    state_N = state_A = mix(left_A.astype(np.uint64))
    row_A: NDArray[np.intp] | slice = slice(None)
    for _ in range(0, int(left_A.max()), _WORD):
        active_A = left_A > 0
        if not active_A.all():  # some texts have come to their end: go on with the others
            state_N[row_A] = state_A
            row_A = np.arange(len(state_N))[row_A][active_A]
            position_A, left_A, state_A = position_A[active_A], left_A[active_A], state_A[active_A]
        unused_A = (8 * np.maximum(_WORD - left_A, 0)).astype(np.uint64)
        state_A = mix(state_A ^ (word_B[position_A] << unused_A >> unused_A))
        position_A, left_A = position_A + _WORD, left_A - _WORD
    state_N[row_A] = state_A
    return state_N
