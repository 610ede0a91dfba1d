"""What the results of a pass were made from, where a run keeps it: whether they stand, without doing the pass.

    facts/<pass>.json    the facts, the digest of each file that was made, and what of the result no file holds

It is written when the pass has ended. A file that has been changed or deleted since makes it void, so nobody has to
delete it; neither does what was made by a version that kept none stand: that is made once more.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from encore_ray.folder.pass_table import pass_table
from encore_ray.folder.spec import Pass
from encore_ray.folder.versions import is_readable
from encore_ray.schema import FACTS_DIR, SCHEMA_VERSION
from encore_ray.storage import Folder, content_digest, fingerprint, from_json, to_json


@dataclass(frozen=True)
class MadeFrom:
    """Of results that stand: the facts that they were made from, and what of them no file holds."""

    facts: Mapping[str, Any]
    kept: Any


def read_facts(run: Folder, spec: Pass) -> MadeFrom | None:
    """What the standing results of a pass were made from; None where none stand whole, or it is not known."""
    try:
        content = from_json(run.read_bytes(_file(spec)))
        facts, files, kept = dict(content["facts"]), dict(content["files"]), content["kept"]
    except (OSError, ValueError, TypeError, KeyError):
        return None
    if not is_readable(content) or any(_digest(run, name) != digest for name, digest in files.items()):
        return None
    if spec.table is not None and not pass_table(run, spec).is_whole():
        return None
    return MadeFrom(facts, kept)


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
    run.write_json(_file(spec), content)


def as_json(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts as they are read back, lists for tuples."""
    return dict(from_json(to_json(facts)))


def _file(spec: Pass) -> str:
    return f"{FACTS_DIR}/{spec.name}.json"


def _digest(run: Folder, name: str) -> str | None:
    try:
        return content_digest(run.read_bytes(name))
    except OSError:
        return None
