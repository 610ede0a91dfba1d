"""A run folder is looked at from Python: what its passes made, without a lock and without a change."""

import json
import os
from pathlib import Path

import pytest

import encore_ray
from encore_ray.errors import ConfigError
from encore_ray.folder.driver.lock import only_driver
from encore_ray.storage import Folder

NUM_PAIRS = 40
RULES = ("a", "b", "c")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on a corpus that brings ratings along."""
    folder = tmp_path_factory.mktemp("looked_at")
    rows = [
        {
            **{"prompt": f"Question {n}", "chosen": "Yes.", "rejected": "No, never.", "subset": "ab"[n % 2]},
            **{
                f"{side}__{rule}": (n * 7 + k + (side == "chosen")) % 5
                for side in ("chosen", "rejected")
                for k, rule in enumerate(RULES)
            },
        }
        for n in range(NUM_PAIRS)
    ]
    (folder / "rated.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    rule = "- {{name: {0}, text: {0}, higher_is: better, scale: {{levels: [0, 1, 2, 3, 4]}}}}\n"
    (folder / "rules.yaml").write_text("".join(rule.format(name) for name in RULES))
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.chdir(folder)
        config = {"inputs": "rated.jsonl", "rules": "rules.yaml", "run": "run", "tracking": {"enabled": False}}
        result = encore_ray.run_job(encore_ray.make_config(config))
    assert repr(result).startswith(f"<job {folder / 'run'}: 40 pairs scored, accuracy ")
    return folder / "run"


def test_a_run_gives_what_its_passes_made(place: Path) -> None:
    run = encore_ray.open_run(place)
    assert repr(run) == f"<run {place}: prepare, score, weigh, compose, evaluate, compare, report finished>"
    assert run.weights.weights.to_dict() == json.loads((place / "weights.json").read_text())
    assert run.metrics.overall.num_pairs == NUM_PAIRS
    assert run.metrics.to_pandas()["pairs"].tolist() == ["all", "a", "b"]
    assert run.metrics.to_pandas()["num_pairs"].tolist() == [40, 20, 20]
    assert run.comparison.verdict == json.loads((place / "comparison.json").read_text())["verdict"]
    assert run.rules is not None and run.rules.names == [*RULES]
    scores, rewards = run.scores().to_pandas(), run.rewards(["margin", "subset"]).to_pandas()
    assert len(scores) == len(rewards) == len(run.scores()) == NUM_PAIRS
    assert rewards.columns.tolist() == ["pair_id", "margin", "subset"]
    again = encore_ray.compose(run.scores().table, run.weights).to_pandas()
    assert again["margin"].tolist() == rewards["margin"].tolist()
    with pytest.raises(ConfigError, match="scores has no column margin"):
        run.scores(["margin"])


def test_a_run_is_shown_in_a_notebook(place: Path) -> None:
    run = encore_ray.open_run(place)
    for shown in (run.weights, run.metrics, run.comparison, run.scores(), run.rewards()):
        assert "<table" in shown._repr_html_()
        assert len(repr(shown)) < 400
    assert "<p>40 pairs</p>" in run.rewards()._repr_html_()
    assert run.rewards()._repr_html_().count("<tr") == 1 + 20  # the first rows of many


def test_looking_at_a_run_takes_no_lock_and_changes_nothing(place: Path) -> None:
    def state() -> dict[str, tuple[int, int]]:
        return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in place.rglob("*")}

    with only_driver(Folder(str(place))):
        before = state()
        run = encore_ray.open_run(os.path.relpath(place))
        for part in (run.weights, run.metrics, run.comparison, run.scores(), run.rewards(), run.rules):
            assert part is not None
        assert state() == before


def test_what_was_not_done_is_named(place: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file or folder"):
        encore_ray.open_run(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="is not a run folder: no pass has begun in it"):
        encore_ray.open_run(tmp_path)
    (tmp_path / "config.yaml").touch()
    run = encore_ray.open_run(tmp_path)
    assert repr(run) == f"<run {tmp_path}: no pass finished>"
    for name in ("weights", "metrics", "comparison"):
        with pytest.raises(ConfigError, match=rf"{name}.json is not there: .* was not done, or has not finished\. `"):
            getattr(run, name)
    with pytest.raises(ConfigError, match="scores/_SUCCESS is not there: score was not done"):
        run.scores()
