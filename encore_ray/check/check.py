"""Everything that a job needs, looked at in the order in which a run would meet it."""

from collections.abc import Iterator
from dataclasses import replace

from encore_ray.check.bad_rows import find_bad_rows, refuse_bad_rows
from encore_ray.check.early import list_inputs
from encore_ray.check.found import Found, find
from encore_ray.check.place import look_at_place, look_at_standing, memory, size
from encore_ray.check.sample import Sample, take_sample
from encore_ray.check.scoring import ScoringCheck
from encore_ray.config import JobConfig
from encore_ray.corpora.files.sources import SourceFile
from encore_ray.corpora.files.splits import splits_together
from encore_ray.corpora.notes import told
from encore_ray.engine.engines import needs_ray
from encore_ray.engine.local import this_machine
from encore_ray.engine.probes import cluster_address, require_ray
from encore_ray.errors import DataError
from encore_ray.passes.scorers.api.connection import is_api
from encore_ray.redaction import redact
from encore_ray.storage import Folder
from encore_ray.tracking import find_store

_NAMED = 3  # files, layouts


def check_job(config: JobConfig) -> Iterator[Found]:
    """What is found of each thing that a job needs, as it is found. Nothing is started, held or written.

    Models on a hub and at URLs are fetched, as a run would fetch them.
    """
    files: list[SourceFile] = []
    samples: list[Sample] = []
    scoring = ScoringCheck(config)
    yield find("inputs", _look_at_inputs(config, files))
    if files:
        yield find("corpus", _look_at_corpus(config, files, samples))
    sample = samples[0] if samples else None
    yield find("scores", scoring.find(sample))
    rated = find("ratings", scoring.rate(sample, files))
    if rated.notes or rated.problem:
        yield rated
    reads = find("texts", scoring.read(sample))
    if reads.notes or reads.problem:
        yield replace(reads, texts=scoring.texts)
    yield find("run folder", look_at_place(config, files))
    yield find("resume", look_at_standing(config, files, sample, scoring.scorer))
    yield find("cluster", _look_at_cluster(config, files))
    yield find("tracking", _look_at_tracking(config))


def _look_at_inputs(config: JobConfig, files: list[SourceFile]) -> Iterator[str]:
    """Fills `files`; errors as of `list_inputs`."""
    files += list_inputs(config)
    named = ", ".join(file.uri for file in files[:_NAMED])
    yield f"{len(files):,} file{'s' if len(files) > 1 else ''}, {size(sum(file.size for file in files))}: {named}" + (
        f" and {len(files) - _NAMED:,} more" if len(files) > _NAMED else ""
    )
    empty = [file.uri for file in files if file.size == 0]
    if empty:
        yield f"{len(empty):,} are empty, as {empty[0]}"
    if together := splits_together([file.uri for file in files]):
        yield together


def _look_at_corpus(config: JobConfig, files: list[SourceFile], samples: list[Sample]) -> Iterator[str]:
    """Fills `samples` with one; errors as of `take_sample`, or DataError where no row, or too few, can be used."""
    sample = take_sample(files, config.prepare, rated=config.model is None and config.judge is None)
    samples.append(sample)
    counts = sample.counts
    looked_at = "all" if sample.is_whole else f"the first {counts['rows']:,}"
    of = f" of {len(sample.files):,} of the files" if len(sample.files) < len(files) else ""
    layouts = list(dict.fromkeys(file.layout for file in sample.corpus.files if file.layout))
    yield f"layout {', '.join(layouts[:_NAMED])}, of {looked_at} rows{of}; {counts['pairs']:,} pairs" + (
        f" and {counts['singles']:,} single responses" if counts["singles"] else ""
    )
    read = sorted({name for split in sample.corpus.splits for name in split.reading.used})
    carried = [field.name for field in sample.corpus.table.passthrough]
    yield f"read from {', '.join(read)}" + (f"; carried along: {', '.join(carried)}" if carried else "")
    for problem in sample.left_out:
        yield f"left out: {problem}"
    yield from told(counts)
    if sample.pairs is None:
        raise DataError(f"No row can be used, of the {counts['rows']:,} that were looked at.")
    bad = find_bad_rows(sample, config.prepare.max_bad_fraction)
    if bad and bad.is_whole:
        refuse_bad_rows(bad)
    if bad:
        yield f"{bad}. A run ends by them, if those of all rows are as many"


def _look_at_cluster(config: JobConfig, files: list[SourceFile]) -> Iterator[str]:
    """Whether Ray is needed, and can be joined or started; ConfigError, ClusterError where it cannot."""
    options, address = config.cluster, cluster_address(config.cluster)
    free, total = memory()
    machine = f"{this_machine().cpus:g} CPUs, {size(free)} of {size(total)} memory unused"
    has_model = config.model is not None or (config.judge is not None and not is_api(config.judge))
    if not needs_ray(options, None if has_model else sum(file.size for file in files)):
        yield f"no Ray is needed; {machine}"
        return
    require_ray(options)
    if address:
        yield f"somebody answers at {redact(address)}; what its nodes see and have shows when a run joins it"
    else:
        yield f"a Ray of its own on this machine: {machine}"


def _look_at_tracking(config: JobConfig) -> Iterator[str]:
    """Where records go; ConfigError where they would be refused for good."""
    options = config.tracking
    if not options.enabled:
        yield "off"
        return
    uri = find_store(Folder(config.run), uri=options.uri, experiment=options.experiment)
    if uri is None:
        yield "kept in the run folder, for `encore-ray track`"
    else:
        yield f"experiment {options.experiment} in {redact(uri)}; one that is away gets the records later"
