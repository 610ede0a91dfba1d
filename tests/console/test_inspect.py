"""Every artifact is explained; what is none is refused."""

import io
import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from encore_ray.artifacts import WeightsFile
from encore_ray.composition.evaluate.evaluation import RewardStatistics
from encore_ray.composition.measure.statistics import RuleStatistics
from encore_ray.composition.scales.binning import choose_binning
from encore_ray.composition.weigh.weighing import weigh
from encore_ray.console.inspect import inspect_path
from encore_ray.errors import ConfigError, DataError
from encore_ray.folder.attempt import Attempt
from encore_ray.folder.pass_table import pass_tables
from encore_ray.folder.protocol.commits import total_counts
from encore_ray.passes.report import make_report
from encore_ray.rules import Rule, RuleSet, Scale
from encore_ray.schema import QUARANTINE_SCHEMA
from encore_ray.storage import Folder, to_json
from tests.foreign import shapes
from tests.models import tiny
from tests.report_contents import make_contents

RULES = RuleSet(
    [
        Rule("kind", "Kind, [bold].", "better", Scale(1.0, 3.0, (1.0, 2.0, 3.0))),
        Rule("threat", "Threatens.", "worse", Scale(0.0, 1.0), out_of_range="clip"),
    ]
)


def inspected(path: Path | str, *, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    inspect_path(str(path), console=console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder after prepare, score, weigh and evaluate, of three pairs and one bad row."""
    folder = Folder(str(tmp_path_factory.mktemp("jobs") / "run [1]"))
    tables = pass_tables(folder)
    ids = ["a", "b", "c"]
    rows = {
        "prepare": pa.table({"pair_id": ids, "prompt": [[{"role": "user", "content": "[red]Hi.[/] " * 20}]] * 3}),
        "score": pa.table({"pair_id": ids, "chosen__kind": [3.0, 2.0, 1.0], "rejected__kind": [1.0, 2.0, 2.0]}),
    }
    for name, content in rows.items():
        tables[name] = tables[name].open({})
        attempt = Attempt(tables[name], "u0", "d")
        tables[name].announce(num_units=1, rows=4)
        attempt.write(content)
        if name == "prepare":
            bad = {"source": "/data/[x].jsonl", "line": 7, "pair_id": None, "reason": "empty_field"}
            bad |= {"detail": "chosen is empty", "raw": "{}"}
            attempt.quarantine(pa.Table.from_pylist([bad], schema=QUARANTINE_SCHEMA))
        attempt.commit({"rows": 4, "quarantined": 1})
        if name == "prepare":
            commits = tables[name].commits()
            tables[name].seal(["u0"], commits, total_counts(commits.values()))
    statistics = RuleStatistics.measure(
        [np.array([3.0, 2.0, 1.0]), np.array([0.1, 0.2, 0.3])],
        [np.array([1.0, 2.0, 2.0]), np.array([0.9, 0.1, 0.4])],
        has_rejected_N=np.array([True, True, True]),
        rules=RULES,
        binnings=[choose_binning(rule) for rule in RULES],
        pair_ids=ids,
        keys=ids,
        subsets=None,
    )
    folder.write_json("weights.json", weigh(statistics, score_range="unit").to_dict())
    margins = RewardStatistics.measure(
        np.array([1.0, 0.5, -1.0]), tolerance=0.0, reach=1.0, keys=ids, subsets=["s", "s", None]
    )
    folder.write_json("metrics.json", margins.metrics())
    folder.write_atomic("rules.yaml", RULES.to_yaml().encode())
    return Path(folder.uri)


def test_a_run_tells_its_passes_weights_accuracy_and_quarantine(run: Path) -> None:
    text = inspected(run)
    assert "run [1]: a run" in text
    assert "1/1" in text
    for part in ("prepare", "finished", "score", "unfinished", "threat", "all pairs", "1 rows in quarantine"):
        assert part in text


def test_weights_are_shown_as_a_table(run: Path) -> None:
    text = inspected(run / "weights.json")
    assert "Weights (encore, temperature 2): 3 pairs" in text
    assert "kind" in text


def test_weights_ask_for_a_comparison_only_where_there_is_none(run: Path, tmp_path: Path) -> None:
    ask = "`encore-ray compare` does"
    compared = Path(shutil.copytree(run, tmp_path / "compared"))
    found = make_contents(2).comparison
    assert found is not None
    (compared / "comparison.json").write_bytes(found.to_json())
    for folder, asks in ((run, True), (compared, False)):
        for path in (folder, folder / "weights.json"):
            assert (ask in " ".join(inspected(path).split())) == asks, path


def test_metrics_are_shown_as_a_table(run: Path) -> None:
    text = inspected(run / "metrics.json")
    assert "all pairs" in text
    assert "66.7%" in text  # 2 of 3


def test_the_reports_of_a_refinement_are_shown_as_tables(tmp_path: Path) -> None:
    contents = make_contents(3)
    assert contents.refined and contents.refined_rules
    (tmp_path / "report.json").write_bytes(contents.refined.to_json())
    (tmp_path / "rules.json").write_bytes(contents.refined_rules.to_json())
    shown = inspected(tmp_path / "report.json")
    assert "Rewards on 200 held-out pairs" in shown
    assert "energy density (used)" in shown
    assert inspected(tmp_path) == shown  # as refine/, the folder
    shown = inspected(tmp_path / "rules.json")
    assert re.search(r"rule_3 +60.0% +62.0% +65.0% +\+5.0 \(\+3.0 to \+7.0\)", shown), shown
    (tmp_path / "rules.json").write_bytes(to_json({"schema_version": 1, "verdict": "", "rules": []}))
    with pytest.raises(DataError, match=r"lacks pairs: .* again with `encore-ray refine fit --per-rule`"):
        inspected(tmp_path / "rules.json")


def test_a_plan_is_shown_as_json(run: Path) -> None:
    assert json.loads(inspected(run / "pairs" / "plan.json"))["pass"] == "prepare"


def test_rules_are_shown_with_scale_and_text(run: Path) -> None:
    text = inspected(run / "rules.yaml")
    assert "2 rules" in text
    assert "3 levels, 1 to 3" in text
    assert "      Kind, [bold]." in [line.rstrip() for line in text.splitlines()]


def test_long_texts_and_sources_are_folded_not_cut(tmp_path: Path) -> None:
    text, source = "An-unbroken-text-" * 9, f"/data/{'deep/' * 30}[x].jsonl"
    (tmp_path / "rules.yaml").write_bytes(RuleSet([Rule("long", text, "better", Scale(0.0, 1.0))]).to_yaml().encode())
    assert text in "".join(inspected(tmp_path / "rules.yaml", width=80).split())
    row = {"source": source, "line": 7, "pair_id": None, "reason": "empty_field", "detail": "empty", "raw": "{}"}
    table = pa.Table.from_pylist([row], schema=QUARANTINE_SCHEMA)
    Folder(str(tmp_path / "quarantine" / "prepare")).write_table("u0.parquet", table)
    said = inspected(tmp_path / "quarantine", width=80)
    assert "…" not in said
    assert said.split("first source")[1].count("/") == source.count("/")  # every part of the path is there
    assert "empty_field" in said


def test_a_configuration_is_shown_as_one(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text("inputs: [a.jsonl]  # [bold]\nrun: run\n")
    text = inspected(tmp_path / "job.yaml")
    assert "a job's configuration" in text
    assert "inputs: [a.jsonl]  # [bold]" in text


def test_a_finished_pass_is_shown_with_its_columns_and_first_row(run: Path) -> None:
    text = inspected(run / "pairs")
    assert "3 rows in 1 units, sealed" in text
    assert "pair_id" in text
    assert '"a"' in text
    assert "[red]Hi.[/]" in text
    assert "…" in text  # a long value is cut


def test_a_table_made_elsewhere_is_shown(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1, 2]}), tmp_path / "t.parquet")
    for path in (tmp_path, tmp_path / "t.parquet"):
        text = inspected(path)
        assert "2 rows in 1 parts" in text
        assert "int64" in text


def test_a_pass_that_has_not_finished_says_so(run: Path) -> None:
    with pytest.raises(DataError, match="scores is not finished"):
        inspected(run / "scores")


def test_a_quarantine_tells_reasons_with_the_first_row_of_each(run: Path) -> None:
    text = inspected(run / "quarantine")
    for part in ("1 rows in quarantine", "empty_field", "/data/[x].jsonl", "7", "chosen is empty"):
        assert part in text
    (file,) = (run / "quarantine" / "prepare").iterdir()
    assert "empty_field" in inspected(file)


def test_a_quarantine_is_what_the_seal_says_and_nothing_beside_it(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    quarantine = tmp_path / "run" / "quarantine"
    (file,) = (quarantine / "prepare").iterdir()
    shutil.copy(file, file.with_name("u0-00000000.parquet"))  # of an attempt that came too late
    assert "1 rows in quarantine" in inspected(quarantine)
    for spoil in (lambda: file.write_bytes(file.read_bytes()[:-1]), file.unlink):
        spoil()
        for path in (quarantine, tmp_path / "run"):
            with pytest.raises(DataError, match=file.name):
                inspected(path)


def test_an_empty_quarantine_is_shown_as_empty(tmp_path: Path) -> None:
    (tmp_path / "quarantine" / "prepare").mkdir(parents=True)
    assert inspected(tmp_path / "quarantine").strip().endswith("0 rows in quarantine")


def test_a_sound_model_without_rules_is_shown_with_its_heads_and_the_line_that_drafts_them(tmp_path: Path) -> None:
    tiny.save_own_form(tmp_path / "model", "llama", pooling="last", rules=RULES)
    (tmp_path / "model" / "rules.yaml").unlink()
    ending = inspect_path(str(tmp_path / "model"), console=Console(file=io.StringIO()))
    assert ending.error is None and "of which no rules.yaml says what they mean" in ending.result
    assert f"init CORPUS --model {tmp_path / 'model'}" in ending.steps[0].line
    assert len(ending.content["heads"]) == len(RULES)


def test_a_model_is_shown_with_its_rules(tmp_path: Path) -> None:
    tiny.save_own_form(tmp_path / "model", "llama", pooling="last", rules=RULES)
    text = inspected(tmp_path / "model")
    assert "model: a model" in text
    assert "threat" in text


@pytest.mark.parametrize("name", ["nowhere", "nowhere.json", "nowhere.yaml", "nowhere.parquet"])
def test_a_path_that_is_not_there_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=f"No such file or folder: {tmp_path}/{name}"):
        inspected(tmp_path / name)


def test_what_is_no_artifact_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "empty").mkdir()
    for name, said in (
        ("notes.txt", "nothing that inspect knows"),
        ("list.json", "nothing that inspect knows"),
        ("empty", "nothing that"),
    ):
        with pytest.raises(ConfigError, match=said) as caught:
            inspected(tmp_path / name)
        assert name in str(caught.value)


def test_a_broken_artifact_is_named(tmp_path: Path) -> None:
    (tmp_path / "weights.json").write_text("{")
    (tmp_path / "rules.yaml").write_text("- {name")
    for name in ("weights.json", "rules.yaml"):
        with pytest.raises(DataError, match=name):
            inspected(tmp_path / name)


@pytest.mark.parametrize(("name", "key"), [("weights.json", "warnings"), ("metrics.json", "subsets")])
def test_an_artifact_that_lacks_a_key_is_named_with_the_command_that_makes_it(
    run: Path, tmp_path: Path, name: str, key: str
) -> None:
    content = json.loads((run / name).read_text())
    del content[key]
    (tmp_path / name).write_text(json.dumps(content))
    maker = {"weights.json": "weigh", "metrics.json": "evaluate"}[name]
    with pytest.raises(DataError, match=f"{name} lacks {key}: .*again with `encore-ray {maker}`"):
        inspected(tmp_path / name)


@pytest.mark.parametrize(("name", "key"), [("weights.json", "rules"), ("metrics.json", "overall")])
@pytest.mark.parametrize("value", [7, [3], "text"])
def test_an_artifact_with_a_value_of_a_wrong_type_is_named_with_the_command_that_makes_it(
    run: Path, tmp_path: Path, name: str, key: str, value: object
) -> None:
    content = json.loads((run / name).read_text())
    (tmp_path / name).write_text(json.dumps(content | {key: value}))
    maker = {"weights.json": "weigh", "metrics.json": "evaluate"}[name]
    with pytest.raises(DataError, match=f"{name} cannot be read .*again with `encore-ray {maker}`"):
        inspected(tmp_path / name)


@pytest.mark.parametrize("content", ["{", "3", '{"schemes": []}'])
def test_a_report_leaves_out_a_file_that_is_not_whole(run: Path, tmp_path: Path, content: str) -> None:
    for name in ("weights.json", "metrics.json"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    expected = make_report(Folder(str(tmp_path)))
    (tmp_path / "comparison.json").write_text(content)
    assert make_report(Folder(str(tmp_path))) == expected


def test_a_report_shows_the_weights_that_the_metrics_are_of(run: Path, tmp_path: Path) -> None:
    weights = json.loads((run / "weights.json").read_text())
    (tmp_path / "weights.json").write_text(json.dumps(weights | {"scheme": "later"}))
    composed = WeightsFile.of(weights | {"scheme": "composed"})
    page = make_report(Folder(str(tmp_path)), weights=composed)["report/report.html"].decode()
    assert "composed" in page
    assert "later" not in page


# Tables of others


def begun(path: Path) -> list[str]:
    """The next steps of a table, as the words of commands of ours."""
    ending = inspect_path(str(path), console=Console(file=io.StringIO(), width=100))
    return [shlex.join(shlex.split(step.line)[1:]) for step in ending.steps]


def test_a_table_of_others_is_shown_with_what_to_begin_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    scores = shapes.frame().assign(note="[red]")
    texts = pd.DataFrame({"prompt": ["Hi?"], "chosen": ["Hello."], "rejected": ["No."]})
    for made, name in ((scores, "scores"), (texts, "texts")):
        made.to_csv(f"{name}.csv", index=False)
        made.to_json(f"{name}.jsonl", orient="records", lines=True)
        made.to_json(f"{name}.json", orient="records")
        made.to_parquet(f"{name}.parquet")
    for kind in ("csv", "jsonl", "json", "parquet"):
        assert begun(tmp_path / f"scores.{kind}") == [
            f"init scores.{kind}",
            f"weigh --scores scores.{kind} --output weights.json",
        ]
        shown = inspected(tmp_path / f"scores.{kind}", width=200)
        assert "scores stand in columns as harmless_chosen (chosen)" in shown and "[red]" in shown
        assert begun(tmp_path / f"texts.{kind}")[0] == f"init texts.{kind} --model PATH_OR_HUB_ID"
        assert "Hello." in inspected(tmp_path / f"texts.{kind}")


def test_rows_are_counted_as_far_as_they_are_read(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    shapes.text(shapes.frame(), tmp_path / "one" / "a.csv")
    console = Console(file=io.StringIO())
    assert "is a table of 60 rows with 6 columns" in inspect_path(str(tmp_path / "one"), console=console).result
    shapes.text(shapes.frame(), tmp_path / "one" / "b.csv")
    assert "is a table of 60 rows or more with" in inspect_path(str(tmp_path / "one"), console=console).result


def test_columns_that_do_not_tell_their_side_are_proposed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pd.DataFrame({"harm_a": [0.5], "harm_b": [0.25]}).to_csv("ab.csv", index=False)
    weigh = "weigh --scores ab.csv --output weights.json"
    assert begun(tmp_path / "ab.csv") == [
        f"{weigh} --chosen '{{rule}}_a' --rejected '{{rule}}_b'",
        f"{weigh} --chosen '{{rule}}_b' --rejected '{{rule}}_a'",
    ]
    assert "do not tell which is of the chosen response" in inspected(tmp_path / "ab.csv", width=200)


def test_other_parquet_is_no_beginning(tmp_path: Path) -> None:
    pq.write_table(pa.table({"rule": ["harm"], "weight": [0.5]}), tmp_path / "weights.parquet")
    ending = inspect_path(str(tmp_path / "weights.parquet"), console=Console(file=io.StringIO()))
    assert [step.line.split()[0] for step in ending.steps] == ["ls"]
