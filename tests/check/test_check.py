"""A check names all that a run would be refused for, in the run's own words, and changes nothing."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from encore_ray.check.check import check_job
from encore_ray.check.found import Found, all_problems
from encore_ray.check.sample import MOST_ROWS, take_sample
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
    [_no_input, _no_model, _no_rules, _no_layout, _other_rule, _ranges, _store, _address, _input_in_run],
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
