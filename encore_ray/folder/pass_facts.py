"""What the results of a pass were made from, where a run keeps it: whether they stand, without doing the pass.

    facts/<pass>.json    the facts, the digest of each file that was made, and what of the result no file holds

It is written when the pass has ended. A file that has been changed or deleted since makes it void, so nobody has to
delete it; neither does what was made by a version that kept none stand: that is made once more. Files of a table are
known by their stamps; where one is another, as after a copy, all are compared with their digests.
"""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from encore_ray.folder.pass_table import pass_table
from encore_ray.folder.protocol.seal import read_manifest
from encore_ray.folder.protocol.versions import is_readable
from encore_ray.folder.reading.parquet import open_parquet
from encore_ray.folder.spec import Pass
from encore_ray.schema import DATA_DIR, FACTS_DIR, QUARANTINE_DIR, SCHEMA_VERSION
from encore_ray.storage import READERS, Folder, content_digest, fingerprint, from_json, to_json


@dataclass(frozen=True)
class MadeFrom:
    """Of results that stand: the facts that they were made from, and what of them no file holds.

    Attributes:
        renewed: the content of the file that says so with the stamps that the table has by now, where these changed.
    """

    facts: Mapping[str, Any]
    kept: Any
    renewed: Mapping[str, Any] | None = None


def read_facts(run: Folder, spec: Pass) -> MadeFrom | None:
    """What the standing results of a pass were made from; None where none stand whole, or it is not known.

    Raises:
        DataError: a file of its table is not what its commit says.
    """
    try:
        content = from_json(run.read_bytes(_file(spec)))
        facts, files, kept = dict(content["facts"]), dict(content["files"]), content["kept"]
    except (OSError, ValueError, TypeError, KeyError):
        return None
    if not is_readable(content) or any(_digest(run, name) != digest for name, digest in files.items()):
        return None
    if spec.table is not None:
        stamps = _stamps(run, spec)
        if stamps is None:
            return None
        if stamps != content.get("stamps"):
            _compare_with_digests(run, spec)
            return MadeFrom(facts, kept, {**content, "stamps": stamps})
    return MadeFrom(facts, kept)


def keep_stamps(run: Folder, spec: Pass, found: MadeFrom) -> None:
    """Keep the stamps of a table whose files were compared with their digests, so that they are not compared again."""
    if found.renewed is not None:
        run.write_json(_file(spec), found.renewed)


def write_facts(run: Folder, spec: Pass, facts: Mapping[str, Any], *, files: Iterable[str], kept: Any) -> None:
    """Keep what a pass has made its results from.

    Args:
        facts: as JSON values.
        files: of the run, without which, or with others, the results do not stand.
        kept: what of the result no file holds, as a JSON value.
    """
    content = {
        "schema_version": SCHEMA_VERSION,
        "pass": spec.name,
        "fingerprint": fingerprint(facts),
        "facts": facts,
        "files": {name: _digest(run, name) for name in files},
        "kept": kept,
    }
    if spec.table is not None:
        content["stamps"] = _stamps(run, spec)
    run.write_json(_file(spec), content)


def as_json(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts as they are read back, lists for tuples."""
    return dict(from_json(to_json(facts)))


def _stamps(run: Folder, spec: Pass) -> str | None:
    """What tells the files of a finished table as they lie there, in one digest; None where it is not whole."""
    table = pass_table(run, spec)
    if not table.is_whole():
        return None
    return fingerprint([table.folder.stamps(DATA_DIR), table.quarantine_folder.stamps(spec.name)])


def _compare_with_digests(run: Folder, spec: Pass) -> None:
    """Raise DataError for a file of a finished table, or of its quarantine, that is not what was written."""
    table = pass_table(run, spec)
    quarantined = (table.sealed() or {}).get(QUARANTINE_DIR, {})
    files = [(table.folder, file.file, file.digest) for file in read_manifest(table.folder)]
    files += [(table.quarantine_folder, name, digest) for name, digest in quarantined.items()]

    def compare(each: tuple[Folder, str, str]) -> None:
        folder, name, digest = each
        with open_parquet(folder, name, digest=digest):
            pass

    with ThreadPoolExecutor(READERS) as threads:
        list(threads.map(compare, files))


def _file(spec: Pass) -> str:
    return f"{FACTS_DIR}/{spec.name}.json"


def _digest(run: Folder, name: str) -> str | None:
    try:
        return content_digest(run.read_bytes(name))
    except OSError:
        return None
