"""What is drafted from data and a model is ready to run as it stands, and says what was guessed."""

import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from encore_ray.check.check import check_job
from encore_ray.cli import main
from encore_ray.cli.inputs import InputColumns
from encore_ray.config.sources import load_config
from encore_ray.drafts.draft import draft, wanted_of
from encore_ray.drafts.files import Draft, Names
from encore_ray.errors import ConfigError, DataError, ModelError
from encore_ray.job import run_job
from encore_ray.rules import Rule, RuleSet, Scale
from tests.foreign import shapes
from tests.models import judges, tiny, tiny_families
from tests.passes import jobs

HH = [{"chosen": "\n\nHuman: Hi?\n\nAssistant: Hello.", "rejected": "\n\nHuman: Hi?\n\nAssistant: No."}] * 8


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A folder of its own, without a cluster or a store."""
    for name in ("RAY_ADDRESS", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ENCORE_RAY_TRACKING_ENABLED", "false")
    monkeypatch.chdir(tmp_path)


def scored(num_pairs: int, **columns: list[float]) -> pa.Table:
    """Scores of both responses by rule: as given for the chosen one, those of the pair after it for the rejected."""
    table: dict[str, Any] = {"pair_id": [f"p{n}" for n in range(num_pairs)]}
    for name, cycle in columns.items():
        values = [cycle[n % len(cycle)] for n in range(num_pairs + 1)]
        table |= {f"chosen__{name}": values[:-1], f"rejected__{name}": values[1:]}
    return pa.table(table)


def with_texts(scores: pa.Table) -> pa.Table:
    texts = {"prompt": "How?", "chosen": "So.", "rejected": "No."}
    for name, text in texts.items():
        scores = scores.append_column(name, pa.array([f"{text} {n}" for n in range(scores.num_rows)]))
    return scores


def drafted(folder: Path, *data: str, model: str | None = None, judge: str | None = None) -> Draft:
    wanted = wanted_of(InputColumns().inputs(data), model=model, judge=judge, rules=None, run="run")
    made = draft(wanted, Names(str(folder)))
    made.write(str(folder))
    return made


def problems(job: Path) -> list[str]:
    return [str(found.problem) for found in check_job(load_config(job)) if found.problem]


def test_rated_data_make_a_job_that_is_ready_and_runs(tmp_path: Path) -> None:
    pq.write_table(with_texts(scored(40, helpful=[1, 3, 5, 2], careful=[2, 5, 1])), tmp_path / "rated.parquet")
    made = drafted(tmp_path, "rated.parquet")
    assert "ratings of 2 rules: helpful, careful" in made.found
    assert problems(tmp_path / "job.yaml") == []
    assert run_job(load_config(tmp_path / "job.yaml")).prepared["pairs"] == 40
    rules = RuleSet.load(tmp_path / "rules.yaml")
    assert [rule.scale.levels for rule in rules] == [(1, 2, 3, 4, 5)] * 2  # both from 1 to 5, so 4 may come, too


def test_a_model_with_its_own_rules_needs_no_others(tmp_path: Path) -> None:
    jobs.write_corpus(tmp_path / "corpus.jsonl", num_pairs=8)
    jobs.save_model(tmp_path / "model")
    made = drafted(tmp_path, "corpus.jsonl", model="model")
    assert set(made.files) == {"job.yaml"}
    assert made.guessed == ()
    assert problems(tmp_path / "job.yaml") == []


def test_a_model_without_rules_has_them_drafted_in_the_order_of_its_heads(tmp_path: Path) -> None:
    jobs.write_corpus(tmp_path / "corpus.jsonl", num_pairs=8)
    tiny_families.save_armorm(tmp_path / "model")
    (tmp_path / "model" / "rules.yaml").unlink(missing_ok=True)
    made = drafted(tmp_path, "corpus.jsonl", model="model")
    rules = RuleSet.from_yaml(made.files["rules.yaml"])
    assert f"a model with {len(rules)} heads" in made.found[1]
    assert problems(tmp_path / "job.yaml") == []
    assert any(note.startswith("higher is taken to be better") for note in made.guessed)


def save_heads_of_different_range(folder: Path) -> Path:
    """A classifier with three labels and no rules, whose raw outputs differ a thousandfold."""
    tiny.save_classifier(folder, "llama", id2label=dict(enumerate(("helpful", "harmless", "honest"))))
    (folder / "rules.yaml").unlink()
    weights = folder / "model.safetensors"
    tensors = load_file(weights)
    tensors["score.weight"] = tensors["score.weight"] * torch.tensor([[5.0], [0.2], [200.0]])
    save_file(tensors, weights, metadata={"format": "pt"})
    return folder


def test_heads_of_unknown_scale_run_once_the_block_of_one_refusal_is_pasted(tmp_path: Path) -> None:
    jobs.write_corpus(tmp_path / "corpus.jsonl", num_pairs=40)
    save_heads_of_different_range(tmp_path / "model")
    made = drafted(tmp_path, "corpus.jsonl", model="model")
    assert "scales are not known yet, and will differ, so each is mapped to [0, 1] (weigh.score_range: unit)" in (
        made.guessed
    )
    job = load_config(tmp_path / "job.yaml")
    assert job.weigh.score_range == "unit"
    with pytest.raises(DataError) as refused:
        run_job(job)
    block = str(refused.value).partition("In rules.yaml, from all scores; the other keys of these rules stay:\n")[2]
    lines = {rule["name"]: rule for rule in yaml.safe_load(block)}
    assert set(lines) == {"helpful", "harmless", "honest"}  # two far narrower than was guessed, one wider
    rules = yaml.safe_load((tmp_path / "rules.yaml").read_text())
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump([rule | lines.get(rule["name"], {}) for rule in rules]))
    before = jobs.commit_times(tmp_path / "run", "scores")
    assert run_job(load_config(tmp_path / "job.yaml")).weights.num_pairs == 40
    assert jobs.commit_times(tmp_path / "run", "scores") == before  # nothing is scored anew


@pytest.mark.parametrize("given", [False, True], ids=["its own rules", "rules that are named"])
def test_rules_of_different_range_that_are_there_are_mapped(given: bool, tmp_path: Path) -> None:
    jobs.write_corpus(tmp_path / "corpus.jsonl", num_pairs=8)
    scales = (Scale(0.0, 1.0), Scale(-3.0, 3.0), Scale(0.0, 1.0))
    rules = RuleSet(replace(rule, scale=scale) for rule, scale in zip(jobs.CLIPPED, scales, strict=True))
    tiny.save_own_form(tmp_path / "model", "llama", pooling="last", rules=jobs.CLIPPED if given else rules)
    (tmp_path / "mine.yaml").write_text(rules.to_yaml())
    wanted = wanted_of(
        InputColumns().inputs(["corpus.jsonl"]),
        model="model",
        judge=None,
        rules="mine.yaml" if given else None,
        run="run",
    )
    draft(wanted, Names(str(tmp_path))).write(str(tmp_path))
    assert load_config(tmp_path / "job.yaml").weigh.score_range == "unit"
    assert problems(tmp_path / "job.yaml") == []


def test_a_table_that_carries_rules_of_different_range_makes_a_chain_that_maps_them(tmp_path: Path) -> None:
    pq.write_table(scored(30, a=[0.0, 1.0, 0.5], b=[0.0, 9.0, 3.0]), tmp_path / "scores.parquet")
    (tmp_path / "mine.yaml").write_text(
        RuleSet([Rule("a", "A.", "better", Scale(0.0, 1.0)), Rule("b", "B.", "better", Scale(0.0, 9.0))]).to_yaml()
    )
    wanted = wanted_of(InputColumns().inputs(["scores.parquet"]), model=None, judge=None, rules="mine.yaml", run="run")
    made = draft(wanted, Names(str(tmp_path)))
    assert made.guessed == ("rules have different ranges, so each is mapped to [0, 1] (--score-range unit)",)
    steps = yaml.safe_load(made.files["chain.yaml"])["steps"]
    assert [step["weigh"]["score-range"] for step in steps if "weigh" in step] == ["unit"]


def test_a_judge_is_looked_at_and_rates_under_rules_of_ours(tmp_path: Path) -> None:
    jobs.write_corpus(tmp_path / "corpus.jsonl", num_pairs=8)
    with pytest.raises(ModelError, match="nowhere is not a folder on this machine"):
        drafted(tmp_path, "corpus.jsonl", judge="./nowhere")
    judges.save_judge(tmp_path / "judge", max_position_embeddings=4096)
    made = drafted(tmp_path, "corpus.jsonl", judge="./judge")
    assert made.found[1].startswith("a judge, digest ") and made.guessed == ("the judge rates under 10 rules of ours",)
    assert len(RuleSet.from_yaml(made.files["rules.yaml"])) == 10
    assert problems(tmp_path / "job.yaml") == []


def test_a_table_of_scores_makes_a_chain_that_runs(tmp_path: Path) -> None:
    pq.write_table(scored(60, a=[0.5, -3.25, 7.5, 2.0, 1.5], b=[0.1, 0.9, 0.4]), tmp_path / "scores.parquet")
    made = drafted(tmp_path, "scores.parquet")
    assert made.verb == "chain"
    assert made.found == ("a table of scores: 60 pairs under 2 rules: a, b",)
    a, b = RuleSet.load(tmp_path / "rules.yaml")
    assert (a.scale.lo, a.scale.hi, b.scale.lo, b.scale.hi) == (-3.3, 7.5, 0, 1)
    with pytest.raises(SystemExit) as ended:
        main(["chain", "chain.yaml"])
    assert ended.value.code == 0
    assert {"weights.json", "rewards", "evaluation", "comparison"} <= {path.name for path in tmp_path.iterdir()}


def test_pairs_that_nobody_scores_are_told_so_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "hh.jsonl").write_text("".join(json.dumps(row) + "\n" for row in HH))
    with pytest.raises(ConfigError, match=r"layout hh-rlhf.*8 pairs.* --model, .* --judge"):
        drafted(tmp_path, "hh.jsonl")
    assert [path.name for path in tmp_path.iterdir()] == ["hh.jsonl"]


def test_labels_say_where_higher_is_worse(tmp_path: Path) -> None:
    falls = pa.table({"pair_id": [str(n) for n in range(30)], "chosen__risk": [0.0] * 30, "rejected__risk": [1.0] * 30})
    pq.write_table(falls, tmp_path / "scores.parquet")
    made = drafted(tmp_path, "scores.parquet")
    (rule,) = RuleSet.load(tmp_path / "rules.yaml")
    assert rule.higher_is == "worse"
    assert any("worse for risk" in note for note in made.guessed)


def test_names_and_ends_are_read_back_as_they_were(tmp_path: Path) -> None:
    odd = scored(30, no=[1.5e6, -2.25e6, 7.0], null=[1e-7, 2e-7])
    pq.write_table(odd, tmp_path / "scores.parquet")
    drafted(tmp_path, "scores.parquet")
    rules = RuleSet.load(tmp_path / "rules.yaml")
    assert rules.names == ["no", "null"]
    assert (rules[0].scale.lo, rules[0].scale.hi) == (-2.3e6, 1.5e6)


def test_a_file_that_a_person_has_changed_is_left_alone(tmp_path: Path) -> None:
    pq.write_table(with_texts(scored(12, a=[1, 2, 3])), tmp_path / "rated.parquet")
    made = drafted(tmp_path, "rated.parquet")
    made.write(str(tmp_path))  # the same again changes nothing
    (tmp_path / "rules.yaml").write_text("mine")
    with pytest.raises(ConfigError, match=r"rules.yaml is there already, with another content"):
        made.write(str(tmp_path))
    made.write(str(tmp_path), overwrite=True)
    assert (tmp_path / "rules.yaml").read_text() == made.files["rules.yaml"]


def test_a_file_that_the_draft_is_made_from_is_never_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pq.write_table(with_texts(scored(12, a=[1, 2, 3])), tmp_path / "rated.parquet")
    drafted(tmp_path, "rated.parquet")
    rules = (tmp_path / "rules.yaml").rename(tmp_path / "other.yaml")
    text = rules.read_text()
    monkeypatch.chdir(tmp_path)
    words = ["run", "--input", "rated.parquet", "--rules", "other.yaml", "--run", "other", "--overwrite"]
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert "other.yaml is what the draft is made from" in " ".join(capsys.readouterr().err.split())
    assert rules.read_text() == text


def test_a_job_of_flags_writes_its_file_beside_the_run_folder_and_resumes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pq.write_table(with_texts(scored(12, a=[1, 2, 3], b=[3, 1])), tmp_path / "rated.parquet")
    words = ["run", "--input", "rated.parquet", "--run", "runs/first"]
    for said in ("12 rows in", "Nothing to do"):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 0
        told = capsys.readouterr()
        assert said in told.out
        assert f"wrote {tmp_path}/runs/first.yaml" in told.err
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"first", "first.yaml", "first-rules.yaml"}
    with pytest.raises(SystemExit) as ended:
        main(["run", "runs/first.yaml", "--input", "rated.parquet"])
    assert ended.value.code == 2


def test_a_draft_of_scores_follows_the_table_until_it_is_changed(tmp_path: Path) -> None:
    shapes.text(shapes.frame(), tmp_path / "x.csv")
    drafted(tmp_path, "x.csv")
    shapes.text(shapes.frame() * 10, tmp_path / "x.csv")
    wanted = wanted_of(InputColumns().inputs(["x.csv"]), model=None, judge=None, rules=None, run="run")
    made = draft(wanted, Names(str(tmp_path)))
    made.write(str(tmp_path))
    rules = tmp_path / "rules.yaml"
    assert RuleSet.load(rules)[0].scale.hi == 10
    rules.write_text(rules.read_text().replace("better", "worse", 1))
    shapes.text(shapes.frame(), tmp_path / "x.csv")
    again = draft(wanted, Names(str(tmp_path)))
    assert set(again.files) == {"chain.yaml"}  # the rules that stand beside the table are somebody's
    with pytest.raises(ConfigError, match=r"rules.yaml was drafted from x.csv, edited since, and would be replaced"):
        made.write(str(tmp_path), overwrite=True)


def test_a_csv_of_scores_makes_a_chain_with_rules_and_one_of_texts_does_not(tmp_path: Path) -> None:
    shapes.text(shapes.frame().assign(model="m"), tmp_path / "scores.csv")
    made = drafted(tmp_path, "scores.csv")
    assert made.verb == "chain"
    assert made.found[0] == "a table of scores: 58 pairs under 3 rules: harmless, honest, polite"
    assert "left out: 2 rows without any score" in made.found
    with pytest.raises(SystemExit) as ended:
        main(["chain", "chain.yaml"])
    assert not ended.value.code
    assert json.loads((tmp_path / "comparison" / "comparison.json").read_text())["schemes"]
    texts = {"prompt": "How?", "chosen": "So.", "rejected": "No."}
    shapes.text(shapes.frame("score_{side}_{rule}").assign(**texts), tmp_path / "corpus.csv")
    with pytest.raises(ConfigError, match="layout trl"):  # a corpus, which needs someone who scores
        drafted(tmp_path, "corpus.csv")


QA = [{"question": f"Why {n}?", "answer_1": "So.", "answer_2": "No.", "label": 1 + n % 2} for n in range(8)]
MAPPED = "--map prompt=question chosen=answer_1 rejected=answer_2 winner=label --chosen-if 1"


def ended(capsys: pytest.CaptureFixture[str], words: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, document and errors of a command."""
    with pytest.raises(SystemExit) as exited:
        main([*words.split(), "--json"])
    told = capsys.readouterr()
    return int(str(exited.value.code or 0)), json.loads(told.out or "{}"), " ".join(told.err.split())


