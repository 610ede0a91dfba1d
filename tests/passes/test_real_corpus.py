"""The main job on real input: human preferences, scored by a public encoder with heads fitted on human labels."""

import json
from pathlib import Path

import mlflow
import pytest

from encore_ray.config.sources import make_config
from encore_ray.job import run_job
from tests.passes import jobs
from tests.real_model import save_real_model

MAX_TOKENS = 32


@pytest.mark.usefixtures("ray_engine", "tracked")
def test_the_job_runs_on_hh_rlhf_and_loses_no_row(
    corpora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENCORE_RAY_CLUSTER_ENGINE", "auto")  # as for a user: the model's pass is on Ray
    rules = save_real_model(corpora / "rbr-gold" / "train.jsonl", tmp_path / "model", max_tokens=MAX_TOKENS)
    store = f"sqlite:///{tmp_path}/mlflow.db"
    job = make_config(
        {
            "inputs": [str(corpora / "hh-rlhf" / "harmless-base-test.jsonl.gz")],
            "model": str(tmp_path / "model"),
            "run": str(tmp_path / "run"),
            "score": {"max_tokens": MAX_TOKENS, "actors": 1},
            "tracking": {"uri": store},
        }
    )
    result = run_job(job)
    assert result.prepared["rows"] == 2312 == result.prepared["kept"] + result.prepared["quarantined"]
    assert result.prepared["quarantined"] == 13
    pairs, scores, rewards = (jobs.table(tmp_path / "run" / name) for name in ("pairs", "scores", "rewards"))
    assert pairs.num_rows == scores.num_rows == rewards.num_rows == 2299
    overall = result.metrics.content["overall"]
    assert overall["num_pairs"] == overall["wins"] + overall["ties"] + overall["losses"] == 2299
    assert result.weights.names == rules.names
    # Shorter responses win more often than not among these human labels.
    assert result.metrics.content["length_baselines"]["shorter_wins"]["accuracy"] > 0.5

    assert result.comparison is not None
    comparison = result.comparison.content
    schemes = {scheme["name"]: scheme for scheme in comparison["schemes"]}
    assert schemes["encore"]["all"] == overall
    assert schemes["encore"]["weights"] == {rule.name: rule.weight for rule in result.weights.rules}
    assert comparison["heldout"]["num_pairs"] == schemes["bradley_terry"]["heldout"]["num_pairs"]
    # A fifth of the prompts is held out: 460 of 2,299 pairs, give or take three standard errors.
    assert comparison["heldout"]["num_pairs"] == pytest.approx(460, abs=60)
    for scheme in comparison["schemes"]:
        stats = scheme["heldout"]
        assert stats["accuracy_low"] < stats["accuracy"] < stats["accuracy_high"], scheme["name"]
        difference = scheme["difference_to_uniform"]
        assert difference["value"] == pytest.approx(stats["accuracy"] - schemes["uniform"]["heldout"]["accuracy"])
        assert difference["low"] <= difference["value"] <= difference["high"], scheme["name"]
    for rule in comparison["rules"]:
        histogram = rule["histogram"]
        assert sum(histogram["chosen"]) == sum(histogram["rejected"]) == rule["wins"] + rule["ties"] + rule["losses"]
    assert {baseline["name"]: baseline["all"] for baseline in comparison["baselines"]} == (
        result.metrics.content["length_baselines"]
    )
    assert json.loads((tmp_path / "run" / "comparison.json").read_text()) == comparison

    client = mlflow.MlflowClient(store)
    (experiment,) = [e for e in client.search_experiments() if e.name == "encore-ray"]
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert parent.info.run_name.endswith("/run, encore τ=2")
    of_parent = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    nested = {run.info.run_name.removesuffix(f": {parent.info.run_name}"): run for run in of_parent}
    assert sorted(nested) == ["compare", "compose", "evaluate", "prepare", "score", "weigh"]
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert parent.data.metrics["accuracy"] == pytest.approx(overall["accuracy"])
    assert nested["score"].data.metrics["scored"] == 2299
    stored = client.download_artifacts(nested["weigh"].info.run_id, "weights.json", str(tmp_path))
    assert json.loads(Path(stored).read_text()) == result.weights.to_dict()
