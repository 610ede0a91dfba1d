"""Units and commits: how a pass finishes every piece of work exactly once, whatever is killed when.

A worker writes a unit's files under names of its own attempt, then one commit record under a name that tells the
unit, the facts of the pass and the unit's input. The first record wins and is never changed; one that a forgotten
worker makes out of facts of before has another name, and is nobody's. Files that no record names do not exist for any
reader and are deleted before the pass is sealed. The same command again runs the units that have no record yet.
"""

import re
import time
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import pyarrow as pa

from encore_ray.errors import ConfigError, DataError, ResumeRefused
from encore_ray.folder import spec
from encore_ray.folder.driver.entries import LEASE_DIR
from encore_ray.folder.driver.local import LOCK_FILE
from encore_ray.folder.protocol import versions
from encore_ray.folder.protocol.commits import Commit
from encore_ray.folder.protocol.in_flight import InFlight
from encore_ray.folder.protocol.records import Records
from encore_ray.folder.protocol.seal import (
    lost_quarantine,
    manifest_table,
    read_manifest,
    read_seal,
    seal_content,
    sources,
)
from encore_ray.folder.provenance import input_refusal, is_same
from encore_ray.folder.spec import Pass, outdated_by
from encore_ray.schema import (
    ATTEMPTS_DIR,
    COMMITS_DIR,
    DATA_DIR,
    MANIFEST_FILE,
    NONCE_FILE,
    PLAN_FILE,
    QUARANTINE_DIR,
    SCHEMA_VERSION,
    SUCCESS_FILE,
    WORK_FILE,
)
from encore_ray.storage import Folder, fingerprint, from_json

ATTEMPT_FILE = re.compile(r".+-[0-9a-f]{8}\.parquet")  # as Attempt names its files; no other file is ever deleted
# What may lie in the folder of a pass that has not begun.
STRAY = frozenset({NONCE_FILE, LOCK_FILE, LEASE_DIR, "lost+found"})