def test_columns_that_fit_no_layout_are_drafted_by_the_line_that_is_proposed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "qa.jsonl").write_text("".join(json.dumps(row) + "\n" for row in QA))
    jobs.save_model(tmp_path / "model")
    code, _, said = ended(capsys, "init qa.jsonl --model model")
    assert code == 3 and f"`{MAPPED}`" in said
    code, _, _ = ended(capsys, f"init qa.jsonl --model model {MAPPED}")
    assert code == 0
    (first,) = load_config(tmp_path / "job.yaml").inputs
    assert (first.path, first.chosen_if) == (str(tmp_path / "qa.jsonl"), "1")
    assert problems(tmp_path / "job.yaml") == []
    assert run_job(load_config(tmp_path / "job.yaml")).prepared["pairs"] == 8


def test_a_check_takes_what_a_run_takes_without_a_file_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pq.write_table(with_texts(scored(12, a=[1, 2, 3], b=[3, 1])), tmp_path / "rated.parquet")
    words = "--input rated.parquet --run runs/first --set weigh.temperature=1"
    code, document, _ = ended(capsys, f"check {words}")
    assert code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["rated.parquet"]
    looks = {look["about"]: look["notes"] for look in document["result"]}
    assert looks["draft"][-1] == f"run would write first.yaml and first-rules.yaml to {tmp_path}/runs"
    assert looks["ratings"] == ["those of all 12 rows lie on their scales"]
    assert "2 rules in this order: a, b" in looks["scores"][0]
    run, trial = (shlex.split(line)[1:] for line in document["next"])
    assert run == ["run", *words.split()] and trial == [*run, "--limit", "200"]
    assert ended(capsys, " ".join(run))[0] == 0
    code, document, _ = ended(capsys, f"check {words}")
    resume = next(look for look in document["result"] if look["about"] == "resume")
    assert code == 0 and resume["notes"][-1].startswith("all that decides the results stands")
    (tmp_path / "runs" / "first-rules.yaml").write_text("mine")
    code, _, said = ended(capsys, f"check {words}")
    assert code == 2 and "draft: " in said and "first-rules.yaml is there already, with another content" in said


