"""The commit records of a pass, one small file a unit: its name tells the unit, and a stamp of the plan and the input.

So which units stand, made from what, is known from a listing; a record is read for what is in it.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from encore_ray.folder.protocol.commits import Commit
from encore_ray.schema import COMMITS_DIR
from encore_ray.storage import READERS, Folder, fingerprint

STAMP_DIGITS = 12  # of a record's name, in hexadecimal digits


@dataclass(frozen=True)
class Records:
    """The records in the folder of a pass.

    Attributes:
        folder: of the pass.
        plan: fingerprint of the facts that it was opened with.
    """

    folder: Folder
    plan: str

    def path(self, unit: str, input_digest: str) -> str:
        """Where the commit of a unit is, made from this input under this plan."""
        return f"{COMMITS_DIR}/{unit}-{self.stamp(input_digest)}.json"

    def stamp(self, input_digest: str) -> str:
        """What ends the names of records of units made from this input under this plan."""
        assert self.plan, f"{self.folder.uri} was not opened"
        return fingerprint([self.plan, input_digest])[:STAMP_DIGITS]

    def units_by_stamp(self) -> Mapping[str, list[str]]:
        """Names of the units that have a record, by its stamp: those that were made from the same."""
        found: dict[str, list[str]] = defaultdict(list)
        for name in self.folder.names(COMMITS_DIR):
            unit, _, stamp = name.removesuffix(".json").rpartition("-")
            found[stamp].append(unit)
        return found

    def read(self, path: str) -> Commit | None:
        """A record; None where there is none, where a disk has damaged it since, or of a version that is not read."""
        try:
            return Commit.from_json(self.folder.read_bytes(path))
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def read_all(self) -> dict[str, Commit | None]:
        """All records by path, those of other plans and inputs too; None for what cannot be read."""
        return self.read_many([f"{COMMITS_DIR}/{name}" for name in self.folder.names(COMMITS_DIR)])

    def read_many(self, paths: Sequence[str]) -> dict[str, Commit | None]:
        """The records at these paths, see `read`."""
        with ThreadPoolExecutor(READERS) as pool:
            return dict(zip(paths, pool.map(self.read, paths), strict=True))

    def sweep(self, kept: set[str]) -> None:
        """Delete all others than those at these paths."""
        for name in self.folder.names(COMMITS_DIR):
            if f"{COMMITS_DIR}/{name}" not in kept:
                self.folder.delete(f"{COMMITS_DIR}/{name}")
        self.folder.sweep_temporaries(COMMITS_DIR)
