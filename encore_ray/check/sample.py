"""The first rows of a corpus, read and converted as `prepare` would do it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from encore_ray.config import PrepareOptions
from encore_ray.corpora.converting.convert import SplitConverter
from encore_ray.corpora.files.sources import SourceFile
from encore_ray.corpora.plan import CorpusPlan
from encore_ray.corpora.scan import RangeScan, ranges, scan
from encore_ray.errors import DataError
from encore_ray.folder.reading.memory import MemoryUnit
from encore_ray.passes.corpus_scan import convert_settings, named_files, plan_corpus
from encore_ray.passes.prepare import converted_counts
from encore_ray.schema import QUARANTINE_SCHEMA

ROWS_OF_ALL, MOST_ROWS, FEWEST_ROWS = 2048, 512, 8  # looked at: of all files together, and of each
RATED_ROWS = 20_000  # where they bring the ratings that are weighed
MOST_FILES = 256
_TOLD = 5  # files that cannot be read
_RANGE_BYTES = 1 << 40  # all of a file: only its beginning is read


@dataclass(frozen=True)
class Sample:
    """Some rows of a corpus.

    Attributes:
        corpus: how they are read; its numbers of rows are those looked at, of tables all.
        files: that were looked at.
        pairs: what they make, as pairs/ has it; None where no row can be used.
        counts: as `Prepared` has them.
        quarantine: the rows that cannot be used, as schema.QUARANTINE_SCHEMA.
        is_whole: whether these are all rows of all files.
        left_out: what is wrong with files that are left out on request.
    """

    corpus: CorpusPlan
    files: tuple[SourceFile, ...]
    pairs: pa.Table | None
    counts: Mapping[str, int]
    quarantine: pa.Table
    is_whole: bool
    left_out: tuple[str, ...]

    @property
    def units(self) -> list[MemoryUnit]:
        """The pairs as a pass reads them."""
        return [] if self.pairs is None else [MemoryUnit.of(self.pairs)]


def take_sample(files: Sequence[SourceFile], options: PrepareOptions, *, rated: bool = False) -> Sample:
    """Look at the first rows of the files, of very many at some.

    Args:
        rated: whether their ratings are weighed, of which more rows tell more.

    Raises:
        DataError, ConfigError: as `prepare` would, of what these rows show.
    """
    step = -(-len(files) // MOST_FILES)
    looked_at = named_files(files[::step], options)
    rows_of_all, most_rows = (RATED_ROWS, RATED_ROWS) if rated else (ROWS_OF_ALL, MOST_ROWS)
    most_rows = min(most_rows, max(FEWEST_ROWS, rows_of_all // len(looked_at)))
    scans: list[RangeScan] = []
    left_out: list[str] = []
    for file in looked_at:
        try:
            first = ranges(file, range_bytes=_RANGE_BYTES)[0]
            scans.append(scan(first, row_bytes=options.max_row_bytes, most_rows=most_rows))
        except DataError as error:
            left_out.append(str(error))
    if left_out and options.unreadable != "leave_out":
        raise DataError("\n".join(left_out[:_TOLD]))
    corpus = plan_corpus(scans, options)
    left_out += [file.problem for file in corpus.files if file.problem]
    settings = replace(convert_settings(options), limit_rows=most_rows)
    counts: Counter[str] = Counter()
    tables: list[pa.Table] = []
    bad = [QUARANTINE_SCHEMA.empty_table()]
    for split in corpus.splits:
        converter = SplitConverter(split, table=corpus.table, settings=settings)
        tables += converter.units()
        counts.update(converted_counts(converter.outcome))
        bad.append(converter.outcome.quarantine)
    return Sample(
        corpus=corpus,
        files=tuple(looked_at),
        pairs=pa.concat_tables(tables) if tables else None,
        counts=counts,
        quarantine=pa.concat_tables(bad),
        is_whole=step == 1 and not left_out and all(one.num_lines < most_rows for one in scans),
        left_out=tuple(left_out),
    )
