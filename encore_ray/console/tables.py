"""Explains tables: of a pass, and of others, of which it says what to begin with."""

import json
import math
from typing import Any

import pyarrow as pa
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from encore_ray.console.ending import MOST_STEPS, Ending, NextStep, next_step
from encore_ray.console.show import show_selection
from encore_ray.console.steps import MODEL
from encore_ray.console.words import plural
from encore_ray.errors import ConfigError, EncoreError
from encore_ray.folder.pass_table import PassTable
from encore_ray.folder.reading.foreign import parquet_files
from encore_ray.folder.reading.tables import is_pass_folder, table_units
from encore_ray.foreign.look import Looked, look_at
from encore_ray.schema import PAIRS_DIR, QUARANTINE_SCHEMA, SELECTED_COUNT, SUCCESS_FILE, WEIGHTS_FILE
from encore_ray.shell import command, near
from encore_ray.storage import Folder
from encore_ray.visible import MOST_ROWS, short, visible

CELL = 60


def show_table(path: str, console: Console) -> Ending:
    """A table of a pass, Parquet made elsewhere, or files of another kind.

    Raises:
        ConfigError: it is none. DataError: it is broken, or its pass has not finished.
    """
    folder = Folder(path)
    if not is_pass_folder(folder) and not parquet_files(path):
        return show_raw(path, console)
    units = table_units(path)
    sealed = folder.exists(SUCCESS_FILE)
    rows = sum(unit.rows for unit in units)
    console.print(
        f"[bold]{escape(path)}[/]: {rows:,} rows in {len(units):,} {'units, sealed' if sealed else 'parts'}",
        highlight=False,
        soft_wrap=True,
    )
    done = PassTable(folder, folder, name="").sealed() if sealed else None
    counts = (done or {}).get("counts", {})
    if any(key.startswith(SELECTED_COUNT) for key in counts):
        show_selection(counts, console=console)
    row = _show_first_row(units[0].read_all(), console) if units else {}
    content = {"rows": rows, "units": len(units), "sealed": sealed, "counts": counts, "first_row": row}
    said = f"{near(path)} is a table of {plural(rows, 'row')} with {plural(len(row), 'column')}."
    looked = look_at(path) if units and not is_pass_folder(folder) else None
    if looked is not None and (looked.kind == "scores" or looked.has_texts_of_pairs):
        return _begin(path, looked, said, content, console)
    return Ending(said, [look_around(path)], content)


def show_raw(path: str, console: Console) -> Ending:
    """A file or folder as others have it: a table of scores, or a corpus."""
    try:
        looked = look_at(path)
    except EncoreError as error:
        raise ConfigError(f"{path} is nothing that inspect knows: {error}") from None
    console.print(f"[bold]{escape(path)}[/]: a table", highlight=False, soft_wrap=True)
    row = _show_first_row(looked.head, console) if looked.head is not None else {}
    seen = looked.head.num_rows if looked.head is not None else 0
    rows = plural(seen, "row") if looked.is_whole else f"{seen:,} rows or more"
    said = f"{near(path)} is a table of {rows} with {plural(len(row), 'column')}."
    return _begin(path, looked, said, {"rows": seen if looked.is_whole else None, "first_row": row}, console)


def _begin(path: str, looked: Looked, said: str, content: dict[str, Any], console: Console) -> Ending:
    """What one begins with a table that others have made."""
    here = near(path)
    weigh = next_step("weigh its rules", "weigh", "--scores", here, "--output", WEIGHTS_FILE)
    if looked.turning is not None and looked.kind == "scores":
        for sentence in looked.turning.account.sentences()[1:]:
            console.print(f"  {sentence}", highlight=False, markup=False, soft_wrap=True)
        told = f"{said} Its columns are read as scores."
        return Ending(told, [next_step("draft the commands that weigh and compare them", "init", here), weigh], content)
    if looked.kind == "numbers" and looked.problem is not None:
        told, *lines = str(looked.problem).splitlines()
        console.print(f"  {told}", highlight=False, markup=False, soft_wrap=True)
        steps = [NextStep("say which columns hold its scores", line.strip()) for line in lines if line.startswith(" ")]
        return Ending(f"{said} Its columns do not tell which scores they hold.", steps[:MOST_STEPS] or [weigh], content)
    job = next_step("draft a job of it, scored by your reward model", "init", here, "--model", MODEL)
    return Ending(said, [job, look_around(path)], content)


def _show_first_row(rows: pa.Table, console: Console) -> dict[str, Any]:
    first = rows.slice(0, 1)
    kind = "quarantine" if first.schema.equals(QUARANTINE_SCHEMA) else "column"
    table = Table(box=None, padding=(0, 2), header_style="bold")
    for column in (kind, "type", "first row"):
        table.add_column(column, overflow="fold")
    row = first.to_pylist()[0] if first.num_rows else {}
    for field in list(first.schema)[:MOST_ROWS]:
        text = json.dumps(row.get(field.name), ensure_ascii=False, default=str)
        value = visible(text if len(text) <= CELL else f"{text[:CELL]}…")
        table.add_row(escape(short(field.name)), escape(short(str(field.type))), escape(value))
    if len(first.schema) > MOST_ROWS:
        table.add_row(f"and {len(first.schema) - MOST_ROWS:,} more columns")
    console.print(table)
    return {name: _as_json(value) for name, value in row.items()}


def _as_json(value: Any) -> Any:
    """A value of a table as JSON has it: what is no finite number is none, what JSON does not know is text."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [_as_json(each) for each in value]
    if isinstance(value, dict):
        return {str(name): _as_json(each) for name, each in value.items()}
    return value if isinstance(value, str | int | bool | None) else str(value)


def look_around(path: str) -> NextStep:
    """What may be looked at beside a file or table: the run or the folder that it lies in."""
    parent = path.rstrip("/").rpartition("/")[0] or "/"
    if Folder(parent).exists(PAIRS_DIR):
        return next_step("look at the run that it is of", "inspect", near(parent))
    return NextStep("see what lies beside it", command("ls", near(parent)))
