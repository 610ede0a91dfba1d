"""Pairs exported in the direction of their selected rules."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from encore_ray.artifacts import Comparison
from encore_ray.cli import main
from encore_ray.errors import ConfigError, DataError
from encore_ray.passes.export.selection import LabelledReport, export_selection
from encore_ray.schema import SELECTION_LABEL, SELECTION_MARGIN
from encore_ray.storage import Folder
from tests.artifacts.test_artifacts import MADE
from tests.passes.selectable import RULES, SINGLE, UNIT_PAIRS, seal, turn_round, units, write_run

FACTS = {"num_rules": 3, "by": "scores"}
LABELS = np.arange(2 * UNIT_PAIRS) % 3 - 1  # -1, 0, 1, -1 ...
UNSCORED = 11


@pytest.fixture
def run(tmp_path: Path) -> Folder:
    """Two units; one pair has no selection, as after its score went to quarantine, and each single has none."""
    run = write_run(tmp_path / "run", num_units=2, scored=False)
    write_selection(run, LABELS)
    return run


def write_selection(run: Folder, labels: np.ndarray | None, *, facts: Mapping[str, Any] = FACTS) -> None:
    ids = pa.concat_tables([unit.read(["pair_id"]) for unit in units(run, "pairs")]).column(0)
    columns = {
        "pair_id": ids,
        SELECTION_LABEL: pa.nulls(len(ids), pa.int8()) if labels is None else pa.array(labels, pa.int8()),
        SELECTION_MARGIN: pa.nulls(len(ids), pa.float64()) if labels is None else pa.array(labels * 2.5),
    }
    drop = (SINGLE, UNIT_PAIRS + SINGLE, UNSCORED)
    seal(run, "select", pa.table(columns), facts=facts, drop=drop)


def test_the_label_decides_the_direction_and_every_pair_is_accounted_for(run: Folder) -> None:
    report = export_selection(run, run.child("out"), layout="trl", margin="as-loss")
    lines = [json.loads(line) for line in run.child("out").read_bytes("train.jsonl").splitlines()]
    pairs = pa.concat_tables([unit.read_all() for unit in units(run, "pairs")]).to_pylist()
    directed = [
        (pair, label)
        for number, (pair, label) in enumerate(zip(pairs, LABELS.tolist(), strict=True))
        if label and pair["rejected"] and number != UNSCORED
    ]
    expected = [
        {
            "prompt": pair["prompt"],
            "chosen": pair["chosen"] if label > 0 else pair["rejected"],
            "rejected": pair["rejected"] if label > 0 else pair["chosen"],
            "margin": 2.5,
        }
        for pair, label in directed
    ]
    assert lines == expected
    swapped = sum(label < 0 for _, label in directed)
    assert (report.kept, report.swapped) == (len(lines) - swapped, swapped)
    assert (report.singles, report.unselected, report.unfit) == (2, 1, 0)
    assert report.kept + report.swapped + report.ties + 3 == 2 * UNIT_PAIRS
    assert f"{report.kept} kept, {swapped} swapped; {report.ties} ties left out. 2 single responses left out. " in str(
        report
    )


@pytest.mark.parametrize(
    ("swapped", "uniform", "said"),
    [
        (
            39,
            None,
            "turns round 39.0% of the labels: the selected rules agree with 61.0% of them. `encore-ray compare`",
        ),
        (39, 0.6, "agree with 61.0% of them, uniform weights over all rules with 60.0%. No margin"),
        (
            39,
            0.61,
            "with 61.0%, so that this selection is no better judge than all rules: keep the corpus's labels",
        ),
        (0, 0.9, "0 ties left out. No margin"),
    ],
)
def test_how_many_labels_are_turned_round_is_told_beside_what_all_rules_agree_with(
    swapped: int, uniform: float | None, said: str
) -> None:
    left_out = {"ties": 0, "singles": 0, "unselected": 0, "unfit": 0}
    report = LabelledReport("out", 100 - swapped, swapped, **left_out, margins="No margin.", uniform=uniform)
    assert said in str(report)


def test_what_uniform_weights_agree_with_is_read_from_a_comparison_that_stands(run: Folder) -> None:
    assert export_selection(run, run.child("out"), layout="trl").uniform is None
    content = dict(MADE)[Comparison]()
    run.write_json("comparison.json", content)
    (line,) = [line for line in content["schemes"] if line["name"] == "uniform"]
    assert export_selection(run, run.child("out2"), layout="trl").uniform == line["all"]["accuracy"]
    run.write_json("comparison.json", {})
    assert export_selection(run, run.child("out3"), layout="trl").uniform is None


def test_a_selection_without_labels_or_none_at_all_is_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", num_units=2, scored=False)
    with pytest.raises(ConfigError, match="run `encore-ray select` first"):
        export_selection(run, run.child("out"), layout="trl")
    write_selection(run, None)
    with pytest.raises(DataError, match="has no labels: its rules were selected for pairs without scores"):
        export_selection(run, run.child("out"), layout="trl")
    assert not run.child("out").exists("train.jsonl")


def test_a_selection_by_rules_that_have_changed_since_is_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", num_units=2)
    write_selection(run, LABELS, facts={**FACTS, "rules": RULES.fingerprint})
    turn_round(run)
    with pytest.raises(DataError, match=r"Rules differ: .*Run `encore-ray select --overwrite`"):
        export_selection(run, run.child("out"), layout="trl")
    assert not run.child("out").exists("train.jsonl")
    run.write_atomic("rules.yaml", RULES.to_yaml().encode())
    assert export_selection(run, run.child("out"), layout="trl").kept


def test_the_command_goes_by_labels_or_by_rewards_not_by_both(run: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["export", "--run", run.uri, "--output", run.path("out"), "--labels", "selection"]
    for other in (["--on-negative-margin", "swap"], ["--min-confidence", "0.5"]):
        with pytest.raises(SystemExit) as end:
            main([*command, *other])
        assert end.value.code == 2
        assert "--labels selection excludes" in " ".join(capsys.readouterr().err.split())
    with pytest.raises(SystemExit) as end:
        main(command)
    assert end.value.code == 0
    assert "swapped" in capsys.readouterr().out
