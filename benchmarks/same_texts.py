"""What a run leaves, as texts by which two revisions of the code are compared; what is left out of them, and why."""

import contextlib
import difflib
import fnmatch
import hashlib
import re
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Texts = dict[str, str]
"""By what each is of."""

ATTEMPT = r"-[0-9a-f]{8}(?=\.parquet)"
NUMBER = r"-?[0-9.]+(?:e[+-]?[0-9]+)?"


@dataclass(frozen=True)
class Volatile:
    """Something that differs between two runs of the same code: left out of what is compared.

    Attributes:
        of: what texts it is in, as a shell's pattern of their names.
        pattern: a regular expression; its match is replaced.
        put: what takes its place, so that its presence is still compared.
        why: it differs.
    """

    of: str
    pattern: str
    put: str
    why: str


VOLATILE = (
    Volatile("*", ATTEMPT, "-ATTEMPT", "a random name for each attempt at a unit"),
    Volatile("*/commits", r'"(seconds|finished_at)": ' + NUMBER, r'"\1": TIME', "time of the work"),
    Volatile("*/work.json", r'"started_at": ' + NUMBER, '"started_at": TIME', "time of the start"),
    Volatile("*", r'"(forward_ms|idle_ms)": [0-9]+', r'"\1": TIME', "time with and without a forward pass"),
    Volatile("*mlflow.db*", r"(?<=tags encore_ray.run_key = )[0-9a-f]{32}", "KEY", "a random key for each job"),
    Volatile(
        "*mlflow.db*MLmodel",
        r"^( *(?:model_uuid|utc_time_created|uri|model_code_path)): .*$",
        r"\1: RANDOM",
        "random, the time, a temporary folder, or the work tree",
    ),
    Volatile(
        "said: *",
        r"^  [a-z][a-z_ 0-9%]* +[0-9,]+ of [0-9,]+(?: · .*)?\n",
        "",
        "how far a pass is, now and then, with its rate",
    ),
    Volatile("said: *", r"^  .* · [0-9a-z ]+ so far\n", "", "that something is still going on, now and then"),
    Volatile("said: *", r"(?<=no forward ran for )[0-9.]+%", "TIME", "of time"),
    Volatile(
        "said: *",
        r"^(\w[\w -]*? +(?:finished|unfinished|not started)(?: +[0-9,]+/[0-9,]+)*).*$",
        r"\1 RATE",
        "of status: rates and seconds",
    ),
    Volatile("said: *", r"^(pass +state +units +rows) .*$", r"\1 RATE", "as wide as the rates below it"),
    Volatile("said: demo", r"(?<=rated responses, )[0-9,]+ s$", "TIME", "of the training"),
    Volatile("said: *", r"^\[[0-9-]{10} .*logging\.cc.*\n", "", "Ray's own line about its log, with time and process"),
    Volatile("said: *", r"^Writing model shards.*\n", "", "a bar of transformers, with its rate"),
    Volatile("*report.html", r"(?<=<li>)[0-9]{4}-[0-9]{2}-[0-9]{2}(?=</li>)", "DATE", "the day on which it is made"),
    Volatile("*/commits", r'"worker": "[^"]*"', '"worker": PROCESS', "host and process that did a unit"),
    Volatile(
        "*/commits",
        r'^  "digest": "[0-9a-f]{64}"',
        '  "digest": OF_THE_RECORD',
        "digest of all of it, times and processes too",
    ),
)


def normal(what: str, text: str) -> str:
    """A text without what differs between two runs of the same code."""
    for volatile in VOLATILE:
        if fnmatch.fnmatchcase(what, volatile.of):
            text = re.sub(volatile.pattern, volatile.put, text, flags=re.MULTILINE)
    return text


UNREAD = (
    (".encore-ray-lock", "empty"),
    ("*/attempts/*", "marks of attempts at a unit, which a killed worker leaves"),
    ("*/log.txt", "of times and processes; what commands say is compared"),
    ("*/tracking/*", "the journal for MLflow, of times and random ids; what arrives in MLflow is compared"),
    ("*/facts/*", "the digest of the code, stamps of inputs; what was made from them is compared"),
    ("*/mlartifacts/*", "MLflow's copies of files that are compared where they come from; their names are in its text"),
    ("*/__pycache__/*", "not of the run"),
)
TEXTUAL = {".json", ".jsonl", ".yaml", ".html", ".svg", ".txt", ".md", ""}


