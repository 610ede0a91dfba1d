"""What a run folder has room for, who works on it, and what stands in it."""

import os
import shutil
from collections.abc import Iterator, Sequence

from encore_ray.check.sample import Sample
from encore_ray.config import JobConfig
from encore_ray.corpora.files.sources import SourceFile
from encore_ray.errors import ConfigError
from encore_ray.folder.driver.lock import driver_of, refuse_other_driver
from encore_ray.folder.pass_table import PassTable
from encore_ray.folder.spec import PREPARE, SCORE
from encore_ray.folder.status import run_status
from encore_ray.passes.compare import Compare
from encore_ray.passes.corpus_scan import convert_settings, prepare_facts
from encore_ray.passes.prepare import Prepare
from encore_ray.passes.score import Score
from encore_ray.passes.scorers.choose import scorer_facts
from encore_ray.passes.scorers.scorer import Scorer
from encore_ray.passes.weigh import Weigh
from encore_ray.run import Run, look_at_run
from encore_ray.storage import Folder, standing_above


def look_at_place(config: JobConfig, files: Sequence[SourceFile]) -> Iterator[str]:
    """Where results go: whether it can be written to, how much room is there, and who works on it.

    Raises:
        ConfigError: it cannot be written to, or another process works on it.
    """
    folder = Folder(config.run)
    if not folder.is_local:
        folder.exists()
        yield f"{config.run} is on an object store, which answers; whether it can be written to shows when a run starts"
    else:
        place = standing_above(config.run)
        if not os.path.isdir(place) or not os.access(place, os.W_OK | os.X_OK):
            raise ConfigError(
                f"Cannot write to the run folder {config.run}: {place} is no folder that this user may write to."
            )
        free, read = shutil.disk_usage(place).free, sum(file.size for file in files)
        state = "is there" if place == config.run else "will be made"
        beside = f", and the inputs have {size(read)}" if files else ""
        yield f"{config.run} {state}; {size(free)} are free on its disk{beside}"
        if free < 2 * read:  # pairs/ and rewards/ hold the texts once each
            yield "that may be too little: pairs/ and rewards/ hold the texts of the inputs once each, compressed"
    if config.cluster.lock_timeout_s == 0:
        refuse_other_driver(folder)
    elif (driver := driver_of(folder)) is not None:
        yield f"{driver} works on it, for which a run would wait up to {config.cluster.lock_timeout_s:g} s"


def look_at_standing(
    config: JobConfig, files: Sequence[SourceFile], sample: Sample | None, scorer: Scorer | None
) -> Iterator[str]:
    """What stands in the run folder, and whether a run goes on with it.

    Raises:
        ResumeRefused, ConfigError, DataError: it would be refused, as far as can be told.
    """
    run = look_at_run(Folder(config.run))
    try:
        states = run_status(run.folder)
    except ConfigError:  # no run yet
        run.table(PREPARE).refuse_foreign_files()
        return
    begun = [state for state in states if state.state != "not started"]
    yield (
        "; ".join(
            f"{state.name} is {state.state}"
            + (f" ({state.done_units:,} of {state.total_units:,} units)" if state.state == "unfinished" else "")
            for state in begun
        )
        or "no pass has begun"
    )
    prepare = Prepare(files, config.prepare)
    if not run.stands(prepare):
        if sample is not None:
            _refuse_other_pairs(run.table(PREPARE), sample, config)
        prepared = next(state.done_rows for state in states if state.name == PREPARE.name)
        yield f"rows would be prepared, but for those of the {prepared:,} that are whose content is still the same"
        if scorer is not None:
            _refuse_other_scores(run, scorer)
        if prepared:
            yield _tell_scored(run)
        return
    if not run.stands(Score(None, config.prepare.max_bad_fraction, scorer_facts(config))):
        if scorer is not None:
            _refuse_other_scores(run, scorer)
        yield _tell_scored(run)
        return
    for step in (Weigh(config.weigh), Compare(config.weigh)):
        if not run.stands(step):
            yield f"pairs and scores stand; a run would go on with {step.spec.name}"
            return
    yield "all that decides the results stands: a run would find little or nothing to do"


def _refuse_other_pairs(table: PassTable, sample: Sample, config: JobConfig) -> None:
    """As `prepare` would, by options; the columns of a corpus that was not read whole are taken to be the same."""
    facts = prepare_facts(sample.corpus, config.prepare, convert_settings(config.prepare))
    standing = table.standing_facts() or {}
    if not sample.is_whole and "columns" in standing:
        facts["columns"] = standing["columns"]
    table.is_of(facts)


def _refuse_other_scores(run: Run, scorer: Scorer) -> None:
    """As `score` would; a budget or an agreement that is settled by the first pairs is taken to be the same."""
    table = run.table(SCORE)
    standing = table.standing_facts()
    if standing is None:
        return
    table.is_of(scorer.resumed(standing).facts)


def _tell_scored(run: Run) -> str:
    """How many of the pairs that are prepared are scored, and how many are left."""
    prepared = {file.unit: file for commit in run.table(PREPARE).commits().values() for file in commit.data}
    scored = run.table(SCORE).commits()
    done = [unit for unit in scored if unit in prepared and scored[unit].input_digest == prepared[unit].digest]
    total, num_done = sum(file.rows for file in prepared.values()), sum(prepared[unit].rows for unit in done)
    return f"{num_done:,} of {total:,} prepared pairs are scored, {total - num_done:,} are left"


def memory() -> tuple[int, int]:
    """Bytes of memory that nothing uses on this machine, and all of it."""
    page = os.sysconf("SC_PAGE_SIZE")
    return page * os.sysconf("SC_AVPHYS_PAGES"), page * os.sysconf("SC_PHYS_PAGES")


def size(num_bytes: float) -> str:
    """Bytes as people say them."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if num_bytes < 1000:
            return f"{num_bytes:.3g} {unit}" if unit != "bytes" else f"{num_bytes:.0f} bytes"
        num_bytes /= 1000
    return f"{num_bytes:,.3g} TB"
