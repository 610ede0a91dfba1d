"""Which units of pairs/ stand: a file is known by what it holds, wherever it lies now and whatever it is called.

A unit is named by the place where its file lay when it was first read, and by where its part begins; its record's name
also tells what it was made from. So a file that has moved is found by its records, and keeps the name of its units. One
whose content stands nowhere is new: it is named by its place, or, where a file that has moved from there keeps that
name, by place and content. Files of the same content are told apart by their order, as the ids of their pairs are, and
by the subset that is given to them.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc

from encore_ray.corpora.files.sources import SourceFile
from encore_ray.corpora.plan import Split
from encore_ray.engine.work.unit_work import Task
from encore_ray.folder.pass_table import PassTable
from encore_ray.folder.protocol.commits import INPUT, Commit
from encore_ray.schema import SUBSET
from encore_ray.storage import fingerprint

FILE, GIVEN_SUBSET = "file", "subset"  # facts of a unit that its digest leaves out
_NAME_DIGITS = 12


@dataclass(frozen=True)
class _Part:
    """One split, with what decides its pairs."""

    split: Split
    facts: Mapping[str, Any]
    digest: str

    @property
    def place(self) -> str:
        """What ends the name of its unit."""
        return f"{self.split.part.start:015d}"


def unit_tasks(splits: Iterable[Split], table: PassTable, *, limit_rows: int | None) -> list[Task]:
    """The units of pairs/, one a split, named so that those that stand are found.

    Args:
        splits: those of a file one after another.
        table: pairs/, after `open`.
        limit_rows: of a trial, the rows that are taken of each.
    """
    files: dict[str, list[_Part]] = defaultdict(list)
    for split in splits:
        facts = _facts(split)
        files[split.part.file.uri].append(_Part(split, facts, fingerprint(facts)))
    names = _names(list(files.values()), table)
    return [_task(part, names[uri], limit_rows) for uri, parts in files.items() for part in parts]


def _names(files: Sequence[Sequence[_Part]], table: PassTable) -> dict[str, str]:
    """What the units of each file begin with, by its uri: where they stood, then by content, then new names."""
    standing = table.records.units_by_stamp()
    found = {_uri(parts): _standing_names(parts, standing, table) for parts in files}
    names = {_uri(parts): own for parts in files if (own := _own_name(parts)) in found[_uri(parts)]}
    taken = set(names.values())
    moved = [parts for parts in files if _uri(parts) not in names]
    records = [_record(part, name, table) for parts in moved for name in found[_uri(parts)] for part in parts]
    commits = table.records.read_many(records)
    for parts in moved:
        known = (name for name in found[_uri(parts)] if name not in taken)
        name = next((name for name in known if _makes_the_same(parts, name, commits, table)), None)
        if name is not None:
            names[_uri(parts)] = name
            taken.add(name)
    for parts in (each for each in moved if _uri(each) not in names):
        name, reading = _own_name(parts), parts[0].split.reading
        names[_uri(parts)] = _own_name(parts, reading.digest, str(reading.ordinal)) if name in taken else name
        taken.add(names[_uri(parts)])
    return names


def _record(part: _Part, name: str, table: PassTable) -> str:
    return table.record(f"{name}-{part.place}", part.digest)


def _standing_names(parts: Sequence[_Part], standing: Mapping[str, list[str]], table: PassTable) -> list[str]:
    """What units of this content begin with, of those that stand."""
    units = [unit for part in parts for unit in standing.get(table.records.stamp(part.digest), ()) if _ends(unit, part)]
    return list(dict.fromkeys(unit.rpartition("-")[0] for unit in units))


def _ends(unit: str, part: _Part) -> bool:
    return unit.rpartition("-")[2] == part.place


def _makes_the_same(parts: Sequence[_Part], name: str, commits: Mapping[str, Commit | None], table: PassTable) -> bool:
    """Whether the pairs of units that stand would be these: of the same subset, which their digest leaves out."""
    own = [commits[_record(part, name, table)] for part in parts]
    return all(_is_of_subset(commit, parts[0].split, table) for commit in own if commit is not None)


def _is_of_subset(commit: Commit, split: Split, table: PassTable) -> bool:
    if INPUT in commit.notes:
        return commit.notes[INPUT].get(GIVEN_SUBSET) == split.part.file.subset
    # Older commits do not tell what they were made from: what is in their tables does.
    columns = [table.folder.read_table(file.file, columns=[SUBSET]).column(0) for file in commit.data]
    found = {value for column in columns for value in pc.call_function("unique", [column]).to_pylist()}
    if split.reading.subset_column is not None:
        return len(found) != 1  # one value may have been given to all, or have stood in their column
    return found <= {split.part.file.subset}


def _facts(split: Split) -> dict[str, Any]:
    """What decides the pairs of a split, beside the plan and the subset: where its file lies does not."""
    reading = split.reading
    facts: dict[str, Any] = {
        "content": reading.digest,
        "ordinal": reading.ordinal,
        "layout": reading.layout.name,
        "ids": reading.id_column,
        "range": [split.part.start, split.part.end, split.first_line],
    }
    if reading.columns:
        facts["columns"] = reading.columns.to_facts()
    if reading.beside.read or reading.beside.refused:
        facts["beside"] = [reading.beside.system, reading.beside.history, *reading.beside.refused]
    return facts


def _task(part: _Part, name: str, limit_rows: int | None) -> Task:
    split, file = part.split, part.split.part.file
    rows = split.num_rows if limit_rows is None else min(split.num_rows, limit_rows)
    facts = {**part.facts, FILE: file.uri, GIVEN_SUBSET: file.subset}
    return Task(f"{name}-{part.place}", part.digest, rows, split, file.uri, facts=facts)


def _uri(parts: Sequence[_Part]) -> str:
    return _file(parts).uri


def _file(parts: Sequence[_Part]) -> SourceFile:
    return parts[0].split.part.file


def _own_name(parts: Sequence[_Part], *further: str) -> str:
    """The name of a file that is read for the first time."""
    file = _file(parts)
    text = "\0".join([f"{file.uri}\0{file.subset}", *further])
    return hashlib.sha256(text.encode()).hexdigest()[:_NAME_DIGITS]
