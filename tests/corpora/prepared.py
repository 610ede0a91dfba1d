"""A corpus through every step, as a pass would take it, with the rows accounted for."""

import gzip
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from encore_ray.corpora.converting.convert import ConvertSettings, SplitConverter
from encore_ray.corpora.files.bounded import ROW_BYTES
from encore_ray.corpora.files.sources import InputSpec, list_files
from encore_ray.corpora.notes import NOTES
from encore_ray.corpora.plan import CorpusPlan, plan
from encore_ray.corpora.scan import RANGE_BYTES, ranges, scan


@dataclass(frozen=True)
class Prepared:
    plan: CorpusPlan
    units: list[pa.Table]
    quarantine: list[dict[str, Any]]
    rows_in: int
    rows_kept: int
    singles: int
    identical: int
    notes: dict[str, int]

    @property
    def table(self) -> pa.Table:
        return pa.concat_tables(self.units) if self.units else self.plan.table.schema.empty_table()

    @property
    def pairs(self) -> list[dict[str, Any]]:
        return self.table.to_pylist()

    @property
    def reasons(self) -> dict[str, int]:
        return dict(Counter(entry["reason"] for entry in self.quarantine))


def prepare(
    *inputs: Path | str | InputSpec,
    range_bytes: int = RANGE_BYTES,
    settings: ConvertSettings | None = None,
    row_bytes: int = ROW_BYTES,
    **options: Any,
) -> Prepared:
    specs = [spec if isinstance(spec, InputSpec) else InputSpec(str(spec)) for spec in inputs]
    parts = [part for file in list_files(specs) for part in ranges(file, range_bytes=range_bytes)]
    scans = [scan(part, row_bytes=row_bytes) for part in parts]
    made = plan(scans, **options)
    units: list[pa.Table] = []
    outcomes = []
    for split in made.splits:
        converter = SplitConverter(split, table=made.table, settings=settings)
        units += converter.units()
        outcomes.append(converter.outcome)
    for unit in units:
        assert unit.schema.equals(made.table.schema, check_metadata=True)
        unit.validate(full=True)
    quarantine = [entry for outcome in outcomes for entry in outcome.quarantine.to_pylist()]
    rows_in = sum(outcome.rows_in for outcome in outcomes)
    rows_kept = sum(outcome.rows_kept for outcome in outcomes)
    assert rows_in == rows_kept + sum(outcome.rows_quarantined for outcome in outcomes)
    assert sum(outcome.rows_quarantined for outcome in outcomes) == len(quarantine)
    assert sum(outcome.pairs_out for outcome in outcomes) == sum(unit.num_rows for unit in units)
    assert all(set(outcome.notes) <= NOTES.keys() for outcome in outcomes)
    return Prepared(
        made,
        units,
        quarantine,
        rows_in,
        rows_kept,
        sum(outcome.singles for outcome in outcomes),
        sum(outcome.identical for outcome in outcomes),
        dict(sum((Counter(outcome.notes) for outcome in outcomes), Counter())),
    )


def write_jsonl(path: Path, rows: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def write_as(folder: Path, kind: str, rows: list[dict[str, Any]]) -> Path:
    """The rows as one file of a kind: jsonl, ndjson, jsonl.gz, json (array), json.gz, parquet."""
    path = folder / f"corpus.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
        return path
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    text = "[" + ",\n ".join(lines) + "]\n" if ".json" in path.name and "jsonl" not in kind else "\n".join(lines) + "\n"
    if kind == "ndjson":
        text = "\n".join(lines) + "\n"
    data = text.encode()
    path.write_bytes(gzip.compress(data) if kind.endswith(".gz") else data)
    return path


def user(content: str) -> dict[str, str]:
    return {"role": "user", "content": content}


def assistant(content: str) -> dict[str, str]:
    return {"role": "assistant", "content": content}


def system(content: str) -> dict[str, str]:
    return {"role": "system", "content": content}
