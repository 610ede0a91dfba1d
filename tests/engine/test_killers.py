"""Pairs that kill or hang their worker, on a real cluster: only they are lost, by name, and nothing waits for ever."""

import logging
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest
from ray.data import DataContext

from encore_ray.engine.on_ray import cluster
from encore_ray.engine.on_ray.engine import RayEngine
from encore_ray.engine.pools import ActorPool, TaskPool
from encore_ray.engine.progress import Progress, ignore_progress
from encore_ray.engine.work.run_units import run_units
from encore_ray.engine.work.unit_work import Task
from encore_ray.errors import ClusterError
from encore_ray.folder.pass_table import PassTable
from encore_ray.folder.protocol.commits import total_counts
from encore_ray.folder.reading.tables import table_units
from encore_ray.rules import RuleSet
from encore_ray.storage import Folder
from tests.passes import jobs
from tests.passes.lethal import HOLD, KILL, SLEEP, LethalScores, lethal_start, write_pairs

RULES = RuleSet(list(jobs.CLIPPED)[:1])
TASKS = TaskPool(2, 0.9)
ACTORS = ActorPool(1, 1, 0.9, 0.0, calls_at_a_time=2)
NUM_UNITS, NUM_PAIRS = 5, 4
TIMEOUT_S = 5.0  # all of which a worker that holds the interpreter's lock computes, at each of its tries


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    folder = Folder(str(tmp_path_factory.mktemp("pairs")))
    write_pairs(folder, RULES, units=NUM_UNITS, pairs=NUM_PAIRS)
    return folder


@pytest.fixture(scope="module")
def undisturbed(ray_engine: RayEngine, pairs: Folder, tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    return score(ray_engine, pairs, tmp_path_factory.mktemp("undisturbed"), {}, pool=TASKS)


@pytest.fixture
def impatient() -> Iterator[None]:
    """Take a worker to hang after a few seconds."""
    context = DataContext.get_current()
    usual = cluster.unit_timeout_s()
    context.set_config(cluster._UNIT_TIMEOUT, TIMEOUT_S)
    yield
    context.set_config(cluster._UNIT_TIMEOUT, usual)


def score(
    engine: RayEngine,
    pairs: Folder,
    run: Path,
    lethal: dict[str, str],
    *,
    pool: ActorPool | TaskPool,
    leaves_out: bool = True,
) -> pa.Table:
    """The scores of a whole pass, in order; its account is checked on the way."""
    table = output(run)
    tasks = [Task(u.unit, u.digest, u.rows, u, u.folder.path(u.file)) for u in table_units(pairs.uri)]
    told: list[Progress] = []
    commits = run_units(
        table,
        tasks,
        partial(LethalScores, RULES, lethal),
        engine=lambda: engine,
        watch=told.append,
        pool=lambda num_units: pool,
        leaves_out=leaves_out,
    )
    counts = total_counts(commits.values())
    assert counts["rows"] == counts["scored"] + counts["quarantined"] == NUM_UNITS * NUM_PAIRS
    assert told[-1].done_rows == counts["rows"]
    assert told[0].workers == 0
    assert told[-1].workers >= 1
    assert bool(told[-1].lost_units) == bool(lethal)
    table.seal([task.unit for task in tasks], commits, counts)
    assert not table.folder.exists("attempts")
    return jobs.table(run / "scores")


def output(run: Path) -> PassTable:
    folder = Folder(str(run))
    return PassTable(folder.child("scores"), folder, "score").open({"rules": RULES.fingerprint})


def quarantine(run: Path) -> dict[str, dict[str, str]]:
    folder = Folder(str(run / "quarantine" / "score"))
    return {row["pair_id"]: row for name in folder.names() for row in folder.read_table(name).to_pylist()}


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("pool", "lethal"),
    [
        (ACTORS, {"u1p3": KILL, "u3p0": HOLD}),
        (TASKS, {"u0p1": KILL, "u0p3": SLEEP}),
    ],
    ids=["actors", "tasks"],
)
def test_only_the_pairs_that_end_their_worker_are_lost(
    ray_engine: RayEngine,
    pool: ActorPool | TaskPool,
    lethal: dict[str, str],
    pairs: Folder,
    undisturbed: pa.Table,
    tmp_path: Path,
) -> None:
    scores = score(ray_engine, pairs, tmp_path, lethal, pool=pool)
    spared = [pair_id not in lethal for pair_id in undisturbed.column("pair_id").to_pylist()]
    assert scores.equals(undisturbed.filter(pa.array(spared)))  # values and order
    rows = quarantine(tmp_path)
    assert {pair_id: row["reason"] for pair_id, row in rows.items()} == {
        pair_id: "kills_worker" if how == KILL else "hangs" for pair_id, how in lethal.items()
    }
    for pair_id, row in rows.items():
        assert row["source"] == pairs.path(f"{pair_id[1]}.parquet")
        assert row["line"] == int(pair_id[3]) + 1
        assert '"How?"' in row["raw"]
    logs = {row["reason"]: Path(row["detail"].rpartition("log ")[2].rstrip(")")) for row in rows.values()}
    assert f"Timeout (0:00:{TIMEOUT_S:02.0f})!" in logs["hangs"].read_text()
    assert "in die" in logs["hangs"].read_text()  # the stack names the culprit


def test_where_no_row_may_be_lost_the_pass_ends_by_the_units_name(
    ray_engine: RayEngine, pairs: Folder, tmp_path: Path
) -> None:
    with pytest.raises(ClusterError, match=rf"Unit \S+ of {pairs.uri}/2.parquet ends its worker each time"):
        score(ray_engine, pairs, tmp_path, {"u2p0": KILL}, pool=TASKS, leaves_out=False)
    assert len(output(tmp_path).commits()) == NUM_UNITS - 1  # the others are done


def test_marks_of_a_killed_driver_make_no_unit_suspect(
    ray_engine: RayEngine, pairs: Folder, undisturbed: pa.Table, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(NUM_UNITS):
        output(tmp_path).in_flight.begin(f"unit-{number:08d}")
    with caplog.at_level(logging.WARNING, logger="encore_ray"):
        assert score(ray_engine, pairs, tmp_path, {}, pool=ACTORS).equals(undisturbed)
    assert not caplog.records


def test_workers_that_die_before_they_work_end_the_pass(ray_engine: RayEngine, pairs: Folder, tmp_path: Path) -> None:
    (unit, *_) = table_units(pairs.uri)
    with pytest.raises(ClusterError, match="died 3 times while it made ready to work"):
        run_units(
            output(tmp_path),
            [Task(unit.unit, unit.digest, unit.rows, unit, "pairs")],
            lethal_start,  # type: ignore[arg-type]
            engine=lambda: ray_engine,
            watch=ignore_progress,
            pool=lambda num_units: ACTORS,
        )
