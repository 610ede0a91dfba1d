"""How a corpus will be read: its files scanned range by range, then planned as the options of the job say."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from encore_ray.config import PrepareOptions
from encore_ray.corpora.converting.convert import ConvertSettings
from encore_ray.corpora.files.bounded import ROW_BYTES
from encore_ray.corpora.files.sources import SourceFile
from encore_ray.corpora.formats import AUTO
from encore_ray.corpora.plan import CorpusPlan, plan
from encore_ray.corpora.rows import FileRange
from encore_ray.corpora.scan import RangeScan, ranges, scan
from encore_ray.engine.base import Engine
from encore_ray.errors import DataError


def named_files(files: Sequence[SourceFile], options: PrepareOptions) -> list[SourceFile]:
    """The files with the layout that the options name, where an input names none."""
    return [file if file.format != AUTO else replace(file, format=options.format) for file in files]


def plan_corpus(scans: Sequence[RangeScan], options: PrepareOptions) -> CorpusPlan:
    """How the scanned files are read, as the options say; errors as of `plan`."""
    return plan(
        scans,
        ids=options.ids,
        columns=options.columns,
        ignored=options.ignore or (),
        leaves_out=options.unreadable == "leave_out",
    )


def convert_settings(options: PrepareOptions) -> ConvertSettings:
    """How rows become units, as the options say."""
    return ConvertSettings(
        unit_pairs=options.unit_pairs, max_field_bytes=options.max_field_bytes, max_row_bytes=options.max_row_bytes
    )


def scan_all(
    files: Sequence[SourceFile], engine: Engine, *, leaves_out: bool, row_bytes: int
) -> tuple[list[RangeScan], list[str]]:
    """Scans of all ranges, the files in their given order; and what is wrong with files that are left out."""
    parts: list[FileRange] = []
    problems: dict[str, str] = {}
    for file in files:
        try:
            parts += ranges(file)
        except DataError as error:
            if not leaves_out:
                raise
            problems[file.uri] = str(error)
    scans: list[RangeScan] = []
    for found in engine.map_units(partial(_Scan, leaves_out, row_bytes), parts):
        if isinstance(found, _Unread):
            problems[found.uri] = found.problem
        else:
            scans.append(found)
    order = {file.uri: number for number, file in enumerate(files)}
    whole = [scan for scan in scans if scan.part.file.uri not in problems]
    return sorted(whole, key=lambda scan: (order[scan.part.file.uri], scan.part.start)), list(problems.values())


def option_facts(options: PrepareOptions) -> dict[str, Any]:
    """What decides the pairs whatever the files hold."""
    return {"ids": options.ids, "unit_pairs": options.unit_pairs, "max_field_bytes": options.max_field_bytes}


def prepare_facts(corpus: CorpusPlan, options: PrepareOptions, settings: ConvertSettings) -> dict[str, Any]:
    """What decides the pairs of all files alike."""
    more: dict[str, Any] = {} if settings.max_row_bytes == ROW_BYTES else {"max_row_bytes": settings.max_row_bytes}
    if corpus.has_prompt_ids:
        more["prompt_ids"] = "given"
    if corpus.has_trees:
        more["trees"] = "one prompt each"
    return {
        **more,
        **option_facts(options),
        "limit_rows": settings.limit_rows,
        "columns": [f"{field.name}: {field.type}" for field in corpus.table.schema],
    }


@dataclass(frozen=True)
class _Unread:
    """A file that cannot be read, and why."""

    uri: str
    problem: str


class _Scan:
    """Scans one range: runs in a worker. On request it tells what is wrong with a file instead of ending the pass."""

    def __init__(self, leaves_out: bool, row_bytes: int):
        self._leaves_out, self._row_bytes = leaves_out, row_bytes

    def __call__(self, part: FileRange) -> RangeScan | _Unread:
        try:
            return scan(part, row_bytes=self._row_bytes)
        except DataError as error:
            if not self._leaves_out:
                raise
            return _Unread(part.file.uri, str(error))
