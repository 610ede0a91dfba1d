"""The report of a run folder: what its files hold, as one HTML page and as tables."""

import contextlib
import io
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, TypeVar

import pyarrow.parquet as pq

from encore_ray.artifacts import (
    Artifact,
    Comparison,
    LabelErrors,
    Metrics,
    RefineReport,
    RuleRefineReport,
    WeightsFile,
)
from encore_ray.config.sources import stored_config
from encore_ray.errors import ConfigError, DataError
from encore_ray.folder.pass_facts import as_json, read_facts, write_facts
from encore_ray.folder.pass_table import pass_tables
from encore_ray.folder.protocol.versions import code_digest
from encore_ray.folder.provenance import is_same
from encore_ray.folder.reading.table_rules import run_rules
from encore_ray.folder.spec import PASSES, PREPARE, REPORT, SCORE, SELECT
from encore_ray.passes.examples import read_examples
from encore_ray.passes.scorers.scoring_cost import without_times
from encore_ray.passes.selection.selected import Selection, find_selection
from encore_ray.redaction import redact
from encore_ray.report.charts.lines import picture, reliability_chart, robustness_chart
from encore_ray.report.charts.loadings import HEIGHT, WIDTH, loadings_chart
from encore_ray.report.data.contents import ReportContents, SelectionSummary, reported_rules
from encore_ray.report.data.data_tables import report_tables
from encore_ray.report.page import render_page, render_side_by_side
from encore_ray.report.sections.consensus import consensus_of
from encore_ray.report.sections.pairs import shown_pairs
from encore_ray.report.sections.rules import unit_of
from encore_ray.report.tables.summary import summary
from encore_ray.run import Run
from encore_ray.schema import (
    CONFIG_FILE,
    CONSENSUS_FILE,
    PAIRS_DIR,
    PLAN_FILE,
    RELIABILITY_FILE,
    REPORT_FILE,
    REPORT_TABLES_DIR,
    ROBUSTNESS_FILE,
    RULES_FILE,
)
from encore_ray.storage import Folder, content_digest

Kind = TypeVar("Kind", bound=Artifact)

_OWN_PLACE = (PREPARE.name, SCORE.name)  # in the contents of a report
_LIBRARIES = ("encore-ray", "ray", "torch", "transformers", "numpy", "pyarrow")


def write_report(run: Run, *, weights: WeightsFile | None = None) -> None:
    """Write and track report/ from what the run, or the output folder of a single command, holds by now.

    One that stands in a run, and shows what it would show now, is left.

    Args:
        weights: the weights.json that the metrics are of; None for the run's own.
    """
    facts = as_json(_facts(run.folder)) if run.folder.exists(PAIRS_DIR) else None
    standing = read_facts(run.folder, REPORT)
    if (
        facts is not None
        and standing is not None
        and is_same(run.path(REPORT_FILE), standing.facts, facts, derived={*standing.facts, *facts})
    ):
        run.note(f"{REPORT.name}: nothing to do, it stands")
        return
    began = time.monotonic()
    contents = _read_contents(run.folder, weights=weights)
    files = _files(contents)
    for name, data in files.items():
        run.folder.write_atomic(name, data)
        run.tracker.log_artifact(name, data)
    if contents.metrics and contents.weights and contents.comparison:
        note = summary(contents.metrics, contents.weights, contents.comparison.decision)
        run.tracker.set_tags({"mlflow.note.content": note})
    run.has_done(REPORT, time.monotonic() - began, None)
    if facts is not None:
        write_facts(run.folder, REPORT, facts, files=files, kept=None)


def _facts(folder: Folder) -> dict[str, Any]:
    """All that a report shows of a run."""
    made = [file for one in PASSES if one != REPORT for file in one.end_files if not file.endswith(".svg")]
    plans = [f"{one.table}/{PLAN_FILE}" for one in (SCORE, SELECT)]
    names = [*made, *plans, CONFIG_FILE, RULES_FILE]
    digests = {name: content_digest(folder.read_bytes(name)) for name in names if folder.exists(name)}
    return {"place": redact(folder.uri), "shows": digests, "libraries": _versions(), "code": code_digest()}


def _versions() -> dict[str, str]:
    return {name: version(name) for name in _LIBRARIES}


