"""Versions of a run folder's files: which are read, and what is said of all others.

A version that is read gives exactly what it gave to the encore-ray that wrote it: `tests/folder/protocol/released`
holds a run of each. Any other is refused, since what its names mean is not known.
"""

import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import encore_ray
from encore_ray.errors import DataError
from encore_ray.schema import SCHEMA_VERSION

READABLE = frozenset({SCHEMA_VERSION})


def is_readable(content: Any) -> bool:
    """Whether the JSON value of a file is of a version that is read."""
    version = content.get("schema_version") if isinstance(content, dict) else None
    return isinstance(version, int) and version in READABLE


def refusal(content: Mapping[str, Any], *, where: str) -> str:
    """What is said of a file that is not readable: which version it is of, which are read, and what to do."""
    found, read = content.get("schema_version"), ", ".join(map(str, sorted(READABLE)))
    if isinstance(found, int) and found > max(READABLE):
        return (
            f"{where} is of schema_version {found}, and this encore-ray reads {read}: it was written by a newer one. "
            "Go on with that one, or use another run folder."
        )
    return (
        f"{where} is of schema_version {found}, and this encore-ray reads {read}. Go on with the encore-ray that "
        "wrote it, or make it anew by the pass that writes it, with --overwrite."
    )


def check_version(content: Mapping[str, Any], *, where: str) -> None:
    """Raise DataError for a file of a version that is not read."""
    if not is_readable(content):
        raise DataError(refusal(content, where=where))


@functools.cache
def code_digest() -> str:
    """SHA-256 of the package's own modules: another one may make something else of the same facts."""
    sha = hashlib.sha256()
    for root in map(Path, encore_ray.__path__):
        for file in sorted(root.rglob("*.py")):
            sha.update(f"{file.relative_to(root).as_posix()}\0".encode())
            sha.update(file.read_bytes())
    return sha.hexdigest()
