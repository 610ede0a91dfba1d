"""A sqlite file whose tables a killed process left half made is no store of an older MLflow, and is made anew."""

import contextlib
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy
from alembic import command
from alembic.script import ScriptDirectory
from mlflow.exceptions import MlflowException
from mlflow.store.db.utils import _get_alembic_config
from mlflow.store.tracking.dbmodels.initial_models import Base

from encore_ray.tracking.mlflow_store import MlflowStore
from encore_ray.tracking.refusals import refuse_permanent

STEPS = [step.revision for step in ScriptDirectory.from_config(_get_alembic_config("")).walk_revisions()][::-1]


def _make_up_to(step: str | None, path: Path) -> str:
    """MLflow's tables as they are when the process that makes them is killed behind a step."""
    uri = f"sqlite:///{path}"
    engine = sqlalchemy.create_engine(uri)
    Base.metadata.create_all(engine)
    if step is not None:
        config = _get_alembic_config(uri)
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, step)
    engine.dispose()
    return uri


def _execute(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(statement)


@pytest.mark.parametrize("is_within_a_step", [False, True])
@pytest.mark.parametrize("step", [None, STEPS[0], STEPS[len(STEPS) // 2], STEPS[-2]])
def test_tables_that_were_left_half_made_are_made_anew(tmp_path: Path, step: str | None, is_within_a_step: bool):
    path = tmp_path / "mlflow.db"
    uri = _make_up_to(step, path)
    if is_within_a_step:  # a step copies a table to this one, and takes its name
        _execute(path, "CREATE TABLE _alembic_tmp_runs (run_uuid TEXT)")
        _execute(path, "CREATE TABLE _alembic_tmp_experiments (experiment_id TEXT)")
    refuse_permanent(uri, "first")
    store = MlflowStore(uri)
    run = store.begin_run(
        "key", experiment_id=store.experiment_named("first"), name="a", parent=None, time_ms=1, tags={}
    )
    assert store.has_run(run)
    assert MlflowStore(uri).has_run(run)


def test_tables_of_an_older_mlflow_that_hold_an_experiment_stay(tmp_path: Path):
    path = tmp_path / "mlflow.db"
    uri = _make_up_to(STEPS[-2], path)
    _execute(path, "INSERT INTO experiments (name, lifecycle_stage) VALUES ('mine', 'active')")
    with contextlib.suppress(MlflowException):  # MLflow mends it itself where tables are missing
        MlflowStore(uri)
    with closing(sqlite3.connect(path)) as database:
        assert ("mine",) in database.execute("SELECT name FROM experiments").fetchall()


@pytest.mark.parametrize("table", ["experiments", "alembic_version"])
def test_tables_of_another_program_stay(tmp_path: Path, table: str):
    path = tmp_path / "other.db"
    _execute(path, f"CREATE TABLE {table} (version_num TEXT)")
    _execute(path, "CREATE TABLE theirs (word TEXT)")
    _execute(path, "INSERT INTO theirs VALUES ('kept')")
    with contextlib.suppress(Exception):  # what MLflow says of it
        MlflowStore(f"sqlite:///{path}")
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT word FROM theirs").fetchall() == [("kept",)]
