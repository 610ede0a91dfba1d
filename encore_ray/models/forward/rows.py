"""Sequence packing with shared prefixes: the conversations of a unit as a prefix tree, cut into rows of token ids.

All distinct sequences are sorted by content, so that each shares its longest possible prefix with the one before it.
In a row a sequence brings only the tokens behind that prefix; the tokens before them are those of its predecessors.
Chosen and rejected thus share their prompt, several rejected share it too, and so do prompts with the same system
turn; equal sequences are computed once.

    ids        A B C D E   X   Y Z      sequences A B C D E, A B C X, A B C X Y Z
    positions  0 1 2 3 4   3   4 5
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

# A row is cut where least is shared, looked for in its second half: a shorter row costs no padding.
_CUT_AFTER = 0.5
# A row may pass the budget up to this multiple of its first sequence.
_LONG_SEQUENCE = 1.5
# Keys of all sequences of a row, shared ones counted each time, in budgets: attention gathers them.
_MOST_KEYS = 8


@dataclass(frozen=True, eq=False)
class Row:
    """One forward pass over T token slots that hold S sequences.

    Attributes:
        ids_T: int64, token ids.
        positions_T: int64, place of each token in its sequence, from 0.
        paths: S int64 arrays, the slots of each sequence's tokens in reading order.
        own: S places in the paths: tokens before it belong to earlier sequences too.
        sequences: S indices into the sequences that were planned.
    """

    ids_T: np.ndarray
    positions_T: np.ndarray
    paths: list[np.ndarray]
    own: list[int]
    sequences: list[int]


def distinct_sequences(sequences: Sequence[np.ndarray | None]) -> tuple[list[np.ndarray], np.ndarray]:
    """Every different sequence once, sorted by content.

    Returns:
        The sequences, and for each given one the index of its equal among them; -1 where none was given.
    """
    keys = [None if ids is None else ids.astype(">u4").tobytes() for ids in sequences]  # big-endian: sorts as ids do
    order = sorted({key for key in keys if key is not None})
    place = {key: i for i, key in enumerate(order)}
    distinct = [np.frombuffer(key, dtype=">u4").astype(np.int64) for key in order]
    return distinct, np.array([-1 if key is None else place[key] for key in keys], dtype=np.int64)


def plan_rows(sequences: Sequence[np.ndarray], *, batch_tokens: int, share: bool) -> list[Row]:
    """Pack sequences into rows; which share a row depends on the sequences and the budget alone.

    Args:
        sequences: distinct and sorted, as `distinct_sequences` gives them.
        batch_tokens: slots a row; but a row may always be half as long again as its first sequence, so that the
            branches of a long one need not compute it again.
        share: whether a shared prefix is computed once; False for models whose prompt sees the response.
    """
    shared = [0, *(_common_prefix(a, b) if share else 0 for a, b in pairwise(sequences))]
    rows: list[Row] = []
    start = 0
    while start < len(sequences):
        stop = _row_end(sequences, shared, start, batch_tokens)
        rows.append(_row(sequences, shared, start, stop))
        start = stop
    return rows


def _row_end(sequences: Sequence[np.ndarray], shared: list[int], start: int, batch_tokens: int) -> int:
    limit = max(batch_tokens, int(_LONG_SEQUENCE * len(sequences[start])))
    size, best = len(sequences[start]), start + 1
    num_keys = size
    for i in range(start + 1, len(sequences)):
        if i == start + 1 or size < _CUT_AFTER * limit or shared[i] <= shared[best]:
            best = i
        size += len(sequences[i]) - shared[i]
        num_keys += len(sequences[i])
        if size > limit or num_keys > _MOST_KEYS * limit:
            return best
    return len(sequences)


def _row(sequences: Sequence[np.ndarray], shared: list[int], start: int, stop: int) -> Row:
    own = [0, *shared[start + 1 : stop]]
    paths: list[np.ndarray] = []
    size = 0
    for ids, first in zip(sequences[start:stop], own, strict=True):
        slots = np.arange(size, size + len(ids) - first)
        paths.append(np.concatenate([paths[-1][:first], slots]) if first else slots)
        size += len(slots)
    pieces = [ids[first:] for ids, first in zip(sequences[start:stop], own, strict=True)]
    positions = [np.arange(first, first + len(piece)) for piece, first in zip(pieces, own, strict=True)]
    return Row(np.concatenate(pieces), np.concatenate(positions), paths, own, list(range(start, stop)))


def _common_prefix(a: np.ndarray, b: np.ndarray) -> int:
    length = min(len(a), len(b))
    different = np.flatnonzero(a[:length] != b[:length])
    return int(different[0]) if len(different) else length