def folder_texts(folder: Path) -> Texts:
    """Everything below a folder: tables by their manifests, all other files by themselves.

    A pass folder gives `<pass>/manifest` (units, rows and digests in order), `<pass>/columns` (the schema, and what is
    in each column over all files), `<pass>/commits`; a file outside of a pass is a text, rows of a table, or a digest.
    """
    texts: Texts = {}
    passes = {file.parent for file in folder.rglob("manifest.parquet")}
    for place in sorted(passes):
        name = str(place.relative_to(folder))
        texts[f"{name}/manifest"], texts[f"{name}/columns"] = _table_texts(place)
        commits = sorted((place / "commits").glob("*.json"))
        texts[f"{name}/commits"] = "".join(f"{file.name}\n{file.read_text()}" for file in commits)
    for file in sorted(folder.rglob("*")):
        name = str(file.relative_to(folder))
        if not file.is_file() or any(fnmatch.fnmatchcase(f"/{name}", pattern) for pattern in _unread()):
            continue
        if file.name == "mlflow.db":
            texts |= {f"{name}: {of}": text for of, text in mlflow_texts(file).items()}
        elif not any(file.is_relative_to(place / part) for place in passes for part in _PASS_PARTS):
            texts[re.sub(ATTEMPT, "", name)] = _file_text(file)
    return {what: normal(what, text) for what, text in texts.items()}


_PASS_PARTS = ("manifest.parquet", "commits", "data")


def _unread() -> Iterator[str]:
    return (f"*/{pattern.removeprefix('*/')}" for pattern, _ in UNREAD)


def _table_texts(place: Path) -> tuple[str, str]:
    """Of a pass folder: its manifest with digests of the files' bytes, and its schema with digests of its columns."""
    rows = pq.read_table(place / "manifest.parquet").to_pylist()
    files = {row["file"]: (place / row["file"]).read_bytes() for row in rows}
    lines = [
        f"{row['unit']} {row['rows']} rows {row['file']} {row['digest']} {_digest(files[row['file']])}" for row in rows
    ]
    parts = [pq.read_table(pa.BufferReader(data)) for data in files.values()]
    kinds: dict[str, list[str]] = defaultdict(list)
    for row, part in zip(rows, parts, strict=True):
        kinds[_schema(part.schema)].append(row["unit"])
    columns = [f"{'' if len(kinds) == 1 else ' '.join(units)}\n{schema}" for schema, units in kinds.items()]
    if len(kinds) == 1 and parts:
        whole = pa.concat_tables(parts)
        columns += [f"{name} {_column_digest(whole.column(name))}" for name in whole.column_names]
    return "\n".join(lines), "\n".join(columns)


def _schema(schema: pa.Schema) -> str:
    metadata = {key.decode(): value.decode() for key, value in sorted((schema.metadata or {}).items())}
    return "\n".join([*(f"{field.name}: {field.type}" for field in schema), *map(repr, metadata.items())])


def _column_digest(column: pa.ChunkedArray) -> str:
    return _digest(repr(column.to_pylist()).encode())  # repr keeps every bit of a float


def _file_text(file: Path) -> str:
    if file.suffix == ".parquet":
        table = pq.read_table(pa.BufferReader(file.read_bytes()))
        return "\n".join([_schema(table.schema), *map(repr, table.to_pylist())])
    data = file.read_bytes()
    if file.suffix in TEXTUAL:
        try:
            return data.decode()
        except UnicodeDecodeError:
            pass
    return f"{len(data)} bytes, {_digest(data)}"


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:24]


UNKEPT_METRICS = (
    ("rows_per_second", "a rate"),
    ("system/*", "load of the machine, every ten seconds"),
    ("forward_ms", "time"),
    ("idle_ms", "time"),
    ("idle_share", "of time"),
)
"""Metrics of which only the name is compared, and why."""


def mlflow_texts(database: Path) -> Texts:
    """Each run of an MLflow database by its name: params, tags, metrics, inputs, artifacts; and files of its models.

    Of a metric the last value counts, since units finish in any order; of one whose run does not count rows, all do.
    """
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        select = "SELECT * FROM {}".format
        rows = {name: [dict(row) for row in connection.execute(select(name))] for name in _MLFLOW_TABLES}
    names = _mlflow_names(rows)
    texts = {name: "\n".join(_mlflow_lines(rows, run_id, database.parent)) for run_id, name in names.items()}
    for model in rows["logged_models"]:
        files = Path(database.parent, "mlartifacts", "models", model["model_id"], "artifacts").rglob("*")
        texts |= {f"model {model['name']} {file.name}": _file_text(file) for file in sorted(files) if file.is_file()}
    ids = {**names, **{model["model_id"]: model["name"] for model in rows["logged_models"]}}
    for random, name in ids.items():
        texts = {what: text.replace(random, f"ID OF {name}") for what, text in texts.items()}
    return texts


_MLFLOW_TABLES = (
    *("runs", "params", "tags", "metrics", "datasets", "inputs", "input_tags", "logged_models", "logged_model_tags"),
)


