"""Repeats in a whole corpus: given ids that occur twice, and content that does, without holding the corpus.

Values are compared as 64-bit hashes, at most about PARTITION_ROWS of them at a time on the driver; ids that share a
hash are then compared as they are, so that no id is ever blamed for another's. The table is read once: of a larger one,
hashes wait in temporary files for their turn, those that may be equal in the same file.
"""

import contextlib
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from encore_ray.arrays import to_numpy
from encore_ray.composition.hashing.splitmix import mix
from encore_ray.composition.hashing.texts import Texts
from encore_ray.engine.work.reduce import Reducer
from encore_ray.errors import ConfigError, DataError
from encore_ray.folder.reading.columns import conversation_hashes, first_texts
from encore_ray.folder.reading.tables import TableUnit
from encore_ray.schema import CHOSEN, PAIR_ID, PROMPT, PROMPT_ID, REJECTED

PARTITION_ROWS = 1 << 24

_Measure = Callable[[tuple[TableUnit, ...]], np.ndarray]
EXAMPLES = 5


@dataclass(frozen=True)
class _Hashes:
    """Hashes of one column of a few units."""

    column: str

    def __call__(self, units: tuple[TableUnit, ...]) -> np.ndarray:
        return np.concatenate([_texts(unit, self.column).hash_N() for unit in units])


@dataclass(frozen=True)
class _Find:
    """The ids of a few units whose hash is among the given ones, with the file each stands in."""

    wanted: frozenset[int]

    def __call__(self, units: tuple[TableUnit, ...]) -> list[tuple[str, str]]:
        found = []
        for unit in units:
            ids = _texts(unit, PAIR_ID)
            hashes = ids.hash_N().tolist()
            found += [(ids[row], unit.unit) for row, hash_ in enumerate(hashes) if hash_ in self.wanted]
        return found


def _texts(unit: TableUnit, column: str) -> Texts:
    """Values of a column as text, none where it is not there; DataError where one is null."""
    table = unit.read([column])
    if not table.num_columns:
        return Texts.of([])  # the pass that needs it names it
    if table.column(0).null_count:
        raise DataError(f"{unit.where}: {table.column(0).null_count} rows have no {column}.")
    return first_texts([table.column(0)])


def _partitions(units: Sequence[TableUnit], factory: Callable[[], _Measure], reducer: Reducer) -> Iterator[np.ndarray]:
    """What is measured of all units, in parts such that what has the same key is in the same one.

    Args:
        factory: of what makes hashes of a few units: [N], or [N, 2] whose first column is the key. Their last bit is
            none of the key's.

    Raises:
        ConfigError: there is no room for temporary files: 8 bytes a hash.
    """
    num_partitions = -(-sum(unit.rows for unit in units) // PARTITION_ROWS)
    parts = reducer.map(factory, reducer.chunks(units))
    if num_partitions <= 1:
        if together := list(parts):
            yield np.concatenate(together)
        return
    shape: tuple[int, ...] = ()
    with contextlib.ExitStack() as opened:
        with _room_for_temporaries():
            files = [opened.enter_context(tempfile.TemporaryFile()) for _ in range(num_partitions)]
        for part in parts:
            shape = part.shape[1:]
            key_N = (part if part.ndim == 1 else part[:, 0]) >> np.uint64(1)
            which_N = (key_N % np.uint64(num_partitions)).astype(np.int64)
            order_N = np.argsort(which_N, kind="stable")
            ends = np.cumsum(np.bincount(which_N, minlength=num_partitions))
            with _room_for_temporaries():
                for file, rows in zip(files, np.split(part[order_N], ends[:-1]), strict=True):
                    file.write(rows.tobytes())
        for file in files:
            with _room_for_temporaries():
                file.seek(0)
                data = file.read()
                file.close()
            yield np.frombuffer(data, dtype=np.uint64).reshape(-1, *shape)


@contextlib.contextmanager
def _room_for_temporaries() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"Cannot write temporary files in {tempfile.gettempdir()}: {error}. Looking for repeats takes 8 or "
            "16 bytes a row there: make room, or set TMPDIR to another folder."
        ) from error


def count_repeats(
    units: Sequence[TableUnit],
    column: str,
    reducer: Reducer,
    *,
    on_repeats: Callable[[np.ndarray], None] = lambda hashes: None,
) -> int:
    """How many rows hold a value of the column that an earlier row held.

    Args:
        units: the table.
        column: of text, without nulls.
        reducer: that reads it.
        on_repeats: called with the hashes that occur twice or more, of each partition that has any.
    """
    repeated = 0
    for part_N in _partitions(units, partial(_Hashes, column), reducer):
        hashes, counts = np.unique(part_N, return_counts=True)
        repeated += int((counts - 1).sum())
        if (counts > 1).any():
            on_repeats(hashes[counts > 1])
    return repeated


