"""A check names all that a run would be refused for, in the run's own words, and changes nothing."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from encore_ray.check.check import check_job
from encore_ray.check.found import Found, all_problems
from encore_ray.check.sample import MOST_ROWS, RATED_ROWS, take_sample
from encore_ray.config import JobConfig, PrepareOptions
from encore_ray.corpora.files.sources import InputSpec, list_files
from encore_ray.errors import ConfigError, DataError, EncoreError
from encore_ray.folder.driver.lock import only_driver
from encore_ray.job import run_job
from encore_ray.storage import Folder
from tests.passes import jobs

RULES = "- {{name: {0}, text: {0}, higher_is: better, scale: {1}}}\n"
LEVELS = "{levels: [0, 1, 2, 3, 4]}"


def rated(folder: Path, *, num_pairs: int = 24) -> Path:
    """A corpus that brings ratings of three rules along, and the rules."""
    rows = [
        {
            **{"prompt": f"Question {n}", "chosen": "Yes.", "rejected": "No, never."},
            **{f"{side}__{rule}": (n + k) % 5 for side in ("chosen", "rejected") for k, rule in enumerate("abc")},
        }
        for n in range(num_pairs)
    ]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "rules.yaml").write_text("".join(RULES.format(name, LEVELS) for name in "abc"))
    return folder


def job(folder: Path, **values: Any) -> JobConfig:
    """A job on rated data."""
    return jobs.config(folder, **{"model": None, "rules": str(folder / "rules.yaml"), **values})


def found(config: JobConfig) -> dict[str, Found]:
    return {each.about: each for each in check_job(config)}


def problems(config: JobConfig) -> list[str]:
    return [str(each.problem) for each in check_job(config) if each.problem is not None]


def files_in(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_ADDRESS", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)


def test_a_job_on_ratings_is_ready_and_nothing_is_written(tmp_path: Path) -> None:
    config = job(rated(tmp_path), tracking={"enabled": True})
    before = files_in(tmp_path)
    made = found(config)
    assert [each.problem for each in made.values() if each.problem] == []
    assert files_in(tmp_path) == before
    assert made["corpus"].notes[0] == "layout trl, of all rows; 24 pairs"
    assert "3 rules in this order: a, b, c" in made["scores"].notes[0]
    assert all_problems(list(made.values()), "job.yaml") is None


def test_a_model_is_planned_and_shows_what_it_reads_of_three_pairs(tmp_path: Path) -> None:
    jobs.write_corpus(tmp_path / "corpus.jsonl", num_pairs=8)
    jobs.save_model(tmp_path / "model")
    before = files_in(tmp_path)
    made = found(jobs.config(tmp_path))
    assert [each.problem for each in made.values() if each.problem] == []
    assert files_in(tmp_path) == before
    assert "3 rules in this order: rule_0, rule_1, rule_2" in made["scores"].notes
    first = json.loads((tmp_path / "corpus.jsonl").read_text().splitlines()[0])
    assert len(made["texts"].texts) == 3
    assert made["texts"].texts[0].endswith(first["chosen"][-20:])  # the model is a small one: it reads the end alone


def _no_input(config: JobConfig, folder: Path) -> JobConfig:
    return job(folder, inputs=[str(folder / "missing.jsonl")])


def _no_model(config: JobConfig, folder: Path) -> JobConfig:
    return job(folder, model=str(folder / "missing"))


def _no_rules(config: JobConfig, folder: Path) -> JobConfig:
    return job(folder, rules=str(folder / "missing.yaml"))


def _no_layout(config: JobConfig, folder: Path) -> JobConfig:
    (folder / "corpus.jsonl").write_text('{"a": 1, "b": 2}\n')
    return config


def _other_rule(config: JobConfig, folder: Path) -> JobConfig:
    (folder / "rules.yaml").write_text(RULES.format("d", LEVELS))
    return config


def _ranges(config: JobConfig, folder: Path) -> JobConfig:
    (folder / "rules.yaml").write_text(RULES.format("a", LEVELS) + RULES.format("b", "{lo: 0, hi: 9}"))
    return config


def _stray(config: JobConfig, folder: Path) -> JobConfig:
    rows = [json.loads(line) for line in (folder / "corpus.jsonl").read_text().splitlines()]
    rows[7] |= {"chosen__b": 50, "rejected__c": -1}
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return config


def _levels(config: JobConfig, folder: Path) -> JobConfig:
    (folder / "rules.yaml").write_text(RULES.format("a", "{lo: 0, hi: 4}"))
    return job(folder, weigh={"levels": True})


def _store(config: JobConfig, folder: Path) -> JobConfig:
    return job(folder, tracking={"enabled": True, "uri": "ftp://somewhere"})


def _address(config: JobConfig, folder: Path) -> JobConfig:
    return job(folder, cluster={"engine": "ray", "address": "http://head:8265"})


def _input_in_run(config: JobConfig, folder: Path) -> JobConfig:
    return job(folder, run=str(folder), inputs=[str(folder / "corpus.jsonl")])


def _no_folder(config: JobConfig, folder: Path) -> JobConfig:
    return job(folder, run=str(folder / "corpus.jsonl" / "run"))


@pytest.mark.parametrize(
    "spoil",
    [
        *(_no_input, _no_model, _no_rules, _no_layout, _other_rule, _ranges, _stray, _levels, _store, _address),
        _input_in_run,
    ],
    ids=lambda spoil: spoil.__name__.strip("_"),
)
def test_what_a_run_is_refused_for_a_check_says_in_the_same_words(
    tmp_path: Path, spoil: Callable[[JobConfig, Path], JobConfig]
) -> None:
    config = spoil(job(rated(tmp_path)), tmp_path)
    named = problems(config)
    with pytest.raises(EncoreError) as refused:
        run_job(config)
    assert str(refused.value) in named


RATED = "those of {} rows lie on their scales"


@pytest.mark.parametrize(
    ("kind", "wrong_row", "told"),
    [
        ("parquet", None, RATED.format(f"all {RATED_ROWS + 500:,}")),
        ("jsonl", None, RATED.format(f"the first {RATED_ROWS:,}") + "; what further ones hold shows"),
        (
            "parquet",
            RATED_ROWS + 7,
            f"Rule b: 1 of {2 * RATED_ROWS + 1000:,} scores are out of range, first pair_ids p",
        ),
        ("jsonl", RATED_ROWS + 7, RATED.format(f"the first {RATED_ROWS:,}")),
        (
            "jsonl",
            7,
            f"Of the ratings of the first {RATED_ROWS:,} rows: Rule b: 1 of {2 * RATED_ROWS:,} scores are out of",
        ),
    ],
)
def test_of_a_table_all_ratings_are_looked_at_and_of_rows_the_first(
    tmp_path: Path, kind: str, wrong_row: int | None, told: str
) -> None:
    num_rows = RATED_ROWS + 500
    texts = {"pair_id": [f"p{n}" for n in range(num_rows)], "prompt": ["How?"] * num_rows}
    texts |= {"chosen": [f"So {n}." for n in range(num_rows)], "rejected": ["No."] * num_rows}
    ratings = {f"{side}__{rule}": [n % 5 for n in range(num_rows)] for side in ("chosen", "rejected") for rule in "abc"}
    if wrong_row is not None:
        ratings["chosen__b"][wrong_row] = 50
    table = pa.table(texts | ratings)
    path = tmp_path / f"corpus.{kind}"
    if kind == "parquet":
        pq.write_table(table, path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
    (tmp_path / "rules.yaml").write_text("".join(RULES.format(name, LEVELS) for name in "abc"))
    looked = found(job(tmp_path, inputs=[str(path)]))["ratings"]
    said = str(looked.problem) if looked.problem else looked.notes[0]
    assert said.startswith(told), said
    assert (looked.problem is None) == (said.startswith("those of "))
    clipped = found(job(tmp_path, inputs=[str(path)], weigh={"clip": True}))["ratings"]
    assert clipped.problem is None
    assert (", but for 1 that are clipped for the weights" in clipped.notes[0]) == (looked.problem is not None)


def test_rows_of_a_table_without_ids_are_named_by_their_number_and_those_without_ratings_are_none(
    tmp_path: Path,
) -> None:
    num_rows = RATED_ROWS + 500
    texts = {"prompt": ["How?"] * num_rows, "chosen": ["So."] * num_rows, "rejected": ["No."] * num_rows}
    ratings: dict[str, list[int | None]] = {name: [2] * num_rows for name in ("chosen__a", "rejected__a")}
    ratings["chosen__a"][RATED_ROWS + 3] = 9
    ratings["chosen__a"][RATED_ROWS + 1], ratings["rejected__a"][RATED_ROWS + 1] = 9, None  # goes to quarantine
    pq.write_table(pa.table(texts | ratings), tmp_path / "corpus.parquet")
    (tmp_path / "rules.yaml").write_text(RULES.format("a", LEVELS))
    (said,) = problems(job(tmp_path, inputs=[str(tmp_path / "corpus.parquet")]))
    assert f"Rule a: 1 of {2 * num_rows - 2:,} scores are out of range, first pair_ids row {RATED_ROWS + 4}." in said


def test_a_run_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (named,) = problems(_no_folder(job(rated(tmp_path)), tmp_path))
    assert "corpus.jsonl is no folder that this user may write to" in named


def test_all_problems_are_listed_with_the_exit_code_of_the_first(tmp_path: Path) -> None:
    config = _other_rule(job(rated(tmp_path), tracking={"enabled": True, "uri": "ftp://somewhere"}), tmp_path)
    error = all_problems(list(check_job(config)), "job.yaml")
    assert isinstance(error, DataError)  # rules that the data lacks, before the store
    assert str(error).startswith("job.yaml is not ready, for 2 reasons:\n1. scores: The data has no ratings of d")
    assert "\n2. tracking: Tracking in ftp://somewhere" in str(error)


def test_a_folder_that_another_process_works_on_is_named_in_the_same_words(tmp_path: Path) -> None:
    config = job(rated(tmp_path))
    with only_driver(Folder(config.run)):
        (named,) = problems(config)
        with pytest.raises(ConfigError) as refused:
            run_job(config)
    assert named.split(", since")[0] == str(refused.value).split(", since")[0]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = rated(tmp_path_factory.mktemp("finished"))
    run_job(job(folder))
    return folder


@pytest.mark.parametrize(
    "values",
    [{"prepare": {"unit_pairs": 8}}, {"weigh": {"temperature": 1}}, {"prepare": {"unit_pairs": 32, "ids": "row"}}],
    ids=str,
)
def test_a_resume_that_would_be_refused_is_named_in_the_same_words(finished: Path, values: dict[str, Any]) -> None:
    before = files_in(finished / "run")
    (named,) = problems(job(finished, **values))
    assert files_in(finished / "run") == before
    with pytest.raises(EncoreError) as refused:
        run_job(job(finished, **values))
    assert named == str(refused.value)


def _last(config: JobConfig) -> str:
    resume = found(config)["resume"]
    assert resume.problem is None, resume.problem
    return resume.notes[-1]


def test_what_is_scored_is_told_with_what_is_left(tmp_path: Path) -> None:
    rated(tmp_path)
    several = {"prepare": {"unit_pairs": 8}}
    run_job(job(tmp_path, **several))
    corrected = (tmp_path / "rules.yaml").read_text().replace("text: a", "text: An a")  # needs no new score
    (tmp_path / "rules.yaml").write_text(corrected)
    assert _last(job(tmp_path, **several)) == "24 of 24 prepared pairs are scored, 0 are left"
    first = sorted((tmp_path / "run" / "scores" / "commits").iterdir())[0]
    first.unlink()  # as where it was interrupted
    assert _last(job(tmp_path, **several)) == "16 of 24 prepared pairs are scored, 8 are left"
    rows = [json.loads(line) for line in (tmp_path / "corpus.jsonl").read_text().splitlines()]
    (tmp_path / "more.jsonl").write_text("".join(json.dumps(row | {"prompt": "Else?"}) + "\n" for row in rows[:4]))
    added = {**several, "inputs": [str(tmp_path / name) for name in ("corpus.jsonl", "more.jsonl")]}
    resume = found(job(tmp_path, **added))["resume"]
    assert resume.notes[-2:] == (
        "rows would be prepared, but for those of the 24 that are whose content is still the same",
        "16 of 24 prepared pairs are scored, 8 are left",
    )
    result = run_job(job(tmp_path, **added))
    assert result.scored["scored"] == 28


def test_what_stands_is_told(finished: Path) -> None:
    made = found(job(finished))
    assert [each.problem for each in made.values() if each.problem] == []
    assert made["resume"].notes[-1] == "all that decides the results stands: a run would find little or nothing to do"


def test_only_the_first_rows_of_a_file_are_read(tmp_path: Path) -> None:
    row = json.dumps({"prompt": "How?", "chosen": "So.", "rejected": "No."})
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text(f"{row}\n" * MOST_ROWS + "no JSON at all\n" * 1000)
    sample = take_sample(list_files([InputSpec(str(corpus))]), PrepareOptions())
    assert (sample.counts["rows"], sample.counts["quarantined"], sample.is_whole) == (MOST_ROWS, 0, False)
    corpus.write_text(f"{row}\n" * 3 + "no JSON at all\n")
    sample = take_sample(list_files([InputSpec(str(corpus))]), PrepareOptions())
    assert (sample.counts["rows"], sample.counts["quarantined"], sample.is_whole) == (4, 1, True)


def lacking(folder: Path, kind: str, *, num_rows: int = 60) -> JobConfig:
    """A job on ratings of three rules, of which b lacks one in every tenth row, and c in another one."""
    config = job(rated(folder, num_pairs=num_rows), inputs=[str(folder / f"corpus.{kind}")])
    rows = [json.loads(line) for line in (folder / "corpus.jsonl").read_text().splitlines()]
    for row in rows[::10]:
        row["rejected__b"] = None
    rows[3]["chosen__c"] = None
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), folder / "corpus.parquet")
    else:
        (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return config


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_ratings_that_too_many_rows_lack_are_refused_as_by_a_run_with_what_to_do(tmp_path: Path, kind: str) -> None:
    config = lacking(tmp_path, kind)
    looked = found(config)
    with pytest.raises(DataError):
        run_job(config)
    problem = looked["corpus"].problem
    assert isinstance(problem, DataError)
    assert str(problem) == (
        "7 of 60 rows (11.67%) cannot be used, more than prepare.max_bad_fraction allows (1.00%): 6 lack a rating of "
        f"b (lines 1, 11, 21, 31, 41, … of corpus.{kind}); 1 lack a rating of c (line 4 of corpus.{kind}). Complete "
        "these cells; or take b, c out of rules.yaml, with prepare.ignore: [chosen__b, rejected__b, chosen__c, "
        "rejected__c] in the job's file; or have such rows left out by prepare.max_bad_fraction 0.15."
    )
    error = all_problems([*looked.values()], "job.yaml")
    assert error is not None and error.exit_code == DataError.exit_code


@pytest.mark.parametrize(
    "prepare",
    [
        {"max_bad_fraction": 0.15},
        {"ignore": ["chosen__b", "rejected__b", "chosen__c", "rejected__c"]},
    ],
    ids=str,
)
def test_each_way_out_of_ratings_that_are_missing_is_one(tmp_path: Path, prepare: dict[str, Any]) -> None:
    config = lacking(tmp_path, "jsonl").model_copy(update={"prepare": PrepareOptions.model_validate(prepare)})
    if "ignore" in prepare:
        (tmp_path / "rules.yaml").write_text(RULES.format("a", LEVELS))
    assert problems(config) == []
    made = run_job(config)
    assert made.prepared["kept"] == (60 if "ignore" in prepare else 53)


def test_rows_that_are_not_all_are_told_and_not_refused(tmp_path: Path) -> None:
    jobs.write_corpus(tmp_path / "corpus.jsonl", num_pairs=MOST_ROWS * 2)
    jobs.save_model(tmp_path / "model")
    lines = (tmp_path / "corpus.jsonl").read_text().splitlines()
    (tmp_path / "corpus.jsonl").write_text("\n".join(["{", *["{}"] * 9, *lines]) + "\n")
    looked = found(jobs.config(tmp_path))["corpus"]
    assert looked.problem is None
    assert f"10 of the first {MOST_ROWS:,} rows (1.95%) cannot be used" in looked.notes[-1]
    told = "by prepare.max_bad_fraction 0.02. A run ends by them, if those of all rows are as many"
    assert looked.notes[-1].endswith(told)
