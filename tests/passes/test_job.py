"""The whole job, on a real local Ray and in one process: every row accounted for, every resume exact."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from encore_ray.cli.commands.jobs.trial import run_trial
from encore_ray.config.sources import make_config
from encore_ray.engine.on_ray.engine import RayEngine
from encore_ray.errors import ClusterError, ConfigError, DataError, ResumeRefused
from encore_ray.job import JobResult, run_job
from encore_ray.models.forward.scorer import PairScorer
from encore_ray.models.loading.checkpoint import load_model
from encore_ray.rules import RuleSet, Scale
from encore_ray.storage import Folder
from tests.models import tiny
from tests.passes import jobs
from tests.patience import PATIENCE_S

NUM_PAIRS = 100


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return jobs.save_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return jobs.write_corpus(tmp_path_factory.mktemp("corpus") / "corpus.jsonl", num_pairs=NUM_PAIRS)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, model: Path, corpus: Path, ray_engine: RayEngine) -> JobResult:
    """One undisturbed run on the cluster, by two actors, that many tests read."""
    folder = tmp_path_factory.mktemp("job")
    options = {"score": {"actors": 2}, "cluster": {"engine": "ray"}}
    return run_job(jobs.config(folder, inputs=[str(corpus)], model=str(model), **options))


def run_of(result: JobResult) -> Path:
    return Path(result.run.uri)


def test_every_row_is_accounted_for(finished: JobResult) -> None:
    assert finished.prepared["rows"] == NUM_PAIRS == finished.prepared["kept"]
    assert finished.scored["rows"] == finished.scored["scored"] == NUM_PAIRS
    run = run_of(finished)
    ids = jobs.table(run / "pairs").column("pair_id").to_pylist()
    assert len(set(ids)) == NUM_PAIRS
    for name in ("scores", "rewards"):
        assert jobs.table(run / name).column("pair_id").to_pylist() == ids


def test_a_run_folder_reads_without_us(finished: JobResult) -> None:
    run = run_of(finished)
    for name in ("pairs", "scores", "rewards"):
        assert (run / name / "_SUCCESS").exists()
        assert pq.read_table(run / name / "data").num_rows == NUM_PAIRS
    for name in ("weights.json", "metrics.json"):
        assert json.loads((run / name).read_text())["schema_version"] == 1
    assert RuleSet.load(run / "rules.yaml") == jobs.CLIPPED
    assert (run / "report" / "evaluation.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.usefixtures("one_thread")
def test_scores_are_those_of_the_model_to_the_last_bit(finished: JobResult, model: Path) -> None:
    loaded = load_model(model, device="cpu")
    scorer = PairScorer(loaded, strategy="tree")
    run = Folder(str(run_of(finished) / "pairs"))
    expected = []
    for file in run.names("data"):
        unit = run.read_table(f"data/{file}").to_pylist()
        tokens = loaded.conversations.tokenize_pairs(
            [row["prompt"] for row in unit],
            chosen=[row["chosen"] for row in unit],
            rejected=[row["rejected"] for row in unit],
        )
        expected.append(scorer.score(tokens))
    scores = jobs.table(run_of(finished) / "scores")
    for k, rule in enumerate(jobs.CLIPPED.names):
        for side, name in enumerate(("chosen", "rejected")):
            found = scores.column(f"{name}__{rule}").to_numpy()
            np.testing.assert_array_equal(found, np.concatenate(expected)[:, side, k])


def test_margins_are_the_weighted_sum_of_score_differences(finished: JobResult) -> None:
    scores, rewards = jobs.table(run_of(finished) / "scores"), jobs.table(run_of(finished) / "rewards")
    expected = np.zeros(NUM_PAIRS)
    for rule in finished.weights.rules:
        chosen, rejected = (scores.column(f"{side}__{rule.name}").to_numpy() for side in ("chosen", "rejected"))
        expected += rule.weight * (chosen.astype(np.float64) - rejected.astype(np.float64))
    np.testing.assert_allclose(rewards.column("margin").to_numpy(), expected, rtol=0, atol=1e-12)


@pytest.mark.usefixtures("one_thread")
def test_the_number_of_workers_changes_nothing(finished: JobResult, model: Path, corpus: Path, tmp_path: Path) -> None:
    alone = jobs.config(tmp_path, inputs=[str(corpus)], model=str(model), cluster={"engine": "local"})
    assert jobs.contents(run_of(run_job(alone))) == jobs.contents(run_of(finished))


@pytest.mark.usefixtures("one_thread")
def test_a_resume_does_only_what_has_no_commit(finished: JobResult, model: Path, corpus: Path, tmp_path: Path) -> None:
    job = jobs.config(tmp_path, inputs=[str(corpus)], model=str(model), cluster={"engine": "local"})
    run_job(job)
    run = tmp_path / "run"
    lost = sorted((run / "scores" / "commits").glob("*.json"))[1]
    lost.unlink()
    for seal in ("scores/_SUCCESS", "scores/manifest.parquet", "rewards/_SUCCESS"):
        (run / seal).unlink()
    before = {name: jobs.commit_times(run, name) for name in ("pairs", "scores", "rewards")}
    run_job(job)
    after = {name: jobs.commit_times(run, name) for name in before}
    assert after["scores"].items() > before["scores"].items()
    assert after["scores"].keys() - before["scores"].keys() == {lost.name}
    assert (after["pairs"], after["rewards"]) == (before["pairs"], before["rewards"])
    assert jobs.contents(run) == jobs.contents(run_of(finished))
    assert len(list((run / "scores" / "data").iterdir())) == len(after["scores"])  # the lost attempt's file is swept
    run_job(job)
    assert {name: jobs.commit_times(run, name) for name in before} == after  # nothing left to do, nothing done


def test_another_model_is_refused_and_overwrite_rescores(model: Path, corpus: Path, tmp_path: Path) -> None:
    job = jobs.config(tmp_path, inputs=[str(corpus)], model=str(model))
    run_job(job)
    changed = job.model_copy(update={"score": job.score.model_copy(update={"max_tokens": 64})})
    with pytest.raises(ResumeRefused, match=r"fingerprint \w{12}.*\w{12}: max_tokens was null, is 64.*overwrite=True"):
        run_job(changed)
    pairs = jobs.commit_times(tmp_path / "run", "pairs")
    scores = jobs.commit_times(tmp_path / "run", "scores")
    stale = (tmp_path / "run" / "weights.json").read_bytes()
    result = run_job(changed, overwrite=True)
    assert (tmp_path / "run" / "weights.json").read_bytes() != stale
    assert jobs.commit_times(tmp_path / "run", "pairs") == pairs  # what still fits is kept
    assert set(jobs.commit_times(tmp_path / "run", "scores").items()).isdisjoint(scores.items())
    assert result.scored["truncated"] > 0


def test_correcting_a_scale_or_a_direction_keeps_the_scores(corpus: Path, tmp_path: Path) -> None:
    narrow = RuleSet(replace(rule, scale=Scale(0.0, 0.1), out_of_range="error") for rule in jobs.CLIPPED)
    tiny.save_own_form(tmp_path / "model", "llama", pooling="last", rules=narrow)
    job = jobs.config(tmp_path, inputs=[str(corpus)])
    with pytest.raises(DataError, match=r"out of range.*Expected 0 to 0\.1"):
        run_job(job)
    before = jobs.commit_times(tmp_path / "run", "scores")
    (tmp_path / "model" / "rules.yaml").write_text(jobs.CLIPPED.to_yaml())
    result = run_job(job)
    assert jobs.commit_times(tmp_path / "run", "scores") == before
    assert result.weights.rules[0].binning.lo == -9.0


def test_an_added_input_reuses_the_units_of_the_others(model: Path, corpus: Path, tmp_path: Path) -> None:
    job = jobs.config(tmp_path, inputs=[str(corpus)], model=str(model))
    run_job(job)
    before = {name: jobs.commit_times(tmp_path / "run", name) for name in ("pairs", "scores")}
    more = jobs.write_corpus(tmp_path / "more.jsonl", num_pairs=20, seed=5)
    grown = make_config({**job.model_dump(), "inputs": [str(corpus), str(more)]})
    result = run_job(grown)
    after = {name: jobs.commit_times(tmp_path / "run", name) for name in before}
    assert all(after[name].items() >= times.items() for name, times in before.items())
    assert result.metrics.overall.num_pairs == NUM_PAIRS + 20 == result.weights.num_pairs
    fewer = make_config({**job.model_dump(), "inputs": [str(more)]})
    with pytest.raises(ResumeRefused, match="not part of the job any more"):
        run_job(fewer)


def test_damage_is_noticed_and_deleting_the_file_heals_it(finished: JobResult, tmp_path: Path) -> None:
    run = Path(shutil.copytree(run_of(finished), tmp_path / "run"))
    weigh = ["weigh", "--run", str(run), "--temperature", "1", "--overwrite"]  # weights that stand read no score
    file = sorted((run / "scores" / "data").iterdir())[0]
    table = pq.read_table(file)
    pq.write_table(table.slice(0, 1), file)
    done = subprocess.run(
        [sys.executable, "-m", "encore_ray.cli", *weigh], capture_output=True, text=True, timeout=PATIENCE_S
    )
    # It ends, too: what still runs keeps nobody waiting, and starts no other Ray after ours has been shut down.
    assert done.returncode == 3, done.stderr
    assert "is not what its commit says" in " ".join(done.stderr.split())


def test_the_run_folder_does_not_hold_the_inputs(model: Path, tmp_path: Path) -> None:
    jobs.write_corpus(tmp_path / "corpus.jsonl", num_pairs=3)
    with pytest.raises(ConfigError, match=r"holds the input .*corpus\.jsonl"):
        run_job(jobs.config(tmp_path, model=str(model), run=str(tmp_path)))


def test_a_changed_input_is_refused(model: Path, tmp_path: Path) -> None:
    corpus = jobs.write_corpus(tmp_path / "corpus.jsonl", num_pairs=10)
    job = jobs.config(tmp_path, model=str(model))
    run_job(job)
    jobs.write_corpus(corpus, num_pairs=10, seed=3)
    with pytest.raises(ResumeRefused, match="was made from input"):
        run_job(job)


def test_a_repeated_given_id_is_an_error_with_its_remedy(model: Path, tmp_path: Path) -> None:
    row = {"prompt": "Hello?", "chosen": "Hi.", "rejected": "No."}
    for name in ("a", "b"):
        rows = [{"id": "twice", **row}, {"id": f"once-{name}", **row}]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    job = jobs.config(tmp_path, inputs=[str(tmp_path / "*.jsonl")], model=str(model))
    with pytest.raises(DataError, match=r"'twice'.*--ids row"):
        run_job(job)
    rowed = make_config({**job.model_dump(), "prepare": {"ids": "row"}})
    result = run_job(rowed, overwrite=True)
    assert result.prepared["kept"] == 4
    assert result.prepared["repeated_content"] == 3


def test_bad_rows_go_to_quarantine_until_there_are_too_many(model: Path, tmp_path: Path) -> None:
    corpus = jobs.write_corpus(tmp_path / "corpus.jsonl", num_pairs=30)
    lines = corpus.read_text().splitlines()
    lines[4] = "{broken"
    corpus.write_text("\n".join(lines) + "\n")
    job = jobs.config(tmp_path, model=str(model))
    with pytest.raises(DataError, match=r"(?s)1 of 30 rows \(3.33%\).*malformed_json\s+1\n") as caught:
        run_job(job)
    assert caught.value.exit_code == 3
    lenient = make_config({**job.model_dump(), "prepare": {"unit_pairs": 32, "max_bad_fraction": 0.05}})
    result = run_job(lenient)
    assert result.prepared["kept"] + result.prepared["quarantined"] == 30
    assert result.metrics.overall.num_pairs == 29
    (file,) = (tmp_path / "run" / "quarantine" / "prepare").iterdir()
    (row,) = pq.read_table(file).to_pylist()
    assert (row["source"], row["line"], row["reason"]) == (str(corpus), 5, "malformed_json")
    assert row["raw"] == "{broken"


def test_ratings_in_the_data_need_no_model(tmp_path: Path) -> None:
    rows = [
        {
            "prompt": f"Question {i}?",
            "chosen": "Yes.",
            "rejected": "No.",
            "chosen__kind": i % 5 + 1,
            "rejected__kind": 3,
        }
        for i in range(20)
    ]
    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    rules = tmp_path / "rules.yaml"
    rules.write_text("- {name: kind, text: Is kind., higher_is: better, scale: {levels: [1, 2, 3, 4, 5]}}\n")
    result = run_job(jobs.config(tmp_path, model=None, rules=str(rules)))
    # i % 5 + 1 against 3: two of five are higher, one is equal, two are lower.
    overall = result.metrics.overall
    assert (overall.wins, overall.ties, overall.losses) == (8, 4, 8)
    assert result.weights.rules[0].binning.kind == "levels"
    with pytest.raises(ConfigError, match=r"ratings of kind.*rules\.yaml"):
        run_job(jobs.config(tmp_path, model=None))


def test_single_responses_are_scored_and_not_compared(model: Path, tmp_path: Path) -> None:
    rows = [{"prompt": f"Question {i}?", "response": f"Answer {i}."} for i in range(12)]
    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = run_job(jobs.config(tmp_path, model=str(model)))
    assert (result.prepared["singles"], result.weights.num_responses) == (12, 12)
    rewards = jobs.table(tmp_path / "run" / "rewards")
    assert rewards.column("chosen_reward").null_count == 0
    assert rewards.column("margin").null_count == rewards.column("rejected_reward").null_count == 12
    assert result.metrics.overall.accuracy is None


@pytest.mark.usefixtures("ray_engine")
def test_more_actors_than_the_cluster_holds_are_refused_with_the_figures(
    model: Path, corpus: Path, tmp_path: Path
) -> None:
    job = jobs.config(
        tmp_path, inputs=[str(corpus)], model=str(model), score={"actors": 4, "gpus_per_actor": 1, "cpus_per_actor": 3}
    )
    with pytest.raises(
        ClusterError,
        match=r"4 actors with 3 CPUs and 1 GPUs each; the cluster has 1 node .* room for 0",
    ) as caught:
        run_job(job)
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("limit", [0, -5])
def test_a_trial_of_no_pairs_is_refused(corpus: Path, tmp_path: Path, limit: int) -> None:
    with pytest.raises(ConfigError, match=f"1 pair or more, found {limit}"):
        run_job(jobs.config(tmp_path, inputs=[str(corpus)]), limit=limit)


def test_a_trial_measures_and_leaves_the_run_alone(model: Path, corpus: Path, tmp_path: Path) -> None:
    job = jobs.config(tmp_path, inputs=[str(corpus)], model=str(model), cost_per_hour=3.0)
    console = Console(record=True, width=100)
    _, found = run_trial(job, limit=40, overwrite=False, console=console)
    assert (found.trial_pairs, found.corpus_rows) == (40, NUM_PAIRS)
    assert found.seconds is not None and found.scoring_s is not None and found.trial_s is not None
    assert found.scoring_s == pytest.approx((NUM_PAIRS - 40) / (found.rows_per_second or 0))
    assert found.seconds == pytest.approx(found.trial_s + found.scoring_s + found.other_s)
    said = str(found)
    assert "pairs/s scored on 40 pairs" in said and "as the trial, starts included" in said
    _, again = run_trial(job, limit=40, overwrite=False, console=console)
    assert again.trial_s is None  # nothing was started: the rates of the trial that stands alone are known
    assert "starts come on top" in str(again)
    assert not (tmp_path / "run").exists()


def test_a_pair_without_finite_scores_is_quarantined_and_counted(model: Path, corpus: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    broken = jobs.save_model(tmp_path / "model")
    heads = load_file(broken / "heads.safetensors")
    heads["bias"][1] = float("nan")
    save_file(heads, broken / "heads.safetensors")
    with pytest.raises(DataError, match=r"(?s)32 of the first 32 rows.*non_finite_score.*rule_1: nan"):
        run_job(jobs.config(tmp_path, inputs=[str(corpus)]))  # no more than one of 100 may be: the first unit tells
    with pytest.raises(DataError, match="no score to weigh"):
        run_job(jobs.config(tmp_path, inputs=[str(corpus)], prepare={"unit_pairs": 32, "max_bad_fraction": 1.0}))
    quarantine = pa.concat_tables([pq.read_table(f) for f in (tmp_path / "run" / "quarantine" / "score").iterdir()])
    assert quarantine.num_rows == NUM_PAIRS
    assert "rule_1: nan" in quarantine.column("detail")[0].as_py()