@pytest.mark.parametrize("name", ["run", "check"])
def test_a_job_is_named_by_its_file_or_by_flags(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "job.yaml").write_text("inputs: a.jsonl\nrun: run\n")
    for words, said in (
        ("", f"{name} needs a CONFIG.yaml, or --input with --model or --judge."),
        ("job.yaml --input a.jsonl", f"{name} takes a CONFIG.yaml, or --input, not both."),
        ("job.yaml --map prompt=a --judge j", f"{name} takes a CONFIG.yaml, or --judge and --map, not both."),
    ):
        code, _, told = ended(capsys, f"{name} {words}")
        assert code == 2 and said in told


def test_a_draft_says_which_ratings_are_missing_and_the_line_that_leaves_such_rows_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = with_texts(scored(60, honest=[1, 2, 3, 4, 5], kind=[5, 3, 1]))
    honest = [None if n % 6 == 0 else value for n, value in enumerate(table["chosen__honest"].to_pylist())]
    place = table.schema.get_field_index("chosen__honest")
    pq.write_table(table.set_column(place, "chosen__honest", pa.array(honest)), "corpus.parquet")
    code, said, _ = ended(capsys, "init corpus.parquet")
    assert code == 0
    (note,) = [each for each in said["result"]["found"] if "cannot be used" in each]
    assert "10 lack a rating of honest (lines 1, 7, 13, 19, 25, … of corpus.parquet)" in note
    assert ended(capsys, "check job.yaml")[0] == ended(capsys, "run job.yaml")[0] == DataError.exit_code
    assert ended(capsys, "run job.yaml --set prepare.max_bad_fraction=0.2")[0] == 0
    assert said["next"][-1].endswith("run job.yaml --set prepare.max_bad_fraction=0.2")


def test_an_option_and_its_value_in_two_pieces_are_answered_by_one(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, said = ended(capsys, "check job.yaml --set weigh.temperature 1")
    assert code == 2 and "--set weigh.temperature=1" in said


@pytest.mark.parametrize("kind", ["jsonl", "jsonl.gz", "csv", "parquet"])
@pytest.mark.parametrize("name", ["run", "check"])
def test_a_corpus_in_place_of_a_job_is_answered_with_the_line_that_takes_it(
    name: str, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / f"data.{kind}").write_text("{}")
    code, _, said = ended(capsys, f"{name} data.{kind} --set weigh.temperature=1")
    assert code == 2
    assert f"data.{kind} is a corpus, and no job's file. Name it by --input:" in said
    assert f"encore-ray {name} --input data.{kind} --set weigh.temperature=1" in said