def make_report(folder: Folder, *, weights: WeightsFile | None = None) -> dict[str, bytes]:
    """The files of the report, by their place in the folder: the HTML page, its tables as Parquet, pictures as SVG.

    Args:
        folder: a run, or the output folder of a single command; what is missing there is left out.
        weights: those that the metrics are of; None for the folder's own.
    """
    return _files(_read_contents(folder, weights=weights))


def _files(contents: ReportContents) -> dict[str, bytes]:
    files = {REPORT_FILE: render_page(contents)}
    if contents.refined:
        files[ROBUSTNESS_FILE] = picture(robustness_chart(contents.refined.controls))
        files[RELIABILITY_FILE] = picture(reliability_chart(contents.refined.calibration))
    consensus = consensus_of(contents)
    if consensus:
        chart = loadings_chart(consensus, reported_rules(contents), unit=unit_of(contents))
        files[CONSENSUS_FILE] = picture(chart, width=WIDTH, height=HEIGHT)
    for name, table in report_tables(contents).items():
        file = io.BytesIO()
        pq.write_table(table, file, compression="zstd")
        files[f"{REPORT_TABLES_DIR}/{name}.parquet"] = file.getvalue()
    return files


def make_side_by_side(folders: Sequence[Folder]) -> bytes:
    """A page of several runs; each is called by as much of its path's end as tells it from the others."""
    parts = [folder.uri.rstrip("/").split("/") for folder in folders]
    for depth in range(1, max(map(len, parts)) + 1):
        contents = {"/".join(each[-depth:]): folder for each, folder in zip(parts, folders, strict=True)}
        if len(contents) == len(folders):
            return render_side_by_side({name: _read_contents(folder) for name, folder in contents.items()})
    raise ConfigError("A run is named twice: name different ones to set them side by side.")


def _read_contents(folder: Folder, *, weights: WeightsFile | None = None) -> ReportContents:
    """What a folder tells of a run; nothing in it need be there. Credentials in its configuration are left out."""
    tables = pass_tables(folder)
    sealed = {name: table.sealed() for name, table in tables.items()}
    counts = {name: without_times(done["counts"]) if done else None for name, done in sealed.items()}
    selection, comparison = None, _read(Comparison, folder)
    with contextlib.suppress(DataError):  # of rules that have changed since: it is made again, or left out
        found = find_selection(folder)
        if found is not None and _is_compared(found, comparison):
            selection = SelectionSummary(found.facts["num_rules"], found.facts["by"], counts["select"] or {})
    metrics, label_errors = _read(Metrics, folder), _read(LabelErrors, folder)
    return ReportContents(
        title=folder.name,
        place=redact(folder.uri),
        made_on=datetime.now(UTC).date().isoformat(),
        weights=weights or _read(WeightsFile, folder),
        metrics=metrics,
        comparison=comparison,
        refined=_read(RefineReport, folder),
        refined_rules=_read(RuleRefineReport, folder),
        label_errors=label_errors,
        prepared=counts["prepare"],
        scored=counts["score"],
        selection=selection,
        others=_others(counts),
        rules=run_rules(folder),
        config=stored_config(folder),
        model=tables["score"].standing_facts(),
        versions=_versions(),
        examples=read_examples(folder, shown_pairs(metrics, label_errors)),
    )


def _is_compared(selection: Selection, comparison: Comparison | None) -> bool:
    """Whether a selection is the one whose accuracy the comparison tells, if it tells any: not one made since."""
    lines = comparison.schemes if comparison else []
    told = [line.params["selection"] for line in lines if line.params and "selection" in line.params]
    return not told or selection.facts["selection"] in told


def _others(counts: Mapping[str, Mapping[str, int] | None]) -> dict[str, Mapping[str, int]]:
    """Counts of the finished passes that may set rows aside and have no place of their own in a report."""
    return {
        name: found
        for name, found in counts.items()
        if found is not None and name not in _OWN_PLACE and {"rows", "quarantined"} <= found.keys()
    }


def _read(kind: type[Kind], folder: Folder) -> Kind | None:
    """A file of the folder; None where it is missing or not whole: a damaged file is its own command's to report."""
    with contextlib.suppress(DataError):
        return kind.read(folder) if folder.exists(kind.FILE) else None
    return None
