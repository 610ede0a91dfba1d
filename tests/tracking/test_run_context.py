"""What tells one MLflow run from another: its name, and the parameters of what ran."""

from typing import Any

import pytest

from encore_ray.config import JobConfig
from encore_ray.config.sources import make_config
from encore_ray.tracking.mlflow_store import dataset_source
from encore_ray.tracking.run_context import flat_params, name_run


def config(**values: Any) -> JobConfig:
    return make_config({"inputs": ["/data/a.jsonl"], "run": "/runs/first", **values})


@pytest.mark.parametrize(
    ("params", "name"),
    [
        ({}, "runs/first"),
        ({"model": "m"}, "runs/first"),
        ({"weigh.scheme": "encore", "weigh.temperature": 2.0}, "runs/first, encore τ=2"),
        ({"scheme": "consensus_encore", "temperature": 0.25}, "runs/first, consensus_encore τ=0.25"),
        ({"scheme": "uniform", "temperature": 2.0}, "runs/first, uniform"),
    ],
)
def test_a_run_is_named_by_its_folder_and_how_it_weighs(params: dict[str, Any], name: str):
    assert name_run("/data/runs/first/", params) == name


def test_parameters_are_those_that_are_set_of_what_a_job_runs():
    by_ratings = flat_params(config())
    assert {name.partition(".")[0] for name in by_ratings} == {"inputs", "run", "prepare", "weigh"}
    assert by_ratings["inputs"] == ["/data/a.jsonl"]
    assert None not in by_ratings.values()
    assert flat_params(config(model="/m"))["score.dtype"] == "auto"
    assert "score.dtype" in flat_params(config(judge="/judge"))
    by_api = flat_params(config(judge="http://127.0.0.1:8000/v1"))
    assert "rate.concurrency" in by_api and "score.dtype" not in by_api


def test_an_input_of_which_more_is_said_keeps_it():
    found = flat_params(config(inputs=[{"path": "/data/a.jsonl", "subset": "harmless"}]))["inputs"]
    assert found == [{"path": "/data/a.jsonl", "subset": "harmless"}]


@pytest.mark.parametrize(
    ("uri", "kind", "source"),
    [
        ("/data/a.jsonl", "local", {"uri": "/data/a.jsonl"}),
        ("s3://bucket/a.jsonl", "s3", {"uri": "s3://bucket/a.jsonl"}),
        ("https://host/a.jsonl", "http", {"url": "https://host/a.jsonl"}),
        (
            "hf://datasets/Anthropic/hh-rlhf/test.jsonl.gz",
            "hugging_face",
            {"path": "Anthropic/hh-rlhf", "uri": "hf://datasets/Anthropic/hh-rlhf/test.jsonl.gz"},
        ),
    ],
)
def test_a_dataset_has_the_source_that_pages_of_mlflow_link_to(uri: str, kind: str, source: dict[str, str]):
    assert dataset_source(uri) == (kind, source)