@dataclass(frozen=True)
class PassTable:
    """A pass's folder in a run: its plan, data, commits, manifest and seal.

    Attributes:
        folder: where its tables are.
        run: the run folder.
        name: of the pass.
        outdated: files of the run that are another's once this pass changes; they are deleted then.
        plan: fingerprint of the facts that it was opened with; "" before.
    """

    folder: Folder
    run: Folder
    name: str
    outdated: tuple[str, ...] = ()
    plan: str = ""

    @property
    def quarantine_folder(self) -> Folder:
        return self.run.child(QUARANTINE_DIR)

    @property
    def in_flight(self) -> InFlight:
        return InFlight(self.folder.child(ATTEMPTS_DIR))

    def open(
        self, facts: Mapping[str, Any], *, overwrite: bool = False, derived: Container[str] = frozenset()
    ) -> "PassTable":
        """Start the pass or go on with it; returns the table to work on, which knows its plan.

        Args:
            facts: everything that decides the results, as JSON values.
            overwrite: start over where the facts have changed, instead of refusing.
            derived: facts that follow from an earlier pass. Where only these have changed, as weights do when inputs
                are added, the pass starts over without being asked.

        Raises:
            ResumeRefused: the folder holds results made from other facts, or of a version that is not read; names both
                and what differs.
            ConfigError: it holds those of another pass, or foreign files.
        """
        opened = replace(self, plan=fingerprint(facts))
        plan = {"schema_version": SCHEMA_VERSION, "pass": self.name, "fingerprint": opened.plan, "facts": facts}
        if self.folder.exists(PLAN_FILE):
            if self.is_of(facts, overwrite=overwrite, derived=derived):
                return opened
            self.start_over()
        else:
            self.refuse_foreign_files()
        self.folder.write_json(PLAN_FILE, plan)
        return opened

    def is_of(
        self, facts: Mapping[str, Any], *, overwrite: bool = False, derived: Container[str] = frozenset()
    ) -> bool:
        """Whether the folder holds results made from these facts; raises ResumeRefused as `open` would."""
        standing, plan = self.standing_facts(), self._standing_plan()
        if standing is None and self.folder.exists(PLAN_FILE):
            standing = {}  # a damaged plan is of nothing that is known
        self._refuse_another_pass()
        if plan and not versions.is_readable(plan) and not overwrite:
            raise ResumeRefused(versions.refusal(plan, where=self.folder.uri))
        return is_same(self.folder.uri, standing, facts, overwrite=overwrite, derived=derived)

    def refuse_other(self, known: Mapping[str, Any], *, overwrite: bool = False) -> None:
        """Raise ResumeRefused, as `open` would, by some of the facts: those that are known before work is begun."""
        standing = self.standing_facts()
        if standing is not None:
            self.is_of({**standing, **known}, overwrite=overwrite)

    def standing_facts(self) -> dict[str, Any] | None:
        """What the standing results were made from; None where that is not known.

        There are none, or the plan is damaged, or of a version that is not read.
        """
        plan = self._standing_plan()
        try:
            return dict(plan["facts"]) if versions.is_readable(plan) else None
        except (KeyError, TypeError, ValueError):
            return None

    def check_version(self) -> None:
        """Raise DataError where the standing results are of a version that is not read."""
        plan = self._standing_plan()
        if plan:
            versions.check_version(plan, where=self.folder.uri)

    def _standing_plan(self) -> dict[str, Any]:
        """The content of plan.json; {} where there is none, or it is damaged."""
        try:
            return dict(from_json(self.folder.read_bytes(PLAN_FILE)))
        except (FileNotFoundError, ValueError, TypeError):
            return {}

    def _refuse_another_pass(self) -> None:
        """What another pass made here may have taken days, and may be what this one reads: never started over."""
        found = self._standing_plan().get("pass")
        if found != self.name and any(found == one.name for one in spec.PASSES):
            raise ConfigError(
                f"{self.folder.uri} holds what the pass {found} made, which {self.name} does not replace, not even "
                "with --overwrite. Use another folder."
            )

    def refuse_foreign_files(self) -> None:
        """A pass deletes what no commit names: it only works in a folder of its own."""
        found = [name for name in self.folder.names() if name not in STRAY]
        if found:
            raise ConfigError(
                f"{self.folder.uri} is not empty, and was not made by this pass: it holds {', '.join(found[:5])}"
                f"{' …' if len(found) > 5 else ''}. Use another folder, or empty this one."
            )

    def announce(self, *, num_units: int, rows: int) -> None:
        """Record how much there is to do, for `status` in another terminal."""
        self.folder.write_json(WORK_FILE, {"units": num_units, "rows": rows, "started_at": time.time()})

    def start_over(self) -> None:
        """Delete all results of this pass: seal, commits, data. The plan stays until the next one replaces it."""
        self.outdate()
        self.folder.delete(MANIFEST_FILE)
        self.folder.delete_tree(COMMITS_DIR)
        self._sweep(self.folder, DATA_DIR, set())
        self._sweep(self.quarantine_folder, self.name, set())
        self.folder.delete(WORK_FILE)

    @property
    def records(self) -> Records:
        """Its commit records."""
        return Records(self.folder, self.plan)

    def record(self, unit: str, input_digest: str) -> str:
        """Where the commit of a unit is, made from this input under the facts of this table."""
        return self.records.path(unit, input_digest)

    def commits(self) -> dict[str, Commit]:
        """Commit records of the standing plan, by unit."""
        plan = self.plan or fingerprint(self.standing_facts())
        return {commit.unit: commit for commit in self.records.read_all().values() if commit and commit.plan == plan}

    def commit(self, unit: str, input_digest: str) -> Commit | None:
        """A unit's commit; None when there is none, or when a disk has damaged it since: the unit is not done."""
        return self.records.read(self.record(unit, input_digest))

    def resume(
        self,
        digests: Mapping[str, str],
        *,
        overwrite: bool = False,
        inputs: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    ) -> dict[str, Commit]:
        """The commits that stand, for units by name and digest of what each is made from.

        Added units are simply not committed yet; the seal is broken until they are. A unit whose input has changed or
        is no longer part of the job would mix results: the pass starts over if `overwrite`, else ResumeRefused names
        the first of them.

        Args:
            inputs: what is known of what units are made from, for the message; see `input_refusal`.
        """
        whole = self._whole_commits()
        commits = {commit.unit: commit for commit in whole if digests.get(commit.unit) == commit.input_digest}
        other = [commit for commit in whole if commit.unit not in commits]
        if other and overwrite:
            self.start_over()
            return {}
        if other:
            raise ResumeRefused(input_refusal(self.folder.uri, other, digests, inputs))
        if digests.keys() - commits.keys():
            self.outdate()
        return commits

    def _whole_commits(self) -> list[Commit]:
        """Commits of this plan whose files are there, those in quarantine too; any other record is deleted."""
        records = self.records.read_all()
        present = {f"{DATA_DIR}/{name}" for name in self.folder.names(DATA_DIR)}
        quarantined = [commit.quarantine.file for commit in records.values() if commit and commit.quarantine]
        lost = set(lost_quarantine(self.quarantine_folder, quarantined))
        whole = []
        for path, commit in records.items():
            if (
                commit
                and commit.plan == self.plan
                and present.issuperset(file.file for file in commit.data)
                and not (commit.quarantine and commit.quarantine.file in lost)
            ):
                whole.append(commit)
            else:
                self.outdate()
                self.folder.delete(path)
        return whole

    def seal(self, units: Sequence[str], commits: Mapping[str, Commit], counts: Mapping[str, int]) -> str:
        """Delete what no commit names, write the manifest and _SUCCESS; returns the manifest's digest.

        Args:
            units: names of this pass's units in order; each must have a commit.
            commits: their records.
            counts: totals to record in _SUCCESS.
        """
        ordered = [commits[unit] for unit in units]
        self._sweep(self.folder, DATA_DIR, {file.file for commit in ordered for file in commit.data})
        self._sweep(self.quarantine_folder, self.name, {one.quarantine.file for one in ordered if one.quarantine})
        self.records.sweep({self.record(commit.unit, commit.input_digest) for commit in ordered})
        self.in_flight.clear()
        plan = self.folder.read_json(PLAN_FILE)["fingerprint"]
        done = seal_content(plan, ordered, counts, made_from=sources(self.run, self.name))
        manifest, digest = manifest_table(ordered), str(done["manifest_digest"])
        standing = self.sealed()
        if standing == done and self._manifest_is(manifest):
            return digest
        if (
            standing and standing["manifest_digest"] != digest
        ):  # its units in another order, as when inputs change places
            self.outdate()
        self.folder.delete(SUCCESS_FILE)
        self.folder.write_table(MANIFEST_FILE, manifest)
        self.folder.write_json(SUCCESS_FILE, done)
        return digest

    def _manifest_is(self, manifest: pa.Table) -> bool:
        try:
            return self.folder.read_table(MANIFEST_FILE).equals(manifest)
        except DataError:  # lost or damaged: it is written again
            return False

    def outdate(self) -> None:
        """Break the seal, since the pass is about to change; what was made from it goes first."""
        for name in self.outdated:
            self.run.delete(name)
        self.folder.delete(SUCCESS_FILE)

    def is_whole(self) -> bool:
        """Whether the pass is finished, and what it sealed is there."""
        try:
            read_manifest(self.folder)
        except DataError:
            return False
        return True

    def sealed(self) -> dict[str, Any] | None:
        """The content of _SUCCESS, see `read_seal`."""
        return read_seal(self.folder)

    def sealed_counts(self) -> dict[str, int]:
        """The totals of a finished pass."""
        done = self.sealed()
        assert done is not None, f"{self.name} is finished"
        return dict(done["counts"])

    @staticmethod
    def _sweep(folder: Folder, subfolder: str, named: set[str]) -> None:
        """Delete what no commit names; listed first, so that what another driver writes from then on is not in it.

        One that was replaced before it listed is kept from deleting by the fence.
        """
        folder.sweep_temporaries(subfolder)
        for name in folder.names(subfolder):
            if f"{subfolder}/{name}" not in named and ATTEMPT_FILE.fullmatch(name):
                folder.delete(f"{subfolder}/{name}")


def pass_tables(run: Folder) -> dict[str, PassTable]:
    """The passes of a run that write tables, by name."""
    return {one.name: pass_table(run, one) for one in spec.PASSES if one.table}


def pass_table(run: Folder, one: Pass) -> PassTable:
    """The table of one pass of a run."""
    assert one.table is not None, f"{one.name} writes no table"
    return PassTable(run.child(one.table), run, one.name, outdated=outdated_by(one.name))
