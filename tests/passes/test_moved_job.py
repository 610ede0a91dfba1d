"""A job whose run, inputs and model lie elsewhere now goes on, with nothing done again."""

import shutil
from pathlib import Path

from encore_ray.job import run_job
from tests.passes import jobs

LOCAL = {"cluster": {"engine": "local"}, "score": {"keep_embeddings": True}}
TABLES = ("pairs", "scores", "embeddings", "rewards")


def test_a_job_that_was_moved_with_its_inputs_and_its_model_does_nothing_again(tmp_path: Path) -> None:
    place = tmp_path / "here"
    place.mkdir()
    jobs.write_corpus(place / "corpus.jsonl", num_pairs=40)
    jobs.save_model(place / "model")
    run_job(jobs.config(place, **LOCAL))
    before = {name: jobs.commit_times(place / "run", name) for name in TABLES}
    contents = jobs.contents(place / "run")
    moved = tmp_path / "elsewhere" / "mounted"
    moved.parent.mkdir()
    shutil.move(place, moved)
    run_job(jobs.config(moved, **LOCAL))
    assert {name: jobs.commit_times(moved / "run", name) for name in TABLES} == before
    assert jobs.contents(moved / "run") == contents
    assert all(before.values())
