"""The seal of a finished pass: _SUCCESS says what the table holds, and whoever opens it finds just that, or an error.

Compared are the manifest (digest, files, rows), the plan, the names of its files and of its quarantine, and the tables
beside it with those that it was made from. What a data file holds is compared with the digest in the manifest when it
is read (`folder/reading/parquet.py`).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from encore_ray.arrays import rows_to_table
from encore_ray.errors import DataError
from encore_ray.folder.protocol.commits import Commit, DataFile, manifest_digest
from encore_ray.folder.protocol.versions import check_version, is_readable
from encore_ray.folder.spec import find_pass, writer_of
from encore_ray.schema import (
    CONFIG_FILE,
    DATA_DIR,
    MANIFEST_FILE,
    MANIFEST_SCHEMA,
    PLAN_FILE,
    QUARANTINE_DIR,
    SCHEMA_VERSION,
    SUCCESS_FILE,
)
from encore_ray.storage import Folder, fingerprint, from_json

_AGAIN = "Run the pass that writes it again, by the same command: what stands is not done anew."


def seal_content(
    plan: str, commits: Sequence[Commit], counts: Mapping[str, int], *, made_from: Mapping[str, str]
) -> dict[str, Any]:
    """The content of _SUCCESS.

    Args:
        plan: fingerprint of the facts.
        commits: of the units in their order.
        counts: totals of the pass.
        made_from: digest of the manifest of each table of the run that the pass reads, see `sources`.
    """
    files = [file for commit in commits for file in commit.data]
    quarantined = [commit.quarantine for commit in commits if commit.quarantine]
    return {
        "schema_version": SCHEMA_VERSION,
        "fingerprint": plan,
        "manifest_digest": manifest_digest(files),
        "num_units": len(commits),
        "num_files": len(files),
        "num_rows": sum(file.rows for file in files),
        "counts": dict(counts),
        "quarantine": {written.file: written.digest for written in quarantined},
        "made_from": dict(made_from),
    }


def sources(run: Folder, name: str) -> dict[str, str]:
    """The finished tables of a run that a pass reads, by folder: the digest of each one's manifest."""
    tables = [find_pass(read).table for read in find_pass(name).reads]
    seals = {table: read_seal(run.child(table)) for table in tables if table}
    return {table: str(sealed["manifest_digest"]) for table, sealed in seals.items() if sealed}


def manifest_table(commits: Sequence[Commit]) -> pa.Table:
    """The content of manifest.parquet."""
    return rows_to_table((vars(file) for commit in commits for file in commit.data), MANIFEST_SCHEMA)


def read_seal(folder: Folder) -> dict[str, Any] | None:
    """The content of _SUCCESS; None while the pass is not finished, or when the file is damaged or not readable."""
    try:
        content = dict(from_json(folder.read_bytes(SUCCESS_FILE)))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    return content if is_readable(content) else None


def read_manifest(folder: Folder) -> list[DataFile]:
    """The files of a finished pass in order.

    Raises:
        DataError: the pass has not finished, is of a version that is not read, or what lies there is not what it
            sealed: another manifest or plan, a data file or a quarantine file that is not there; or it was made from
            other tables than those beside it.
    """
    sealed = _sealed(folder)
    if sealed is not None:
        check_version(sealed, where=folder.uri)
    manifest = folder.read_table(MANIFEST_FILE)
    if not manifest.schema.equals(MANIFEST_SCHEMA):
        raise DataError(
            f"{folder.path(MANIFEST_FILE)} is no manifest of ours: it has the columns "
            f"{', '.join(manifest.column_names[:6])}. Make the table again, or move this file and {SUCCESS_FILE} away "
            "from a table that was made elsewhere."
        )
    if sealed is None:
        raise DataError(f"{folder.path(SUCCESS_FILE)} is damaged: it is no seal of ours. {_AGAIN}")
    files = [DataFile(**row) for row in manifest.to_pylist()]
    _check_manifest(folder, files, sealed)
    _check_plan(folder, sealed)
    present = set(folder.names(DATA_DIR))
    _refuse_lost(folder, [file.file for file in files if file.file.removeprefix(f"{DATA_DIR}/") not in present])
    _check_sources(folder, sealed)
    _check_quarantine(folder, sealed)
    return files


