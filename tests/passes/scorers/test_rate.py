"""A judge in the place of a model: the same units, the same scores/, the same way on to weights."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from encore_ray.cli import main
from encore_ray.config import ScoreOptions
from encore_ray.config.sources import make_config
from encore_ray.engine.pools import Node, Resources
from encore_ray.errors import ConfigError, ResumeRefused
from encore_ray.folder.attempt import Attempt
from encore_ray.folder.pass_table import PassTable
from encore_ray.folder.reading.tables import table_units
from encore_ray.job import run_job
from encore_ray.models.judge.judge import load_judge
from encore_ray.models.spec.load_options import LoadOptions
from encore_ray.models.spec.source import ModelSource
from encore_ray.passes.scorers.model.forward import unit_by_model
from encore_ray.passes.scorers.model.plan import plan_judge
from encore_ray.passes.scorers.model.planned import JudgeModel
from encore_ray.passes.scorers.score_table import ScoreWriter
from encore_ray.rule_pools import rule_pool
from encore_ray.rules import Rule, RuleSet, Scale
from encore_ray.storage import Folder
from tests.models import judges
from tests.passes import jobs

LAPTOP = Resources((Node(2, 0),))
NUM_PAIRS = 6


@pytest.fixture(scope="module")
def judge_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return judges.save_judge(tmp_path_factory.mktemp("judge"))


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One unit; its third pair is a single response."""
    return jobs.write_unit(tmp_path_factory.mktemp("pairs"), num_pairs=NUM_PAIRS)


def plan(folder: Path, rules: RuleSet = judges.RULES, **options) -> JudgeModel:
    return plan_judge(str(folder), ScoreOptions(**options), resources=lambda known: LAPTOP, rules=rules)


def test_a_unit_is_rated_into_the_columns_of_scores(judge_folder, pairs, tmp_path) -> None:
    (unit,) = table_units(pairs)
    folder = Folder(str(tmp_path))
    attempt = Attempt(PassTable(folder.child("scores"), folder, "score"), unit.unit, unit.digest)
    model = plan(judge_folder)
    assert model.facts["strategy"] == "tree"
    counts = unit_by_model(model, ScoreWriter(model.rules))(unit, attempt)
    table = attempt.table.folder.read_table(attempt.data[0].file)
    judge = load_judge(ModelSource(judge_folder), LoadOptions(device="cpu"), rules=judges.RULES, strategy="one_by_one")
    rows = unit.read_all().to_pylist()
    sides = {side: [row[side] for row in rows] for side in ("chosen", "rejected")}
    asked = judge.prepare([row["prompt"] for row in rows], pair_ids=[row["pair_id"] for row in rows], **sides)
    expected = judge.score(asked).scores_N2K
    for k, name in enumerate(judges.RULES.names):
        found = [np.array(table.column(f"{side}__{name}").to_pylist(), dtype=float) for side in sides]
        np.testing.assert_allclose(np.stack(found, axis=1), expected[:, :, k], rtol=0, atol=1e-5)
    assert table.column("rejected__threat").null_count == 1
    # Four questions about eleven responses that begin alike: most tokens are another question's too.
    assert counts["scored"] == NUM_PAIRS and counts["computed_tokens"] < 0.4 * counts["tokens"]


def test_a_changed_question_is_another_rating_and_a_changed_direction_is_not(judge_folder, tmp_path) -> None:
    folder = Folder(str(tmp_path))
    table = PassTable(folder.child("scores"), folder, "score")
    table.open(plan(judge_folder).decisive_facts)

    def with_first(rule: Rule) -> JudgeModel:
        return plan(judge_folder, RuleSet([rule, *list(judges.RULES)[1:]]))

    turned = Rule("threat", "Does the response threaten?", "better", Scale(-1.0, 1.0))
    table.open(with_first(turned).decisive_facts)
    for other in (
        Rule("threat", "Does the response insult?", "worse", Scale(-1.0, 1.0)),
        Rule("threat", "Does the response threaten?", "worse", Scale(0.0, 1.0)),
    ):
        with pytest.raises(ResumeRefused, match=r"questions was .*, is "):
            table.open(with_first(other).decisive_facts)


def test_a_judge_stays_on_one_gpu_and_excludes_a_model(judge_folder) -> None:
    with pytest.raises(ConfigError, match="gpus_per_actor: a judge runs on one GPU, found 2"):
        plan(judge_folder, gpus_per_actor=2)
    with pytest.raises(ConfigError, match="model and judge exclude each other"):
        make_config({"inputs": ["a"], "run": "r", "model": "a/b", "judge": "c/d"})
    with pytest.raises(ConfigError, match="keep_embeddings: a judge has no heads"):
        plan(judge_folder, keep_embeddings=True)


def test_a_job_goes_from_a_judge_to_a_comparison_and_on_to_a_selection_by_relevance(tmp_path, judge_folder) -> None:
    jobs.write_corpus(tmp_path / "corpus.jsonl", num_pairs=8)
    values = {"judge": str(judge_folder), "model": None, "score": {"actors": 1}, "prepare": {"unit_pairs": 4}}
    result = run_job(jobs.config(tmp_path, **values))
    assert result.scored["scored"] == 8
    assert result.weights.names == rule_pool().names
    assert result.comparison is not None
    run = tmp_path / "run"
    before = jobs.contents(run), jobs.commit_times(run, "scores")
    for command in (
        ["rate", "--judge", str(judge_folder), "--actors", "1", "--relevance"],
        ["select", "--num-rules", "3"],
    ):
        with pytest.raises(SystemExit) as caught:
            main([*command, "--run", str(run)])
        assert caught.value.code == 0
    assert (jobs.contents(run), jobs.commit_times(run, "scores")) == before
    assert json.loads((run / "selection" / "plan.json").read_text())["facts"]["by"] == "relevance and scores"
    scores, related, selection = (jobs.table(run / name) for name in ("scores", "relevance", "selection"))

    def columns(table: pa.Table, name: str) -> np.ndarray:
        return np.array([table.column(f"{name}__{rule}").to_pylist() for rule in rule_pool().names], dtype=float)

    width_K1 = np.array([[rule.scale.width] for rule in rule_pool()])
    size_KN = np.abs(columns(scores, "chosen") - columns(scores, "rejected")) / width_K1 + columns(related, "relevance")
    top_RN = np.argsort(-size_KN, axis=0)[:3]
    found = [set(np.flatnonzero(mask_K).tolist()) for mask_K in columns(selection, "selected").T]
    assert found == [set(top_R.tolist()) for top_R in top_RN.T]
