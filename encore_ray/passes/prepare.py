"""Prepare: raw corpora become units of canonical pairs; rows that cannot be used go to quarantine, counted.

First every range of every file is scanned (rows, digest, columns), so that layouts, one table schema for all units
and line numbers are known before anything is written. Then each range is converted and committed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from encore_ray.config import PrepareOptions
from encore_ray.corpora.converting.convert import ConvertSettings, SplitConverter, SplitOutcome
from encore_ray.corpora.files.sources import SourceFile
from encore_ray.corpora.files.splits import splits_together
from encore_ray.corpora.notes import told
from encore_ray.corpora.plan import CorpusPlan, Split
from encore_ray.corpora.rows import BadRow
from encore_ray.corpora.scan import whole_because
from encore_ray.corpora.tables import TableSpec
from encore_ray.errors import DataError
from encore_ray.folder.attempt import Attempt
from encore_ray.folder.pass_table import PassTable
from encore_ray.folder.protocol.commits import manifest_digest, total_counts
from encore_ray.folder.protocol.versions import code_digest
from encore_ray.folder.quarantine import check_bad_fraction
from encore_ray.folder.reading.tables import TableUnit
from encore_ray.folder.spec import PREPARE
from encore_ray.passes.corpus_scan import (
    convert_settings,
    named_files,
    option_facts,
    plan_corpus,
    prepare_facts,
    scan_all,
)
from encore_ray.passes.known_inputs import unit_tasks
from encore_ray.passes.repeats import count_contradictions, count_repeats, count_several_prompts, refuse_repeated_ids
from encore_ray.run import Run
from encore_ray.schema import CONTENT_ID, PROMPT, PROMPT_ID, REASON_COUNT, Reason
from encore_ray.step import Dataset, Record, Step
from encore_ray.storage import fingerprint

SEVERAL_PROMPTS = "prompt_ids_of_several_prompts"
TRIAL_UNITS = 16  # a trial's units are small, so that all actors have work


@dataclass(frozen=True)
class PreparedInput:
    """One input file as it was read."""

    uri: str
    digest: str
    num_rows: int
    layout: str | None


@dataclass(frozen=True)
class Prepared:
    """What the prepare pass made.

    Attributes:
        counts: rows, kept, quarantined, pairs, singles, identical, repeated_content, contradictory, reason.<reason>,
            and what was done to read the rows, as lists_from_text; files_left_out where there are any; where the data
            has prompt_ids, how many of them stand for several prompts.
        corpus_rows: rows of the whole corpus; more than counts["rows"] in a trial.
        rated_rules: rules whose ratings the corpus brings along.
        inputs: the files.
        left_out: files that could not be read, with the reason; left out on request.
    """

    counts: Mapping[str, int]
    corpus_rows: int
    rated_rules: tuple[str, ...]
    inputs: tuple[PreparedInput, ...]
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Prepare(Step[Prepared]):
    """Convert files to pairs/ and quarantine/; resumable, and inputs may be added to a finished run.

    Attributes:
        files: from `encore_ray.corpora.files.sources.list_files`.
        options: layout, ids, columns, limits.
        limit: take about so many rows, spread over the files; None takes all.

    Raises:
        DataError: an unreadable file, an unrecognised layout, a repeated given id, too many bad rows.
        ResumeRefused: the folder holds pairs of other inputs or options.
    """

    spec = PREPARE
    files: Sequence[SourceFile]
    options: PrepareOptions
    limit: int | None = None

    @property
    def paths(self) -> Sequence[str]:
        return [file.uri for file in self.files]

    def numbers(self, run: Run) -> int:
        return sum(file.size for file in self.files)  # a byte of text takes about as long as a number of a table

    def facts(self, run: Run) -> dict[str, Any] | None:
        if not all(file.is_settled for file in self.files):
            return None
        return {
            "inputs": fingerprint([file.facts for file in self.files]),
            "options": self.options.model_dump(mode="json"),
            "limit": self.limit,
            "code": code_digest(),
        }

    def kept(self, made: Prepared) -> dict[str, Any]:
        inputs = [[each.uri, each.digest, each.num_rows, each.layout] for each in made.inputs]
        return {
            "corpus_rows": made.corpus_rows,
            "rated_rules": list(made.rated_rules),
            "inputs": inputs,
            "left_out": list(made.left_out),
        }

    def standing(self, run: Run, kept: dict[str, Any]) -> Prepared:
        inputs = tuple(PreparedInput(*each) for each in kept["inputs"])
        counts = run.table(PREPARE).sealed_counts()
        return Prepared(counts, kept["corpus_rows"], tuple(kept["rated_rules"]), inputs, tuple(kept["left_out"]))

    def __call__(self, run: Run) -> Prepared:
        options = self.options
        run.table(PREPARE).refuse_other(option_facts(options), overwrite=run.overwrite)
        files = named_files(self.files, options)
        if together := splits_together([file.uri for file in files]):
            run.note(f"prepare: {together}")
        for file in files:
            if why := whole_because(file):
                run.note(f"prepare: one worker alone reads {file.uri}: {why}. Parquet, or .jsonl, is read by all")
        leaves_out = options.unreadable == "leave_out"
        scans, unread = scan_all(files, run.engine, leaves_out=leaves_out, row_bytes=options.max_row_bytes)
        corpus = plan_corpus(scans, options)
        unread += [file.problem for file in corpus.files if file.problem]
        splits = corpus.splits
        settings = convert_settings(options)
        if self.limit is not None:
            splits, settings = _trial(corpus, settings, self.limit)
        output = run.table(PREPARE).open(prepare_facts(corpus, options, settings), overwrite=run.overwrite)
        tasks = unit_tasks(splits, output, limit_rows=settings.limit_rows)
        convert = partial(_Convert, corpus.table, settings)
        commits = run.finish(output, tasks, convert, leaves_out=True, max_bad_fraction=options.max_bad_fraction)
        counts = total_counts(commits.values())
        if unread:
            counts["files_left_out"] = len(unread)
        _check_account(counts, options.max_bad_fraction, output)
        names = [task.unit for task in tasks]
        files_out = [file for name in names for file in commits[name].data]
        units = [TableUnit(file.unit, output.folder, file.file, file.rows, file.digest) for file in files_out]
        done = output.sealed()
        if done and done["manifest_digest"] == manifest_digest(files_out):
            names_done = ("repeated_content", "contradictory", *([SEVERAL_PROMPTS] if corpus.has_prompt_ids else []))
            counts |= {name: done["counts"].get(name, 0) for name in names_done}
        else:
            if any(split.reading.id_column for split in splits):
                refuse_repeated_ids(units, run.reducer)
            counts["repeated_content"] = count_repeats(units, CONTENT_ID, run.reducer)
            given = corpus.has_prompt_ids
            by = PROMPT if given or corpus.has_trees else PROMPT_ID
            counts["contradictory"] = count_contradictions(units, run.reducer, by=by)
            if given:
                counts[SEVERAL_PROMPTS] = count_several_prompts(units, run.reducer)
        output.seal(names, commits, counts)
        for note in (*corpus.unread_ratings, *told(counts)):
            run.note(f"prepare: {note}")
        inputs = tuple(PreparedInput(f.file.uri, f.digest, f.num_rows, f.layout) for f in corpus.files)
        return Prepared(counts, corpus.num_rows, corpus.rated_rules, inputs, tuple(unread))

    def record(self, made: Prepared) -> Record:
        inputs = [Dataset(item.uri, item.digest, item.num_rows) for item in made.inputs]
        return Record(metrics=made.counts, step=made.counts["rows"], inputs=inputs)


class _Convert:
    """Converts one split: runs in a worker."""

    def __init__(self, table: TableSpec, settings: ConvertSettings):
        self._table, self._settings = table, settings

    def __call__(self, split: Split, attempt: Attempt) -> Mapping[str, int]:
        left_out = {row.row: BadRow(row.reason, row.detail) for row in attempt.left_out}
        converter = SplitConverter(split, table=self._table, settings=self._settings, left_out=left_out)
        for number, unit in enumerate(converter.units()):
            attempt.write(unit, unit=f"{attempt.unit}-{number:05d}")
        outcome = converter.outcome
        attempt.quarantine(outcome.quarantine)
        return converted_counts(outcome)


def converted_counts(outcome: SplitOutcome) -> dict[str, int]:
    """The counts of a converted split, as `Prepared` has them."""
    return {
        "rows": outcome.rows_in,
        "kept": outcome.rows_kept,
        "quarantined": outcome.rows_quarantined,
        "pairs": outcome.pairs_out - outcome.singles,
        "singles": outcome.singles,
        "identical": outcome.identical,
        **outcome.notes,
        **{f"{REASON_COUNT}{reason}": count for reason, count in outcome.reasons.items()},
    }


def _trial(corpus: CorpusPlan, settings: ConvertSettings, limit: int) -> tuple[list[Split], ConvertSettings]:
    """The first rows of each file, about `limit` in all, in small units."""
    firsts = [file.splits[0] for file in corpus.files if file.splits][:limit]
    unit_pairs = max(1, min(settings.unit_pairs, -(-limit // TRIAL_UNITS)))
    return firsts, replace(settings, limit_rows=-(-limit // len(firsts)), unit_pairs=unit_pairs)


def judged_rows(counts: Mapping[str, int]) -> tuple[int, int]:
    """How many rows are bad, and of how many: prompts without a response are no fault: nothing is lost."""
    empty = counts.get(f"{REASON_COUNT}{Reason.NO_RESPONSE}", 0)
    return counts["quarantined"] - empty, counts["rows"] - empty


def advice_on(counts: Mapping[str, int]) -> list[str]:
    """What to do about bad rows, a sentence for each of their reasons of which something can be said."""
    return [f"{reason}: {words}" for reason, words in _ADVICE.items() if counts.get(f"{REASON_COUNT}{reason}")]


def _check_account(counts: Mapping[str, int], max_bad_fraction: float, output: PassTable) -> None:
    """Refuse too many bad rows."""
    assert counts["rows"] == counts["kept"] + counts["quarantined"], counts
    num_bad, num_rows = judged_rows(counts)
    judged = {**counts, "rows": num_rows, "quarantined": num_bad}
    try:
        check_bad_fraction(judged, max_bad_fraction, output)
    except DataError as error:
        raise DataError("\n".join([str(error), *(f"  {advice}" for advice in advice_on(counts))])) from None
    if not counts["kept"]:
        raise DataError(f"No row is left: all {counts['rows']} are in {output.quarantine_folder.uri}.")


_ADVICE = {
    Reason.PICTURE: "only text is scored. To score it alone, name the column in prepare.ignore.",
    Reason.TOOL_TURN: "pairs hold turns of system, user and assistant. Leave such rows out, or write calls as text.",
    Reason.UNREAD_COLUMN: "say what it is by inputs[].columns, or that it is no part of the conversation by "
    "prepare.ignore.",
    Reason.UNREAD_TRANSCRIPT: "turns are in one text, in an unknown form. Give them as [{role, content}, ...].",
    Reason.ROW_TOO_LARGE: "rows are longer than prepare.max_row_bytes. Raise it, if these are no mistake.",
    Reason.BAD_RATING: "complete the ratings; or take the rule out of rules.yaml, and name both of its columns in "
    "prepare.ignore.",
    Reason.BAD_LABEL: "if the labels are others than the format has, map them by inputs[].columns and chosen_if.",
}