def lost_quarantine(quarantine: Folder, files: Iterable[str]) -> list[str]:
    """Which of the files, by paths in the run's quarantine, are not there."""
    wanted = list(files)
    passes = {file.partition("/")[0] for file in wanted}
    present = {f"{name}/{file}" for name in passes for file in quarantine.names(name)}
    return [file for file in wanted if file not in present]


def _sealed(folder: Folder) -> dict[str, Any] | None:
    """The content of _SUCCESS of any version; None where it is damaged. DataError where it is not there."""
    try:
        content = from_json(folder.read_bytes(SUCCESS_FILE))
    except FileNotFoundError:
        raise DataError(
            f"{folder.uri} is not finished (no {SUCCESS_FILE}): run {writer_of(folder.uri)} to its end."
        ) from None
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


def _check_manifest(folder: Folder, files: Sequence[DataFile], sealed: Mapping[str, Any]) -> None:
    """The digest covers names, rows and digests of all files in their order."""
    digest, num_rows = manifest_digest(files), sum(file.rows for file in files)
    then = [sealed.get(key) for key in ("manifest_digest", "num_files", "num_rows")]
    if then != [digest, len(files), num_rows]:
        raise DataError(
            f"{folder.path(MANIFEST_FILE)} is not what {SUCCESS_FILE} seals: it names {len(files)} files of {num_rows} "
            f"rows, sealed were {then[1]} files of {then[2]} rows (digest {digest[:12]}, sealed {str(then[0])[:12]}). "
            f"{_AGAIN}"
        )


def _check_plan(folder: Folder, sealed: Mapping[str, Any]) -> None:
    """A copy of a table may lack its plan; where it has one, it must be that which was sealed."""
    try:
        plan = from_json(folder.read_bytes(PLAN_FILE))
        found = fingerprint(plan["facts"])
    except FileNotFoundError:
        return
    except (ValueError, KeyError, TypeError):
        plan, found = {}, "none"
    if found != sealed.get("fingerprint"):
        raise DataError(
            f"{folder.path(PLAN_FILE)} is not what {SUCCESS_FILE} seals: its facts have the fingerprint {found[:12]}, "
            f"sealed was {str(sealed.get('fingerprint'))[:12]}. It was changed or damaged: make the table anew with "
            "--overwrite."
        )
    check_version(plan, where=folder.path(PLAN_FILE))


def _refuse_lost(folder: Folder, lost: Sequence[str]) -> None:
    if lost:
        raise DataError(
            f"{folder.path(lost[0])} is not there{f', nor are {len(lost) - 1:,} more' if lost[1:] else ''}: "
            f"{SUCCESS_FILE} names it. Run the pass that writes it again, by the same command: it makes what is lost."
        )


def _check_quarantine(folder: Folder, sealed: Mapping[str, Any]) -> None:
    """In its run, a table has its quarantine; a copy of the table alone need not, nor one of before it was sealed."""
    files, run = sealed.get("quarantine") or {}, _around(folder)
    if not files or run is None:
        return
    quarantine = run.child(QUARANTINE_DIR)
    lost = lost_quarantine(quarantine, files) if run.exists(CONFIG_FILE) or quarantine.exists() else []
    if lost:
        raise DataError(
            f"{quarantine.path(lost[0])} is not there"
            f"{f', nor are {len(lost) - 1:,} more' if lost[1:] else ''}: rows of {folder.uri} that could not be used "
            "were in it. Run the pass that writes it again, by the same command: it does these units anew."
        )


def _check_sources(folder: Folder, sealed: Mapping[str, Any]) -> None:
    """Compared with the tables that lie beside it and are finished: a copy of it may lie alone."""
    made_from, run = sealed.get("made_from") or {}, _around(folder)
    beside = {table: read_seal(run.child(table)) for table in made_from} if run else {}
    for table, found in beside.items():
        digest, now = str(made_from[table]), str((found or {}).get("manifest_digest", made_from[table]))
        if now != digest:
            raise DataError(
                f"{folder.uri} was not made from the {table} that lie beside it: from those of manifest {digest[:12]}, "
                f"and here are those of {now[:12]}. It is another run's, or older than they are. Run "
                f"{writer_of(folder.uri)} here, which says what has changed, or use a folder of its own for it."
            )


def _around(folder: Folder) -> Folder | None:
    """The folder that a table lies in; None for one at the top of a store."""
    parent = folder.uri.rstrip("/").rpartition("/")[0] or "/"
    return Folder(parent) if folder.is_local or parent.count("/") > 1 else None
