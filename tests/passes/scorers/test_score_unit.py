"""One unit in an actor: every pair scored or named, with what it took; and the budget that a job settles on."""

import logging
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from encore_ray.config import ScoreOptions
from encore_ray.engine.on_ray.engine import RayEngine
from encore_ray.engine.pools import Node, Resources
from encore_ray.errors import ConfigError, ModelError, ResumeRefused
from encore_ray.folder.attempt import Attempt
from encore_ray.folder.pass_table import PassTable
from encore_ray.folder.protocol.commits import LeftOut
from encore_ray.folder.reading.tables import table_units
from encore_ray.models.loading.checkpoint import load_model
from encore_ray.models.spec.forward import DEFAULT_BATCH_TOKENS, StrategyChoice
from encore_ray.passes.scorers.model.forward import ModelForward
from encore_ray.passes.scorers.model.plan import plan_model, settle_budget
from encore_ray.passes.scorers.model.planned import ScoringModel
from encore_ray.passes.scorers.score_table import ScoreWriter
from encore_ray.passes.scorers.score_unit import ScoreUnit
from encore_ray.passes.scorers.scoring_cost import ScoringCost
from encore_ray.schema import Reason
from encore_ray.storage import Folder
from tests.models import tiny
from tests.models.forward.test_budget import limit_memory
from tests.passes import jobs
from tests.passes.lethal import lethal_search

