"""The documented chain on tiny models: from a judge's ratings to heads, an adapter and a reward model, compared."""

import json
from pathlib import Path

import pytest

from encore_ray.cli import main
from encore_ray.corpora.planted.sentences import RULE_TEXTS
from encore_ray.models.loading.checkpoint import load_model
from encore_ray.rules import Rule, RuleSet, Scale
from encore_ray.schema import SELECTION_LABEL, selected_column
from tests.models import judges
from tests.passes import jobs

EXAMPLE = Path(__file__).parents[2] / "jobs" / "chain.yaml"
NUM_RULES = 4
OPTIONS = {
    "CLUSTER_ENGINE": "local",
    "PREPARE_UNIT_PAIRS": "32",
    "SCORE_ACTORS": "1",
    "TRAIN_BATCH_ROWS": "16",
    "TRAIN_LEARNING_RATE": "1e-3",
}


def chain(path: Path) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["chain", str(path)])
    return int(ended.value.code or 0)


@pytest.mark.timeout(900)  # eighteen commands
@pytest.mark.usefixtures("ray_engine")
def test_the_documented_chain_goes_from_ratings_to_a_comparison(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in OPTIONS.items():
        monkeypatch.setenv(f"ENCORE_RAY_{name}", value)
    jobs.write_corpus(tmp_path / "pairs.jsonl", num_pairs=64)
    jobs.write_corpus(tmp_path / "new_pairs.jsonl", num_pairs=64, seed=1)
    texts = list(RULE_TEXTS.items())[:NUM_RULES]
    rules = RuleSet(Rule(name, text, "better", Scale(-1.0, 1.0)) for name, text in texts)
    (tmp_path / "rules.yaml").write_text(rules.to_yaml())
    for name in ("judge", "base"):
        judges.save_judge(tmp_path / "models" / name)
    path = tmp_path / "chain.yaml"
    path.write_text(EXAMPLE.read_text().replace("- train: {", "- train: {engine: ray, "))  # the rest in this process
    assert chain(path) == 0

    runs = tmp_path / "runs"
    comparison = json.loads((runs / "new" / "comparison.json").read_text())
    names = [line["name"] for line in comparison["schemes"]]
    assert {"encore", "uniform", "max_discrepancy", "selected", "encore_selected", "random_selected"} <= set(names)
    (reward,) = comparison["beside"]
    assert reward["name"] == "reward_model" and reward["all"]["num_pairs"] == 64
    selection = jobs.table(runs / "new" / "selection")
    chosen = [selection.column(selected_column(name)).to_pylist() for name in rules.names]
    assert {sum(row) for row in zip(*chosen, strict=True)} == {3}
    dataset = (tmp_path / "adaptive").rglob("*")
    assert any(file.is_file() for file in dataset)
    assert set(selection.column(SELECTION_LABEL).to_pylist()) <= {-1, 0, 1}
    assert load_model(tmp_path / "models" / "adapter", device="cpu").rules.names == rules.names
    assert load_model(tmp_path / "models" / "reward", device="cpu").rules.names == ["reward"]
