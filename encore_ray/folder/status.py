"""How far a run is, read from its folder alone: works from any terminal, while the job runs or after it was killed."""

import json
import time
from dataclasses import dataclass

from encore_ray.errors import ConfigError, DataError
from encore_ray.folder.commits import total_counts
from encore_ray.folder.pass_table import PassTable
from encore_ray.schema import (
    COMPARISON_FILE,
    CONFIG_FILE,
    EMBEDDINGS_DIR,
    ENERGY_TRAINING_DIR,
    FEATURES_DIR,
    FIT_PROGRESS_FILE,
    LABEL_ERRORS_FILE,
    METRICS_FILE,
    PAIRS_DIR,
    PLAN_FILE,
    REFINE_REPORT_FILE,
    REFINED_DIR,
    REFINED_SCORES_DIR,
    RELEVANCE_DIR,
    RELIABILITY_FILE,
    REPORT_FILE,
    REWARDS_DIR,
    ROBUSTNESS_FILE,
    RULE_ENERGY_TRAINING_DIR,
    RULE_REFINE_REPORT_FILE,
    SCORES_DIR,
    SELECTION_DIR,
    SUCCESS_FILE,
    WEIGHTS_FILE,
    WORK_FILE,
)
from encore_ray.storage import Folder

RECENT_UNITS = 20


@dataclass(frozen=True)
class PassStatus:
    """One pass of a run.

    Attributes:
        state: "not started", "unfinished" or "finished"; whether a process is at work is not known from a folder.
        done_units, total_units, done_rows, total_rows: from the commits and the pass's own plan.
        rows_per_second: over the last units, None with fewer than two.
        idle_seconds: since the last unit was committed, None before the first.
    """

    name: str
    state: str
    done_units: int = 0
    total_units: int = 0
    done_rows: int = 0
    total_rows: int = 0
    rows_per_second: float | None = None
    idle_seconds: float | None = None
    quarantined: int = 0

    @property
    def seconds_left(self) -> float | None:
        if not self.rows_per_second or self.state == "finished":
            return None
        return (self.total_rows - self.done_rows) / self.rows_per_second


def pass_tables(run: Folder) -> dict[str, PassTable]:
    """The passes of a run that write tables, in order."""
    selected, refined, refined_scores = (
        f"{folder}/{SUCCESS_FILE}" for folder in (SELECTION_DIR, REFINED_DIR, REFINED_SCORES_DIR)
    )
    of_reward = (refined, LABEL_ERRORS_FILE, REFINE_REPORT_FILE, ROBUSTNESS_FILE, RELIABILITY_FILE)
    of_rules = (refined_scores, RULE_REFINE_REPORT_FILE)
    rewarded = (METRICS_FILE, REPORT_FILE, *of_reward)
    composed = (f"{REWARDS_DIR}/{SUCCESS_FILE}", WEIGHTS_FILE, COMPARISON_FILE)
    scored = (*rewarded, *composed, *of_rules, selected)
    made = (SCORES_DIR, FEATURES_DIR, EMBEDDINGS_DIR, RELEVANCE_DIR)
    prepared = (*scored, *(f"{folder}/{SUCCESS_FILE}" for folder in made))
    return {
        "prepare": PassTable(run.child(PAIRS_DIR), run, "prepare", downstream=prepared),
        "score": PassTable(run.child(SCORES_DIR), run, "score", downstream=scored),
        "compose": PassTable(run.child(REWARDS_DIR), run, "compose", downstream=rewarded),
        "features": PassTable(run.child(FEATURES_DIR), run, "features"),
        "relevance": PassTable(run.child(RELEVANCE_DIR), run, "relevance", downstream=(selected,)),
        "select": PassTable(run.child(SELECTION_DIR), run, "select"),
        "embed": PassTable(run.child(EMBEDDINGS_DIR), run, "embed", downstream=(*of_reward, *of_rules)),
        "refine": PassTable(run.child(REFINED_DIR), run, "refine", downstream=(LABEL_ERRORS_FILE,)),
        "refine_scores": PassTable(run.child(REFINED_SCORES_DIR), run, "refine_scores"),
    }


def run_status(run: Folder) -> list[PassStatus]:
    """The six passes of a run in order, and the further ones that were begun.

    Raises:
        ConfigError: the folder is not a run.
    """
    tables = pass_tables(run)
    if not run.exists(CONFIG_FILE) and not any(table.folder.exists(PLAN_FILE) for table in tables.values()):
        raise ConfigError(f"{run.uri} is not a run folder: no pass has begun in it.")
    statuses = {name: _table_status(table) for name, table in tables.items()}
    weigh = PassStatus("weigh", "finished" if run.exists(WEIGHTS_FILE) else "not started")
    evaluate = PassStatus("evaluate", "finished" if run.exists(METRICS_FILE) else "not started")
    compare = PassStatus("compare", "finished" if run.exists(COMPARISON_FILE) else "not started")
    always = ("prepare", "score", "compose")
    further = [status for name, status in statuses.items() if name not in always and status.state != "not started"]
    fits = [_fit_status(run, folder) for folder in (ENERGY_TRAINING_DIR, RULE_ENERGY_TRAINING_DIR)]
    return [
        *(statuses["prepare"], statuses["score"], weigh, statuses["compose"], evaluate, compare),
        *(status for status in fits if status is not None),
        *further,
    ]


def _fit_status(run: Folder, folder: str) -> PassStatus | None:
    """A fit of energies that has begun and is not over; its units are epochs."""
    try:
        found = run.child(folder).read_json(FIT_PROGRESS_FILE)
        return PassStatus(
            name="refine fit" if folder == ENERGY_TRAINING_DIR else "refine fit --per-rule",
            state="unfinished",
            done_units=int(found["epochs"]),
            total_units=int(found["num_epochs"]),
            done_rows=int(found["pairs"]),
            total_rows=int(found["total_pairs"]),
            rows_per_second=float(found["rate"]) or None,
            idle_seconds=time.time() - float(found["at"]),
        )
    except (FileNotFoundError, DataError, KeyError, TypeError, ValueError):
        return None


def _table_status(table: PassTable) -> PassStatus:
    try:
        work = json.loads(table.folder.read_bytes(WORK_FILE))
        num_units, num_rows = int(work["units"]), int(work["rows"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return PassStatus(table.name, "not started")
    commits = sorted(table.commits().values(), key=lambda commit: commit.finished_at)
    counts = total_counts(commits)
    recent = commits[-RECENT_UNITS:]
    rate = None
    if len(recent) > 1 and recent[-1].finished_at > recent[0].finished_at:
        rows = sum(commit.counts["rows"] for commit in recent[1:])
        rate = rows / (recent[-1].finished_at - recent[0].finished_at)
    return PassStatus(
        name=table.name,
        state="finished" if table.sealed() else "unfinished",
        done_units=len(commits),
        total_units=num_units,
        done_rows=counts.get("rows", 0),
        total_rows=num_rows,
        rows_per_second=rate,
        idle_seconds=time.time() - recent[-1].finished_at if recent else None,
        quarantined=counts.get("quarantined", 0),
    )