LAPTOP = Resources((Node(2, 0),))
NUM_PAIRS = 12


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return jobs.save_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One unit of pairs, each longer than the one before it; the third is a single response."""
    return jobs.write_unit(tmp_path_factory.mktemp("pairs"), num_pairs=NUM_PAIRS)


def plan(model_folder: Path, **options) -> ScoringModel:
    return plan_model(str(model_folder), ScoreOptions(**options), resources=lambda known: LAPTOP)


def score_unit(forward: ModelForward, pairs: str, run: Path) -> tuple[Mapping[str, int], pa.Table, Attempt]:
    (unit,) = table_units(pairs)
    attempt = Attempt(output(run), unit.unit, unit.digest)
    counts = ScoreUnit(forward, ScoreWriter(jobs.CLIPPED))(unit, attempt)
    return counts, attempt.table.folder.read_table(attempt.data[0].file), attempt


def output(run: Path) -> PassTable:
    folder = Folder(str(run))
    return PassTable(folder.child("scores"), folder, "score")


def test_the_plan_states_strategy_and_budget_and_the_file_carries_them(model_folder, pairs, tmp_path) -> None:
    model = plan(model_folder, batch_tokens=300)
    assert (model.facts["strategy"], model.facts["batch_tokens"], model.facts["compile"]) == ("tree", 300, False)
    _, table, _ = score_unit(ModelForward(model), pairs, tmp_path)
    assert table.schema.metadata[b"encore_ray.strategy"] == b"tree"
    assert table.schema.metadata[b"encore_ray.batch_tokens"] == b"300"
    assert plan(model_folder, strategy="one_by_one").facts["strategy"] == "one_by_one"
    encoder = tiny.save_own_form(tmp_path / "encoder", "bert", pooling="cls", rules=jobs.CLIPPED)
    with pytest.raises(ConfigError, match="Strategy tree would change the scores"):
        plan(encoder, strategy="tree")


def overwrite(file: Path) -> None:
    """Other content in the same file, of the same size and time."""
    before, data = file.stat(), file.read_bytes()
    time.sleep(0.02)
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_model_that_is_another_on_the_node_scores_nothing(model_folder, pairs, tmp_path) -> None:
    copy = Path(shutil.copytree(model_folder, tmp_path / "model"))
    planned = plan(copy)
    for name in ("model.safetensors", "heads.safetensors", "tokenizer.json"):
        original = (copy / name).read_bytes()
        overwrite(copy / name)
        with pytest.raises(ModelError, match=r"model on node \S+ is not the model that the job was planned with"):
            ModelForward(planned)
        (copy / name).write_bytes(original)
    _, _, attempt = score_unit(ModelForward(planned), pairs, tmp_path / "run")
    assert attempt.notes["model"] == planned.facts["model"]


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "special_tokens_map.json"])
def test_a_model_that_changes_while_it_scores_keeps_no_further_unit(model_folder, pairs, tmp_path, name) -> None:
    copy = Path(shutil.copytree(model_folder, tmp_path / "model"))
    forward = ModelForward(plan(copy))
    score_unit(forward, pairs, tmp_path / "before")
    if (copy / name).exists():
        overwrite(copy / name)
    else:
        (copy / name).write_text("{}")
    with pytest.raises(ModelError, match=f"{name} on node .* was changed while the model was in use"):
        score_unit(forward, pairs, tmp_path / "after")


def test_a_unit_counts_its_tokens_those_computed_and_the_time_they_took(model_folder, pairs, tmp_path) -> None:
    counts, _, attempt = score_unit(ModelForward(plan(model_folder)), pairs, tmp_path)
    prompt, tokens = _lengths(model_folder, pairs)
    assert counts["tokens"] == sum(tokens)
    # "Ask. Ask. …" of each pair begins with that of the pair before; all prompts are the same: far less than a half.
    assert max(tokens) <= counts["computed_tokens"] < sum(tokens) - NUM_PAIRS * prompt
    assert all(isinstance(counts[name], int) for name in ("forward_ms", "idle_ms"))
    assert counts["rescored_units"] == 0
    assert "batch_tokens" not in attempt.notes


def _lengths(model_folder: Path, pairs: str) -> tuple[int, list[int]]:
    """Tokens of the prompt alone, and of every conversation."""
    conversations = load_model(model_folder, device="cpu").conversations
    rows = table_units(pairs)[0].read_all().to_pylist()
    sides = [[*row["prompt"], *row[side]] for row in rows for side in ("chosen", "rejected") if row[side]]
    found = conversations.tokenize_pairs(
        [[]] * (len(sides) + 1), chosen=[rows[0]["prompt"], *sides], rejected=[None] * (len(sides) + 1)
    )
    return int(found.chosen_tokens[0]), found.chosen_tokens[1:].tolist()


def test_a_unit_that_runs_out_of_memory_is_scored_with_less_and_says_so(model_folder, pairs, tmp_path) -> None:
    model = plan(model_folder, batch_tokens=400, strategy="packed")
    forward = ModelForward(model)
    expected = score_unit(forward, pairs, tmp_path / "a")[1]
    limit_memory(forward._scoring.scorers[0].model, 150)
    counts, table, attempt = score_unit(forward, pairs, tmp_path / "b")
    assert attempt.notes["batch_tokens"] == 100  # 400 and 200 are more than 150
    assert (counts["rescored_units"], counts["scored"]) == (1, NUM_PAIRS)
    for name in [column for column in table.column_names if "__" in column]:
        found, usual = (np.array(t.column(name).to_pylist(), dtype=float) for t in (table, expected))
        np.testing.assert_allclose(found, usual, rtol=0, atol=1e-4)


def test_a_pair_that_memory_does_not_hold_alone_is_quarantined(model_folder, pairs, tmp_path) -> None:
    forward = ModelForward(plan(model_folder))
    _, tokens = _lengths(model_folder, pairs)
    limit_memory(forward._scoring.scorers[0].model, sorted(tokens)[-2])
    counts, table, attempt = score_unit(forward, pairs, tmp_path)
    assert (counts["scored"], counts["quarantined"], counts["reason.out_of_memory"]) == (NUM_PAIRS - 1, 1, 1)
    assert table.column("pair_id").to_pylist() == [f"p{i}" for i in range(NUM_PAIRS - 1)]
    assert table.column("chosen_tokens").null_count == 0
    assert table.column("rejected_tokens").null_count == 1  # the single response
    assert attempt.quarantined is not None
    (row,) = output(tmp_path).quarantine_folder.read_table(attempt.quarantined.file).to_pylist()
    assert (row["pair_id"], row["reason"]) == (f"p{NUM_PAIRS - 1}", "out_of_memory")
    assert "max_tokens" in row["detail"]


@pytest.mark.parametrize("spared", [range(NUM_PAIRS), range(5, NUM_PAIRS), range(0)], ids=["all", "some", "none"])
def test_pairs_that_are_left_out_are_not_read_by_the_model(
    model_folder, pairs, tmp_path, spared: range, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = ModelForward(plan(model_folder))
    expected = score_unit(forward, pairs, tmp_path / "whole")[1].slice(spared.start, len(spared))
    (unit,) = table_units(pairs)
    left_out = [LeftOut(row, Reason.HANGS, "hung") for row in range(NUM_PAIRS) if row not in spared]
    attempt = Attempt(output(tmp_path), unit.unit, unit.digest, tuple(left_out))
    seen: list[str] = []
    prepare = forward._scoring.prepare
    monkeypatch.setattr(forward._scoring, "prepare", lambda *a, **k: seen.extend(k["pair_ids"]) or prepare(*a, **k))
    counts = ScoreUnit(forward, ScoreWriter(jobs.CLIPPED))(unit, attempt)
    assert seen == expected.column("pair_id").to_pylist() == [f"p{i}" for i in spared]
    assert (counts["rows"], counts["scored"], counts.get("reason.hangs", 0)) == (
        NUM_PAIRS,
        len(spared),
        NUM_PAIRS - len(spared),
    )
    table = attempt.table.folder.read_table(attempt.data[0].file)
    for name in [column for column in table.column_names if "__" in column]:
        found, usual = (np.array(t.column(name).to_pylist(), dtype=float) for t in (table, expected))
        np.testing.assert_allclose(found, usual, rtol=0, atol=1e-4)


def test_an_actor_checks_itself_before_its_first_unit(tmp_path, pairs) -> None:
    encoder = tiny.save_own_form(tmp_path / "encoder", "bert", pooling="cls", rules=jobs.CLIPPED)
    wrong = replace(plan(encoder), strategies=(StrategyChoice("tree", "by mistake"),))
    with pytest.raises(ModelError, match=r"encoder: strategy tree does not give the scores"):
        score_unit(ModelForward(wrong), pairs, tmp_path)
    assert not output(tmp_path).folder.names("data")


def test_the_search_reads_the_jobs_pairs(model_folder, pairs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("encore_ray.models.forward.budget.LAST_BUDGET", {"cpu": 512})
    found = ModelForward(plan(model_folder, batch_tokens="search")).search(table_units(pairs))
    assert [trial.batch_tokens for trial in found.trials] == [512]
    assert ModelForward(plan(model_folder, batch_tokens="search")).search([]).batch_tokens == 2048


def test_a_budget_is_searched_once_and_a_resume_keeps_it(
    model_folder, pairs, tmp_path, ray_engine: RayEngine, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    table, units = output(tmp_path), table_units(pairs)
    model = plan(model_folder, batch_tokens="search", actors=1)
    settled = settle_budget(model, units, table, engine=ray_engine)
    assert settled.search is not None
    assert settled.facts["batch_tokens"] == settled.search.batch_tokens
    kept = replace(settled, facts={**settled.facts, "batch_tokens": 300})  # as another search might have found
    table.open(kept.decisive_facts)
    for overwrite in (False, True):
        resumed = settle_budget(model, units, table, engine=ray_engine, overwrite=overwrite)
        assert (resumed.facts["batch_tokens"], resumed.search) == (300, None)
        table.open(resumed.decisive_facts)
    with monkeypatch.context() as patched, caplog.at_level(logging.WARNING, logger="encore_ray"):
        patched.setattr("encore_ray.passes.scorers.model.plan.open_budget_search", lethal_search)
        usual = settle_budget(model, units, output(tmp_path / "new"), engine=ray_engine)
    assert (usual.facts["batch_tokens"], usual.search) == (DEFAULT_BATCH_TOKENS["cpu"], None)
    assert "the worker died" in caplog.text
    # What is refused is refused for what changed, not for a budget that nobody named.
    shorter = settle_budget(plan(model_folder, batch_tokens="search", max_tokens=64), units, table, engine=ray_engine)
    with pytest.raises(ResumeRefused, match=r"max_tokens was null, is 64\. Use overwrite=True"):
        table.open(shorter.decisive_facts)


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        (
            {"tokens": 1000, "computed_tokens": 630, "forward_ms": 992, "idle_ms": 8, "rescored_units": 0},
            "630 of 1,000 tokens computed: 37% shared; no forward ran for 0.8% of the actors' time",
        ),
        (
            {"tokens": 1000, "computed_tokens": 1200, "forward_ms": 50, "idle_ms": 50, "rescored_units": 2},
            "1,200 token slots computed for 1,000 tokens: the rest is padding; no forward ran for 50.0% of the "
            "actors' time; 2 units ran out of memory and took a smaller budget",
        ),
        ({}, "0 of 0 tokens computed: 0% shared; no forward ran for 0.0% of the actors' time"),
    ],
)
def test_the_pass_says_what_it_computed_and_how_long_it_waited(counts: dict[str, int], words: str) -> None:
    assert str(ScoringCost.of_counts(counts)) == words
