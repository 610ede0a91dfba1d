"""Whether the ratings that a corpus brings lie on their scales: of all its rows where that is known in seconds."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from encore_ray.arrays import to_numpy
from encore_ray.check.sample import Sample
from encore_ray.composition.measure.correcting import refuse_scores
from encore_ray.config import WeighOptions
from encore_ray.corpora.files.sources import SourceFile, reading
from encore_ray.corpora.kinds.tables import TABLE_KINDS, open_table
from encore_ray.corpora.plan import FilePlan
from encore_ray.errors import DataError
from encore_ray.folder.reading.memory import MemoryUnit
from encore_ray.passes.weigh import count_scores
from encore_ray.rules import RuleSet
from encore_ray.schema import PAIR_ID, chosen_column, rejected_column
from encore_ray.storage import is_remote

MOST_NUMBERS = 10_000_000  # of columns that are read whole: a few seconds
_BATCH_ROWS = 65_536


def look_at_ratings(
    rules: RuleSet, sample: Sample, files: Sequence[SourceFile], options: WeighOptions
) -> Iterator[str]:
    """How many ratings would be refused where they are weighed.

    Args:
        files: all files of the corpus.

    Raises:
        DataError: some would be, in the words of `weigh` where all rows are known. ConfigError: as of `choose_binning`.
    """
    if options.edges == "observed":  # no rating lies beyond the ends then
        return
    units = None if sample.is_whole else _whole_columns(rules, sample, files)
    is_all = sample.is_whole or units is not None
    found = count_scores(units or sample.units, rules, options)
    of = f"all {found.num_pairs + found.num_singles:,}" if is_all else f"the first {sample.counts['rows']:,}"
    try:
        refuse_scores(found, score_range=options.score_range)
    except DataError as error:
        if is_all:
            raise
        raise DataError(f"Of the ratings of {of} rows: {error}") from None
    clipped = sum(counts.num_clipped for counts in found.counts_K)
    told = f", but for {clipped:,} that are clipped for the weights (rewards keep them as they are)" if clipped else ""
    others = "" if is_all else "; what further ones hold shows when they are weighed"
    yield f"those of {of} rows lie on their scales{told}{others}"


def _whole_columns(rules: RuleSet, sample: Sample, files: Sequence[SourceFile]) -> list[MemoryUnit] | None:
    """The ratings of all rows, where all files have columns of them that are read by themselves; else None."""
    planned = [file for file in sample.corpus.files if file.splits]
    if len(sample.files) < len(files) or sample.left_out or not all(map(_has_columns, planned)):
        return None
    if 2 * len(rules) * sum(file.num_rows for file in planned) > MOST_NUMBERS:
        return None
    try:
        return [unit for file in planned for unit in _units(file, rules, one_of_many=len(planned) > 1)] or None
    except pa.ArrowInvalid:  # ratings that are texts, of which some are no number: the rows that are converted tell
        return None


def _has_columns(file: FilePlan) -> bool:
    ratings = file.splits[0].reading.ratings
    is_table = file.file.kind in TABLE_KINDS and not is_remote(file.file.uri)
    return is_table and ratings is not None and not ratings.listed


def _units(file: FilePlan, rules: RuleSet, *, one_of_many: bool) -> Iterator[MemoryUnit]:
    """Rows that have all of their ratings: any other is put in quarantine, and never weighed."""
    read, source = file.splits[0].reading, file.file
    assert read.ratings is not None
    sides = [chosen_column, *([rejected_column] if read.ratings.has_rejected else [])]
    names = [side(rule) for side in sides for rule in rules.names]
    with reading(source.uri), open_table(source) as table:
        id_column = read.id_column if read.id_column in table.schema.names else None
        columns = [*names, *([id_column] if id_column else [])]
        first = 0
        for batch in table.batches(0, len(table.rows()), rows=_BATCH_ROWS, columns=columns):
            found = pa.table({name: batch.column(name).cast(pa.float32()) for name in names})
            for rule in () if read.ratings.has_rejected else rules.names:
                found = found.append_column(rejected_column(rule), pa.nulls(len(found), pa.float32()))
            if id_column is None:
                where = f" of {source.uri.rpartition('/')[2]}" if one_of_many else ""
                ids = pa.array([f"row {number}{where}" for number in range(first + 1, first + len(found) + 1)])
            else:
                ids = batch.column(id_column).cast(pa.string())
            rated = found.append_column(PAIR_ID, ids)
            is_whole_N = np.logical_and.reduce([to_numpy(rated.column(name).is_valid()) for name in (*names, PAIR_ID)])
            yield MemoryUnit.of(rated.filter(pa.array(is_whole_N)))
            first += len(found)
