"""Explains an artifact to a person: what it is, how much of it there is, and what stands in it."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

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
from encore_ray.config import ScoreOptions
from encore_ray.config.sources import section_defaults
from encore_ray.console.ending import Ending, next_step
from encore_ray.console.sentences import (
    tell_comparison,
    tell_heads,
    tell_label_errors,
    tell_metrics,
    tell_refinement,
    tell_status,
    tell_training,
    tell_weights,
)
from encore_ray.console.show import (
    show_comparison,
    show_driver,
    show_heads,
    show_label_errors,
    show_metrics,
    show_refined_rules,
    show_refinement,
    show_status,
    show_training,
    show_weights,
)
from encore_ray.console.steps import export_step, run_steps
from encore_ray.console.tables import look_around, show_raw, show_table
from encore_ray.console.words import be, plural
from encore_ray.errors import ConfigError, DataError
from encore_ray.files.plain_yaml import NotYaml, parse_yaml
from encore_ray.folder import spec
from encore_ray.folder.driver.lock import driver_of
from encore_ray.folder.pass_table import pass_tables
from encore_ray.folder.reading.parquet import open_parquet
from encore_ray.folder.status import run_status
from encore_ray.rules import RuleSet
from encore_ray.schema import (
    COMPARISON_FILE,
    DETAIL,
    LINE,
    PAIRS_DIR,
    QUARANTINE_DIR,
    REASON,
    REWARDS_DIR,
    RULES_FILE,
    SOURCE,
)
from encore_ray.shell import near
from encore_ray.storage import Folder, require_paths
from encore_ray.visible import MOST_ROWS, more, short, visible


@dataclass(frozen=True)
class _Shown:
    """A contract file, known by keys that no row below it has, and how it is shown."""

    kind: type[Artifact]
    keys: frozenset[str]
    show: Callable[..., None]  # of the file, and a console
    tell: Callable[[Any, str], str]  # of the file and its path, in a sentence

    def __call__(self, content: Any, *, where: str, console: Console) -> Ending:
        artifact = self.kind.of(content, where=where)
        self.show_in(Folder(where.rpartition("/")[0] or "/"), artifact, console)
        return Ending(self.tell(artifact, near(where)), [look_around(where)], artifact.content)

    def show_in(self, folder: Folder, artifact: Any, console: Console) -> None:
        """Show a file of a folder; weights with a comparison beside them do not ask for one."""
        if isinstance(artifact, WeightsFile):
            show_weights(artifact, console=console, compared=folder.exists(COMPARISON_FILE))
        else:
            self.show(artifact, console=console)


def _without_path(tell: Callable[[Any], str]) -> Callable[[Any, str], str]:
    """A sentence that does not say where the file is."""
    return lambda artifact, path: tell(artifact)


SHOWN: tuple[_Shown, ...] = (
    _Shown(Comparison, frozenset({"schemes"}), show_comparison, _without_path(tell_comparison)),
    _Shown(WeightsFile, frozenset({"counts_sha256"}), show_weights, tell_weights),
    _Shown(Metrics, frozenset({"overall"}), show_metrics, _without_path(tell_metrics)),
    _Shown(RefineReport, frozenset({"calibration", "controls"}), show_refinement, _without_path(tell_refinement)),
    _Shown(RuleRefineReport, frozenset({"verdict", "rules"}), show_refined_rules, _without_path(tell_refinement)),
    _Shown(LabelErrors, frozenset({"below", "pairs"}), show_label_errors, _without_path(tell_label_errors)),
    _Shown(FitReport, frozenset({"mean_auc", "rules"}), show_heads, tell_heads),
    _Shown(TrainReport, frozenset({"objective", "best"}), show_training, tell_training),
)

CELL = 60
_MOST_OF_A_DETAIL = 1000  # characters
REPORT_NAME = "report.json"  # of energies that were fitted, in their folder


def inspect_path(path: str, *, console: Console) -> Ending:
    """Print what the artifact at a path is and holds.

    Raises:
        ConfigError: nothing is there, or nothing that we know. DataError: it is broken, or its pass has not finished.
    """
    require_paths([path])
    parent, _, name = path.rpartition("/")
    folder = Folder(path)
    if name.endswith(".json"):
        value = Folder(parent).read_json(name)
        return show_raw(path, console) if isinstance(value, list) else _show_json(path, value, console)
    if name.endswith((".yaml", ".yml")):
        return _show_yaml(path, Folder(parent).read_file(name), console)
    if folder.exists(PAIRS_DIR):
        return _show_run(folder, console)
    if folder.exists(REPORT_NAME):
        return _show_json(folder.path(REPORT_NAME), folder.read_json(REPORT_NAME), console)
    if folder.exists("config.json") or folder.exists("encore.json"):
        return _show_model(path, console)
    if name == QUARANTINE_DIR or any(folder.exists(one.name) for one in spec.PASSES):
        return _show_quarantine(folder, console)
    return show_table(path, console)


def _show_json(path: str, value: Any, console: Console) -> Ending:
    """A contract file is known by its keys, whatever it is called."""
    if not isinstance(value, dict):
        raise ConfigError(f"{path} is JSON, but no artifact of ours, and no list of rows.")
    shown = next((each for each in SHOWN if each.keys <= value.keys()), None)
    if shown:
        return shown(value, where=path, console=console)
    console.print_json(json.dumps(value))
    return Ending(f"{near(path)} is JSON of no kind that inspect knows.", [look_around(path)], value)


def _show_yaml(path: str, data: bytes, console: Console) -> Ending:
    try:
        value = parse_yaml(data)
    except NotYaml as error:
        raise DataError(f"{path} {error}") from None
    if isinstance(value, dict) and "inputs" in value:
        console.print(f"[bold]{escape(path)}[/]: a job's configuration", soft_wrap=True)
        console.print(data.decode(), markup=False, soft_wrap=True)
        steps = [next_step("see whether anything keeps it from running", "check", near(path))]
        return Ending(f"{near(path)} is the configuration of a job.", steps, value)
    rules = RuleSet.from_yaml(data, where=path)
    _show_rules(rules, console)
    others = next_step("see rules that others use", "rules", "all")
    return Ending(f"{near(path)} has {plural(len(rules), 'rule')}.", [others], rules.to_list())


def _show_run(run: Folder, console: Console) -> Ending:
    console.print(f"[bold]{escape(run.uri)}[/]: a run", soft_wrap=True)
    statuses, driver = run_status(run), driver_of(run)
    show_status(statuses, console=console)
    show_driver(driver, console=console)
    told: list[str] = []
    content: dict[str, Any] = {"run": run.uri, "driver": driver, "passes": [each.to_dict() for each in statuses]}
    said = tell_status(statuses, driver)
    for file in (name for one in spec.PASSES for name in one.files if run.exists(name)):
        for shown in (each for each in SHOWN if file == each.kind.FILE):
            found = shown.kind.read(run)
            content[file] = found.content
            said = shown.tell(found, near(run.path(file))) if isinstance(found, Metrics | Comparison) else said
            if isinstance(found, Comparison):
                show_comparison(found, console=console, told=told)
            else:
                shown.show_in(run, found, console)
            if isinstance(found, WeightsFile):
                told = found.warnings
    if run.exists(QUARANTINE_DIR):
        content[QUARANTINE_DIR] = _show_quarantine(run.child(QUARANTINE_DIR), console).content
    steps = run_steps(near(run.uri), statuses, driver)[:-1]
    if not steps:
        made = run.exists(REWARDS_DIR)
        steps = [export_step(near(run.uri)) if made else next_step("see how far it is", "status", near(run.uri))]
    return Ending(said, steps, content)


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


def _show_model(path: str, console: Console) -> Ending:
    from encore_ray.models.loading.checkpoint import load_rules
    from encore_ray.models.loading.choose_strategy import choose_strategies
    from encore_ray.models.loading.fetch import fetch_members, fetch_model
    from encore_ray.models.spec.source import ModelSource
    from encore_ray.passes.scorers.model.place import local_model

    place = local_model(ModelSource(path))
    members = fetch_members(place)
    console.print(
        f"[bold]{escape(path)}[/]: a model" + (f" of {len(members)} members" if len(members) > 1 else ""),
        soft_wrap=True,
    )
    if not (fetch_model(place) / RULES_FILE).exists():
        return _tell_unnamed(path, console)
    rules = load_rules(place)
    for member, choice in zip(members, choose_strategies(place), strict=True):
        name = f"{member}: " if len(members) > 1 else ""
        console.print(f"  {escape(name)}scored by strategy {choice.strategy}: {escape(choice.reason)}", highlight=False)
    _show_rules(rules, console)
    for file in (name for one in spec.PASSES for name in one.beside_model if Folder(path).exists(name)):
        _show_json(Folder(path).path(file), Folder(path).read_json(file), console)
    score = next_step("score the pairs of a run by it", "score", "--run", "RUN", "--model", near(path))
    content = {"model": path, "members": len(members), "rules": rules.to_list()}
    return Ending(f"{near(path)} is a model that scores under {plural(len(rules), 'rule')}.", [score], content)


def _tell_unnamed(path: str, console: Console) -> Ending:
    """A model that says no more of its heads than their labels, and where they become rules."""
    from encore_ray.passes.scorers.model.plan import model_heads

    _, heads = model_heads(path, section_defaults(ScoreOptions))
    for head in heads[:MOST_ROWS]:
        stated = [f"higher is {head.higher_is}"] if head.higher_is else []
        stated += [f"{head.scale[0]:g} to {head.scale[1]:g}"] if head.scale else []
        console.print(f"  {escape(visible(head.label))}  {' · '.join(stated)}".rstrip(), highlight=False)
    if len(heads) > MOST_ROWS:
        console.print(f"  {more(len(heads) - MOST_ROWS, 'heads', 'the model')}", highlight=False)
    begin = next_step("draft a job with rules of these heads", "init", "CORPUS", "--model", near(path))
    said = f"{near(path)} is a model with {plural(len(heads), 'head')}, of which no {RULES_FILE} says what they mean."
    content = {"model": path, "heads": [head.label for head in heads], "rules": None}
    return Ending(said, [begin], content)


def _show_quarantine(folder: Folder, console: Console) -> Ending:
    reasons: Counter[str] = Counter()
    example: dict[str, dict[str, Any]] = {}
    for row in (row for name in folder.names() for row in _quarantined(folder, name)):
        reasons[row[REASON]] += 1
        example.setdefault(row[REASON], row)
    console.print(f"[bold]{escape(folder.uri)}[/]: {sum(reasons.values()):,} rows in quarantine", soft_wrap=True)
    said = f"{plural(sum(reasons.values()), 'row')} {be(sum(reasons.values()))} in quarantine"
    content = {reason: {"rows": count, "first": example[reason]} for reason, count in reasons.items()}
    if not reasons:
        return Ending(f"{said}.", [look_around(folder.uri)], content)
    table = Table(box=None, padding=(0, 2), header_style="bold")
    for column in ("reason", "rows", "first source", "line", "detail"):
        table.add_column(column, overflow="fold")
    for reason, count in reasons.most_common():
        row = example[reason]
        source, detail = visible(row[SOURCE]), short(row[DETAIL], _MOST_OF_A_DETAIL)
        table.add_row(reason, f"{count:,}", escape(source), str(row[LINE]), escape(detail))
    console.print(table)
    most = reasons.most_common(1)[0][0]
    return Ending(f"{said}, most of them for {most}.", [look_around(folder.uri)], content)


def _quarantined(folder: Folder, name: str) -> Iterator[dict[str, Any]]:
    """Rows in the quarantine of a pass: in the files that its seal names, as they were; in all while there is none."""
    table = pass_tables(Folder(folder.uri.rstrip("/").rpartition("/")[0] or "/")).get(name)
    sealed = (table.sealed() or {}).get(QUARANTINE_DIR) if table else None
    files = {f"{name}/{file}": None for file in folder.names(name)} if sealed is None else sealed
    for file, digest in sorted(files.items()):
        with open_parquet(folder, file, digest=digest) as parquet:
            yield from parquet.read(columns=[REASON, SOURCE, LINE, DETAIL]).to_pylist()