def _mlflow_lines(rows: Mapping[str, list[dict[str, Any]]], run_id: str, folder: Path) -> Iterator[str]:
    def own(table: str, key: str = "run_uuid", value: str = run_id) -> list[dict[str, Any]]:
        return [row for row in rows[table] if row[key] == value]

    yield f"status {own('runs')[0]['status']}"
    for kind in ("params", "tags"):
        yield from (f"{kind} {key} = {value}" for key, value in sorted((row["key"], row["value"]) for row in own(kind)))
    points = own("metrics")
    units_finish = any(row["key"] == "rows_done" for row in points)
    for key in sorted({row["key"] for row in points}):
        if any(fnmatch.fnmatchcase(key, pattern) for pattern, _ in UNKEPT_METRICS):
            yield f"metric {key}"
            continue
        series = sorted((row["step"], row["timestamp"], _metric(row)) for row in points if row["key"] == key)
        yield f"metric {key} = " + ", ".join(
            f"{value} at step {step}" for step, _, value in (series[-1:] if units_finish else series)
        )
    for link in own("inputs", "destination_id"):
        (dataset,) = own("datasets", "dataset_uuid", link["source_id"])
        told = {key: value for key, value in dataset.items() if key not in ("dataset_uuid", "experiment_id")}
        tags = {row["name"]: row["value"] for row in own("input_tags", "input_uuid", link["input_uuid"])}
        yield f"input {told} {tags}"
    for model in own("logged_models", "source_run_id"):
        tags = {row["tag_key"]: row["tag_value"] for row in own("logged_model_tags", "model_id", model["model_id"])}
        yield f"model {model['name']} {model['model_type']} {tags}"
    for file in sorted(folder.glob(f"mlartifacts/**/{run_id}/artifacts/**/*")):
        if file.is_file():
            yield f"artifact {str(file).rpartition('/artifacts/')[2]}"


def _metric(row: Mapping[str, Any]) -> str:
    return "nan" if row["is_nan"] else repr(row["value"])


def _mlflow_names(rows: Mapping[str, list[dict[str, Any]]]) -> dict[str, str]:
    """Run ids to names: a nested run's after its parent's, runs of one name numbered by when they began."""
    parents = {row["run_uuid"]: row["value"] for row in rows["tags"] if row["key"] == "mlflow.parentRunId"}
    own = {row["run_uuid"]: row["name"] for row in rows["runs"]}
    names: dict[str, str] = {}
    seen: dict[str, int] = defaultdict(int)
    for row in sorted(rows["runs"], key=lambda row: (row["run_uuid"] in parents, row["start_time"])):
        run_id = row["run_uuid"]
        name = f"{names[parents[run_id]]}/{own[run_id]}" if run_id in parents else own[run_id]
        seen[name] += 1
        names[run_id] = name if seen[name] == 1 else f"{name} ({seen[name]})"
    return names


@dataclass(frozen=True)
class Thing:
    """One compared thing: texts of it under both revisions; None where a revision does not have it."""

    scenario: str
    what: str
    before: str | None
    after: str | None

    @property
    def name(self) -> str:
        return f"{self.scenario}/{self.what}"

    @property
    def num_lines(self) -> int:
        """Of the first revision's text; one that is equal for want of any would prove nothing."""
        return len((self.before or "").splitlines())

    @property
    def is_equal(self) -> bool:
        return self.before == self.after

    def is_allowed(self, patterns: Iterable[str]) -> bool:
        """Whether it may differ: one of the patterns is its name, as a shell matches."""
        return any(fnmatch.fnmatchcase(self.name, pattern) for pattern in patterns)

    def difference(self, *, num_lines: int, width: int = 240) -> str:
        """The first lines of a unified diff, each cut to its width; the lines of a page are its elements."""
        before, after = (_lines(text) for text in (self.before, self.after))
        lines = list(difflib.unified_diff(before, after, "before", "after", lineterm="", n=1))
        cut = [line if len(line) <= width else f"{line[:width]}…" for line in lines[:num_lines]]
        return "\n".join([*cut, *([f"… {len(lines) - num_lines} more lines"] if len(lines) > num_lines else [])])


def _lines(text: str | None) -> list[str]:
    if text is None:
        return []
    return re.sub(r">(?=<)", ">\n", text).splitlines() if "<" in text[:200] else text.splitlines()


def compare_texts(scenario: str, before: Texts, after: Texts) -> list[Thing]:
    """All things of a scenario, in the order of the first revision, then what only the second has."""
    return [Thing(scenario, what, before.get(what), after.get(what)) for what in dict.fromkeys([*before, *after])]


def read_patterns(file: Path) -> list[str]:
    """Names of things that may differ, one a line; what follows # says why."""
    lines: Sequence[str] = file.read_text(encoding="utf-8").splitlines()
    return [name for line in lines if (name := line.partition("#")[0].strip())]