def _prompt_hashes(column: pa.ChunkedArray) -> NDArray[np.uint64]:
    """Of prompts, or of their ids."""
    return conversation_hashes(column) if pa.types.is_list(column.type) else first_texts([column]).hash_N()


@dataclass(frozen=True)
class _Directions:
    """Of the pairs of a few units: a hash of prompt and responses whichever is chosen; its last bit tells which is.

    The column `by` says which pairs are of one prompt.
    """

    by: str

    def __call__(self, units: tuple[TableUnit, ...]) -> np.ndarray:
        return np.concatenate([self._of_unit(unit) for unit in units])

    def _of_unit(self, unit: TableUnit) -> np.ndarray:
        rows = unit.read([self.by, CHOSEN, REJECTED])
        chosen_N, rejected_N = (conversation_hashes(rows.column(side)) for side in (CHOSEN, REJECTED))
        prompt_N = _prompt_hashes(rows.column(self.by))
        both_N = mix(mix(np.bitwise_xor(prompt_N, np.minimum(chosen_N, rejected_N))) ^ np.maximum(chosen_N, rejected_N))
        hash_N = (both_N & ~np.uint64(1)) | (chosen_N > rejected_N).astype(np.uint64)
        return hash_N[to_numpy(rows.column(REJECTED).is_valid()) & (chosen_N != rejected_N)]


def count_contradictions(units: Sequence[TableUnit], reducer: Reducer, *, by: str) -> int:
    """How many times two pairs of the same prompt and responses have opposite labels, each pair counted once.

    Of n pairs one way round and m the other way, min(n, m).

    Args:
        by: the column that tells prompts apart: prompt_id, if it is a hash of the prompt, else the prompt.
    """
    opposed = 0
    for part_N in _partitions(units, partial(_Directions, by), reducer):
        hashes, counts = np.unique(part_N, return_counts=True)
        next_to = hashes[:-1] ^ np.uint64(1) == hashes[1:]
        opposed += int(np.minimum(counts[:-1], counts[1:])[next_to & (hashes[:-1] & np.uint64(1) == 0)].sum())
    return opposed


def _prompts_of_ids(units: tuple[TableUnit, ...]) -> np.ndarray:
    """The prompts of each prompt_id in a few units: hashes of id and both, [N, 2], each once."""
    parts = []
    for unit in units:
        rows = unit.read([PROMPT_ID, PROMPT])
        id_N = _prompt_hashes(rows.column(PROMPT_ID))
        parts.append(np.stack([id_N, mix(np.bitwise_xor(id_N, _prompt_hashes(rows.column(PROMPT))))], axis=1))
    return np.unique(np.concatenate(parts), axis=0)


def count_several_prompts(units: Sequence[TableUnit], reducer: Reducer) -> int:
    """How many prompt_ids stand for more than one prompt."""
    several = 0
    for part_N2 in _partitions(units, lambda: _prompts_of_ids, reducer):
        hash_N2 = np.unique(part_N2, axis=0)
        several += int((np.unique(hash_N2[:, 0], return_counts=True)[1] > 1).sum())
    return several


def refuse_repeated_ids(units: Sequence[TableUnit], reducer: Reducer) -> None:
    """Raise DataError when a given id occurs twice; names the first of them and the remedy."""
    remedy = "Make them unique, or use --ids row to replace them by ids of ours."
    _refuse(units, reducer, "given ids occur", lambda unit: f"unit {unit.unit}", remedy)


def refuse_foreign_repeats(units: Sequence[TableUnit], reducer: Reducer) -> None:
    """Raise DataError when a table made elsewhere holds a pair_id twice: its pair would count twice.

    Of our own tables `prepare` has seen to that.
    """
    if units and all(unit.is_foreign for unit in units):
        remedy = "Leave out the rows or files that repeat others, or give each pair an id of its own."
        what = f"pair_ids of {units[0].table_name} occur"
        _refuse(units, reducer, what, lambda unit: unit.where, f"Each pair counts once. {remedy}")


def _refuse(
    units: Sequence[TableUnit], reducer: Reducer, what: str, place: Callable[[TableUnit], str], remedy: str
) -> None:
    by_name = {unit.unit: unit for unit in units}

    def compare(hashes: np.ndarray) -> None:
        wanted = frozenset(hashes.tolist())
        places: dict[str, list[str]] = defaultdict(list)
        for found in reducer.map(partial(_Find, wanted), reducer.chunks(units)):
            for pair_id, unit in found:
                places[pair_id].append(unit)
        twice = sorted(pair_id for pair_id, where in places.items() if len(where) > 1)
        if twice:
            where = dict.fromkeys(place(by_name[unit]) for unit in sorted(places[twice[0]]))
            raise DataError(
                f"{len(twice):,} {what} more than once: {', '.join(map(repr, twice[:EXAMPLES]))}"
                f"{' …' if len(twice) > EXAMPLES else ''} ({', '.join(list(where)[:2])}). {remedy}"
            )

    count_repeats(units, PAIR_ID, reducer, on_repeats=compare)
