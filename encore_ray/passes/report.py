"""The report of a run folder: what its files hold, as one HTML page and as tables."""

import contextlib
import io
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import pyarrow.parquet as pq
import yaml

from encore_ray.errors import DataError
from encore_ray.folder.pass_table import pass_tables
from encore_ray.folder.tables import run_rules
from encore_ray.passes.scorers.scoring_cost import without_times
from encore_ray.passes.selection.selected import find_selection
from encore_ray.redaction import redact
from encore_ray.report import (
    ReportContents,
    missing_keys,
    picture,
    reliability_chart,
    render_page,
    report_tables,
    robustness_chart,
)
from encore_ray.run import Run
from encore_ray.schema import (
    COMPARISON_FILE,
    CONFIG_FILE,
    METRICS_FILE,
    REFINE_REPORT_FILE,
    RELIABILITY_FILE,
    REPORT_FILE,
    REPORT_TABLES_DIR,
    ROBUSTNESS_FILE,
    RULE_REFINE_REPORT_FILE,
    WEIGHTS_FILE,
)
from encore_ray.storage import Folder

_LIBRARIES = ("encore-ray", "ray", "torch", "transformers", "numpy", "pyarrow")


def write_report(run: Run, *, weights: Mapping[str, Any] | None = None) -> None:
    """Write and track report/ from what the run, or the output folder of a single command, holds by now.

    Args:
        weights: content of the weights.json that the metrics are of; None for the run's own.
    """
    for name, data in make_report(run.folder, weights=weights).items():
        run.folder.write_atomic(name, data)
        run.tracker.log_artifact(name, data)


def make_report(folder: Folder, *, weights: Mapping[str, Any] | None = None) -> dict[str, bytes]:
    """The files of the report, by their place in the folder: the HTML page, its tables as Parquet, pictures as SVG.

    Args:
        folder: a run, or the output folder of a single command; what is missing there is left out.
        weights: content of the weights.json that the metrics are of; None for the folder's own.
    """
    contents = _read_contents(folder, weights=weights)
    files = {REPORT_FILE: render_page(contents)}
    if contents.refined:
        files[ROBUSTNESS_FILE] = picture(robustness_chart(contents.refined["controls"]))
        files[RELIABILITY_FILE] = picture(reliability_chart(contents.refined["calibration"]))
    for name, table in report_tables(contents).items():
        file = io.BytesIO()
        pq.write_table(table, file, compression="zstd")
        files[f"{REPORT_TABLES_DIR}/{name}.parquet"] = file.getvalue()
    return files


def _read_contents(folder: Folder, *, weights: Mapping[str, Any] | None = None) -> ReportContents:
    """What a folder tells of a run; nothing in it need be there. Credentials in its configuration are left out."""
    tables = pass_tables(folder)
    sealed = {name: table.sealed() for name, table in tables.items()}
    counts = {name: without_times(done["counts"]) if done else None for name, done in sealed.items()}
    selection = None
    with contextlib.suppress(DataError):  # of rules that have changed since: it is made again, or left out
        selection = find_selection(folder)
    config = None
    if folder.exists(CONFIG_FILE):
        config = yaml.safe_load(redact(folder.read_bytes(CONFIG_FILE).decode()))
    return ReportContents(
        title=folder.name,
        weights=weights or _read(folder, WEIGHTS_FILE),
        metrics=_read(folder, METRICS_FILE),
        comparison=_read(folder, COMPARISON_FILE),
        refined=_read(folder, REFINE_REPORT_FILE),
        refined_rules=_read(folder, RULE_REFINE_REPORT_FILE),
        prepared=counts["prepare"],
        scored=counts["score"],
        selection={**selection.params, "counts": counts["select"]} if selection else None,
        rules=run_rules(folder),
        config=config,
        model=tables["score"].standing_facts(),
        versions={name: version(name) for name in _LIBRARIES},
    )


def _read(folder: Folder, name: str) -> dict[str, Any] | None:
    """A file's content; None where it is missing or not whole: a damaged file is its own command's to report."""
    with contextlib.suppress(DataError):
        content = folder.read_json(name) if folder.exists(name) else None
        return None if missing_keys(name, content) else content
    return None
