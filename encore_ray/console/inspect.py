"""Explains an artifact to a person: what it is, how much of it there is, and what stands in it."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from encore_ray.artifacts import (
    Artifact,
    Comparison,
    FitReport,
    LabelErrors,
    Metrics,
    RefineReport,
    RuleRefineReport,
    TrainReport,
    WeightsFile,
)
from encore_ray.console.show import (
    show_comparison,
    show_driver,
    show_heads,
    show_label_errors,
    show_metrics,
    show_refined_rules,
    show_refinement,
    show_selection,
    show_status,
    show_training,
    show_weights,
)
from encore_ray.errors import ConfigError, DataError
from encore_ray.files.plain_yaml import NotYaml, parse_yaml
from encore_ray.folder import spec
from encore_ray.folder.driver.lock import driver_of
from encore_ray.folder.pass_table import PassTable, pass_tables
from encore_ray.folder.reading.parquet import open_parquet
from encore_ray.folder.reading.tables import TableUnit, table_units
from encore_ray.folder.status import run_status
from encore_ray.rules import RuleSet
from encore_ray.schema import (
    DETAIL,
    LINE,
    PAIRS_DIR,
    QUARANTINE_DIR,
    QUARANTINE_SCHEMA,
    REASON,
    SELECTED_COUNT,
    SOURCE,
    SUCCESS_FILE,
)
from encore_ray.storage import Folder, require_paths
from encore_ray.visible import MOST_ROWS, more, short, visible


@dataclass(frozen=True)
class _Shown:
    """A contract file, known by keys that no row below it has, and how it is shown."""

    kind: type[Artifact]
    keys: frozenset[str]
    show: Callable[..., None]  # of the file, and a console

    def __call__(self, content: Any, *, where: str, console: Console) -> None:
        self.show(self.kind.of(content, where=where), console=console)


SHOWN: tuple[_Shown, ...] = (
    _Shown(Comparison, frozenset({"schemes"}), show_comparison),
    _Shown(WeightsFile, frozenset({"counts_sha256"}), show_weights),
    _Shown(Metrics, frozenset({"overall"}), show_metrics),
    _Shown(RefineReport, frozenset({"calibration", "controls"}), show_refinement),
    _Shown(RuleRefineReport, frozenset({"verdict", "rules"}), show_refined_rules),
    _Shown(LabelErrors, frozenset({"below", "pairs"}), show_label_errors),
    _Shown(FitReport, frozenset({"mean_auc", "rules"}), show_heads),
    _Shown(TrainReport, frozenset({"objective", "best"}), show_training),
)

CELL = 60
_MOST_OF_A_DETAIL = 1000  # characters
REPORT_NAME = "report.json"  # of energies that were fitted, in their folder


def inspect_path(path: str, *, console: Console) -> None:
    """Print what the artifact at a path is and holds.

    Raises:
        ConfigError: nothing is there, or nothing that we know. DataError: it is broken, or its pass has not finished.
    """
    require_paths([path])
    parent, _, name = path.rpartition("/")
    folder = Folder(path)
    if name.endswith(".json"):
        _show_json(path, Folder(parent).read_json(name), console)
    elif name.endswith((".yaml", ".yml")):
        _show_yaml(path, Folder(parent).read_file(name), console)
    elif folder.exists(PAIRS_DIR):
        _show_run(folder, console)
    elif folder.exists(REPORT_NAME):
        _show_json(folder.path(REPORT_NAME), folder.read_json(REPORT_NAME), console)
    elif folder.exists("config.json") or folder.exists("encore.json"):
        _show_model(path, console)
    elif name == QUARANTINE_DIR or any(folder.exists(one.name) for one in spec.PASSES):
        _show_quarantine(folder, console)
    else:
        _show_table(path, console)


def _show_json(path: str, value: Any, console: Console) -> None:
    """A contract file is known by its keys, whatever it is called."""
    if not isinstance(value, dict):
        raise ConfigError(f"{path} is JSON, but no artifact of ours.")
    shown = next((each for each in SHOWN if each.keys <= value.keys()), None)
    if shown:
        shown(value, where=path, console=console)
    else:
        console.print_json(json.dumps(value))


def _show_yaml(path: str, data: bytes, console: Console) -> None:
    try:
        value = parse_yaml(data)
    except NotYaml as error:
        raise DataError(f"{path} {error}") from None
    if isinstance(value, dict) and "inputs" in value:
        console.print(f"[bold]{escape(path)}[/]: a job's configuration", soft_wrap=True)
        console.print(data.decode(), markup=False, soft_wrap=True)
    else:
        _show_rules(RuleSet.from_yaml(data, where=path), console)


def _show_run(run: Folder, console: Console) -> None:
    console.print(f"[bold]{escape(run.uri)}[/]: a run", soft_wrap=True)
    show_status(run_status(run), console=console)
    show_driver(driver_of(run), console=console)
    told: list[str] = []
    for file in (name for one in spec.PASSES for name in one.files if run.exists(name)):
        for shown in (each for each in SHOWN if file == each.kind.FILE):
            found = shown.kind.read(run)
            if isinstance(found, Comparison):
                show_comparison(found, console=console, told=told)
            else:
                shown.show(found, console=console)
            if isinstance(found, WeightsFile):
                told = found.warnings
    if run.exists(QUARANTINE_DIR):
        _show_quarantine(run.child(QUARANTINE_DIR), console)


def _show_rules(rules: RuleSet, console: Console) -> None:
    console.print(f"{len(rules)} rules", highlight=False)
    for rule in list(rules)[:MOST_ROWS]:
        levels = rule.scale.levels
        scale = f"{len(levels)} levels, " if levels else ""
        scale += f"{rule.scale.lo:g} to {rule.scale.hi:g}"
        facts = f"higher is {rule.higher_is} · {scale} · link {rule.link} · out of range: {rule.out_of_range}"
        facts += f" · vetoed {rule.veto}" if rule.veto else ""
        facts += f" · {rule.points:g} points" if rule.points is not None else ""
        console.print(Padding(Text.assemble((rule.name, "bold"), f"  {facts}"), (0, 0, 0, 2)))
        console.print(Padding(Text(visible(rule.text)), (0, 0, 0, 6)))
    if len(rules) > MOST_ROWS:
        console.print(f"  {more(len(rules) - MOST_ROWS, 'rules', 'the file')}", highlight=False)


def _show_model(path: str, console: Console) -> None:
    from encore_ray.models.loading.checkpoint import load_rules
    from encore_ray.models.loading.choose_strategy import choose_strategies
    from encore_ray.models.loading.fetch import fetch_members
    from encore_ray.models.spec.source import ModelSource
    from encore_ray.passes.scorers.model.place import local_model

    place = local_model(ModelSource(path))
    members = fetch_members(place)
    console.print(
        f"[bold]{escape(path)}[/]: a model" + (f" of {len(members)} members" if len(members) > 1 else ""),
        soft_wrap=True,
    )
    rules = load_rules(place)
    for member, choice in zip(members, choose_strategies(place), strict=True):
        name = f"{member}: " if len(members) > 1 else ""
        console.print(f"  {escape(name)}scored by strategy {choice.strategy}: {escape(choice.reason)}", highlight=False)
    _show_rules(rules, console)
    for file in (name for one in spec.PASSES for name in one.beside_model if Folder(path).exists(name)):
        _show_json(Folder(path).path(file), Folder(path).read_json(file), console)


def _show_quarantine(folder: Folder, console: Console) -> None:
    reasons: Counter[str] = Counter()
    example: dict[str, dict[str, Any]] = {}
    for row in (row for name in folder.names() for row in _quarantined(folder, name)):
        reasons[row[REASON]] += 1
        example.setdefault(row[REASON], row)
    console.print(f"[bold]{escape(folder.uri)}[/]: {sum(reasons.values()):,} rows in quarantine", soft_wrap=True)
    if not reasons:
        return
    table = Table(box=None, padding=(0, 2), header_style="bold")
    for column in ("reason", "rows", "first source", "line", "detail"):
        table.add_column(column, overflow="fold")
    for reason, count in reasons.most_common():
        row = example[reason]
        source, detail = visible(row[SOURCE]), short(row[DETAIL], _MOST_OF_A_DETAIL)
        table.add_row(reason, f"{count:,}", escape(source), str(row[LINE]), escape(detail))
    console.print(table)


def _quarantined(folder: Folder, name: str) -> Iterator[dict[str, Any]]:
    """Rows in the quarantine of a pass: in the files that its seal names, as they were; in all while there is none."""
    table = pass_tables(Folder(folder.uri.rstrip("/").rpartition("/")[0] or "/")).get(name)
    sealed = (table.sealed() or {}).get(QUARANTINE_DIR) if table else None
    files = {f"{name}/{file}": None for file in folder.names(name)} if sealed is None else sealed
    for file, digest in sorted(files.items()):
        with open_parquet(folder, file, digest=digest) as parquet:
            yield from parquet.read(columns=[REASON, SOURCE, LINE, DETAIL]).to_pylist()


def _show_table(path: str, console: Console) -> None:
    try:
        units = table_units(path)
    except ConfigError as error:
        raise ConfigError(f"{path} is nothing that inspect knows: {error}") from None
    folder = Folder(path)
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
    if units:
        _show_first_row(units[0], console)


def _show_first_row(unit: TableUnit, console: Console) -> None:
    first: pa.Table = unit.read_all().slice(0, 1)
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
