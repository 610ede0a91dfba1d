"""An MLflow store in a sqlite file, looked at without MLflow.

Tables are made by a hundred steps, each visible to others. A process that is killed on the way leaves a file that no
MLflow opens again, and that holds no run: it is made anew.
"""

import contextlib
import os
import re
import sqlite3
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from encore_ray.storage import standing_above
from encore_ray.tracking.experiments import ID_PREFIX, deleted, unknown_id

_FILLED_ON_THE_WAY = frozenset({"alembic_version", "workspaces"})


def sqlite_path(uri: str) -> str:
    """The path in sqlite:///PATH."""
    return uri.partition(":///")[2].partition("?")[0]


def problem_of(path: str, experiment: str | None) -> str | None:
    """What is wrong with a file that MLflow would open; one that is not there yet is made by it, with its folder."""
    if os.path.isdir(path):
        return "that is a folder. Name a file in it."
    if not os.path.exists(path):
        place = standing_above(os.path.dirname(path) or ".")
        if not os.path.isdir(place) or not os.access(place, os.W_OK | os.X_OK):
            return f"its folder cannot be made: {place} is no folder that this user may write to."
        if experiment is not None and experiment.startswith(ID_PREFIX) and experiment != f"{ID_PREFIX}0":
            return unknown_id(experiment)
        return None
    try:
        with _reading(path) as database:
            return _of_tables(database, experiment)
    except sqlite3.OperationalError:
        return None  # locked, or out of reach just now: the delivery tries again and tells
    except sqlite3.DatabaseError as error:
        return f"{error}. Name another file."


def make_room(path: str) -> None:
    """Make the folder of a file, or remove a file whose tables nobody finished.

    To be called by the one process that may make the tables now.
    """
    if not os.path.exists(path):
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        return
    with contextlib.suppress(sqlite3.DatabaseError):  # MLflow tells what is wrong with it
        with _reading(path) as database:
            half_made = _is_half_made(database)
        if half_made:
            os.unlink(path)


@contextlib.contextmanager
def _reading(path: str) -> Iterator[sqlite3.Connection]:
    uri = f"file:{quote(os.path.abspath(path))}?mode=ro"
    with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=1.0)) as database:
        yield database


def _of_tables(database: sqlite3.Connection, experiment: str | None) -> str | None:
    revision = _revision(database)
    if revision is not None and not _is_half_made(database):
        problem = _of_revision(revision)
        if problem:
            return problem
    if "experiments" not in _tables(database) or experiment is None:
        return None
    by_id = experiment.startswith(ID_PREFIX)
    column, value = ("experiment_id", experiment.removeprefix(ID_PREFIX)) if by_id else ("name", experiment)
    row = database.execute(f"SELECT lifecycle_stage FROM experiments WHERE {column} = ?", (value,)).fetchone()  # noqa: S608
    if row is None:
        return unknown_id(experiment) if by_id else None
    return deleted(experiment) if row[0] == "deleted" else None


def _tables(database: sqlite3.Connection) -> set[str]:
    return {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def _revision(database: sqlite3.Connection) -> str | None:
    """The last step that was taken to make the tables; None where none is noted."""
    if "alembic_version" not in _tables(database):
        return None
    row = database.execute("SELECT version_num FROM alembic_version").fetchone()
    return row and row[0]


def _is_half_made(database: sqlite3.Connection) -> bool:
    """Whether the tables are MLflow's before its last step, and hold nothing.

    A store of an older MLflow has an experiment at least: the default one, which was made behind its last step.
    """
    tables, revision, (steps, last) = _tables(database), _revision(database), _steps()
    if revision not in steps - {last} and not (revision is None and "experiments" in tables):
        return False
    names = [name.replace('"', '""') for name in tables - _FILLED_ON_THE_WAY]
    return not any(database.execute(f'SELECT 1 FROM "{name}" LIMIT 1').fetchone() for name in names)  # noqa: S608


@cache
def _steps() -> tuple[frozenset[str], str | None]:
    """The steps by which the installed MLflow makes its tables, and the last of them, where that can be told."""
    spec = find_spec("mlflow")
    places = [
        Path(place, "store", "db_migrations", "versions") for place in (spec and spec.submodule_search_locations) or ()
    ]
    texts = [file.read_text(encoding="utf-8") for place in places for file in place.glob("*.py")]
    steps = frozenset(match[1] for text in texts for match in re.finditer(r'^revision\s*=\s*"(\w+)"', text, re.M))
    before = {match[1] for text in texts for match in re.finditer(r'^down_revision\s*=\s*"(\w+)"', text, re.M)}
    last = steps - before
    return steps, next(iter(last)) if len(last) == 1 else None


def _of_revision(found: str) -> str | None:
    """What is to be done about tables of another MLflow than the one that is installed here."""
    steps, last = _steps()
    if last is None or found == last:
        return None
    if found in steps:
        return (
            f"its tables are of an older MLflow (schema {found}) than the installed {version('mlflow')}. Make a copy, "
            "then `mlflow db upgrade` with that address."
        )
    return (
        f"its tables are of a newer MLflow (schema {found}) than the installed {version('mlflow')}, or no MLflow's. "
        "Install the newer one here, or name another store."
    )
