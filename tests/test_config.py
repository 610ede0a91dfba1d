"""The job's configuration: where values come from, what is refused, and how."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from encore_ray.config import SECTIONS, ClusterOptions, JobConfig, PrepareOptions, ScoreOptions, Section, WeighOptions
from encore_ray.config.sources import (
    assigned_values,
    environment_values,
    load_config,
    make_config,
    make_section,
    resolve_model,
    section_defaults,
)
from encore_ray.errors import ConfigError


def save(folder: Path, **values: Any) -> Path:
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump({"inputs": "corpus.jsonl", "run": "run", **values}))
    return path


def refusal(path: Path, **more: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(path, environ={}, **more)
    assert caught.value.exit_code == 2
    return str(caught.value)


# Precedence


def test_a_flag_wins_over_the_environment_over_the_file_over_the_default(tmp_path: Path) -> None:
    path = save(tmp_path, weigh={"temperature": 3.0})
    environ = {"ENCORE_RAY_WEIGH_TEMPERATURE": "4"}
    flags = {"weigh": {"temperature": 5.0}}
    found = [
        make_config({"inputs": "a", "run": "r"}),
        load_config(path, environ={}),
        load_config(path, environ=environ),
        load_config(path, environ=environ, flags=flags),
    ]
    assert [config.weigh.temperature for config in found] == [2.0, 3.0, 4.0, 5.0]


def test_setting_one_option_of_a_section_leaves_the_others(tmp_path: Path) -> None:
    path = save(tmp_path, weigh={"temperature": 3.0, "clip": True})
    config = load_config(path, environ={"ENCORE_RAY_WEIGH_NUM_BINS": "7"}, flags={"weigh": {"log_base": "2"}})
    assert (config.weigh.temperature, config.weigh.clip, config.weigh.num_bins, config.weigh.log_base) == (
        3,
        True,
        7,
        "2",
    )


def test_the_standard_variables_of_ray_and_mlflow_are_read_and_ours_win() -> None:
    environ = {"RAY_ADDRESS": "a:1", "MLFLOW_TRACKING_URI": "http://b"}
    assert environment_values(environ) == {"cluster": {"address": "a:1"}, "tracking": {"uri": "http://b"}}
    ours = {**environ, "ENCORE_RAY_CLUSTER_ADDRESS": "c:1", "ENCORE_RAY_TRACKING_URI": ""}
    assert environment_values(ours) == {"cluster": {"address": "c:1"}, "tracking": {"uri": ""}}


def test_an_experiment_of_mlflows_variables_wins_over_the_file_and_its_name_over_its_id(tmp_path: Path) -> None:
    path = save(tmp_path, tracking={"experiment": "nightly"})
    by_id = {"MLFLOW_EXPERIMENT_ID": "12"}
    by_name = {**by_id, "MLFLOW_EXPERIMENT_NAME": "/Users/someone/rm"}
    ours = {**by_name, "ENCORE_RAY_TRACKING_EXPERIMENT": "ours"}
    found = [load_config(path, environ=environ).tracking.experiment for environ in ({}, by_id, by_name, ours)]
    assert found == ["nightly", "id:12", "/Users/someone/rm", "ours"]
    flags = {"tracking": {"experiment": "flag"}}
    assert load_config(path, environ=ours, flags=flags).tracking.experiment == "flag"


def test_variables_are_yaml_except_where_the_option_is_a_text() -> None:
    environ = {
        "ENCORE_RAY_SCORE_ACTORS": "2,4",
        "ENCORE_RAY_SCORE_REVISION": "0123",
        "ENCORE_RAY_SCORE_ALLOW_PICKLE": "yes",
        "ENCORE_RAY_PREPARE_COLUMNS": "[a, b]",
        "ENCORE_RAY_INPUTS": "[{path: a, subset: s}]",
        "ENCORE_RAY_COST_PER_HOUR": "2.5",
        "ENCORE_RAY_CORPORA": "not an option of ours",
    }
    assert environment_values(environ) == {
        "score": {"actors": "2,4", "revision": "0123", "allow_pickle": True},
        "prepare": {"columns": ["a", "b"]},
        "inputs": [{"path": "a", "subset": "s"}],
        "cost_per_hour": 2.5,
    }


def test_a_misspelt_variable_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"ENCORE_RAY_WEIGH_TEMPRATURE sets no option.*ENCORE_RAY_WEIGH_TEMPERATURE"):
        environment_values({"ENCORE_RAY_WEIGH_TEMPRATURE": "1"})
    with pytest.raises(ConfigError, match=r"ENCORE_RAY_WEIGH_CLIP: '\[' is not a YAML value"):
        environment_values({"ENCORE_RAY_WEIGH_CLIP": "["})


@pytest.mark.parametrize("section", SECTIONS.values(), ids=SECTIONS)
def test_a_commands_defaults_are_the_sections(section: type[Section]) -> None:
    assert section_defaults(section, environ={}) == section()


def test_the_environment_is_put_over_a_commands_defaults_and_checked() -> None:
    assert section_defaults(WeighOptions, environ={"ENCORE_RAY_WEIGH_TEMPERATURE": "1"}).temperature == 1.0
    with pytest.raises(ConfigError, match=r"environment, section weigh: temperature: .* greater than 0, found -1"):
        section_defaults(WeighOptions, environ={"ENCORE_RAY_WEIGH_TEMPERATURE": "-1"})


def test_assignments_set_single_options() -> None:
    found = assigned_values(["weigh.temperature=1", "run=2024", "score.actors=2,4", "weigh.clip=true", "inputs=[a, b]"])
    assert found == {
        "weigh": {"temperature": 1, "clip": True},
        "run": "2024",  # a text option stays text
        "score": {"actors": "2,4"},
        "inputs": ["a", "b"],
    }
    for wrong in ("weigh.temperature", "weight.temperature=1", "weigh.a.b=1", "=1.=2", "weigh=3", "weigh.clip=["):
        with pytest.raises(ConfigError, match=wrong.replace(".", r"\.").replace("[", r"\[")):
            assigned_values([wrong])


# What is refused


def test_all_problems_are_named_at_once(tmp_path: Path) -> None:
    path = save(
        tmp_path, colour="red", weigh={"temperature": 0, "bins": 3}, score={"actors": "2,1", "max_tokens": "many"}
    )
    said = refusal(path)
    for part in (
        f"{path}: ",
        "colour: unknown key (known: inputs, run, model, judge, rules,",
        "weigh.temperature: input should be greater than 0, found 0",
        "weigh.bins: unknown key (known: scheme, temperature, num_rules, rule,",
        "score.max_tokens: input should be a valid integer",
    ):
        assert part in said


def test_unknown_keys_of_an_input_and_of_a_missing_run_are_named(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text("inputs: [{path: a, sub: b}]\n")
    said = refusal(path)
    assert "inputs.0.sub: unknown key (known: path, subset, format, columns, chosen_if)" in said
    assert "run: missing" in said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"edges": "quantile"}, "every rule's entropy is log(num_bins) and no rule differs from another"),
        ({"levels": True, "num_bins": 3}, "levels and num_bins exclude each other"),
        ({"levels": True, "edges": "observed"}, "levels and edges: observed exclude each other"),
        ({"num_bins": 1}, "num_bins: input should be greater than or equal to 2, found 1"),
        ({"min_active": 1.5}, "min_active: input should be less than or equal to 1, found 1.5"),
        ({"temperature": float("nan")}, "temperature: input should be a finite number"),
        ({"scheme": "softmax"}, "'max_discrepancy' or 'encore_max_discrepancy', found 'softmax'"),
    ],
)
def test_options_that_cannot_be_meant_are_refused_with_the_reason(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make_section(WeighOptions, options, where="here")
    assert str(caught.value).startswith("here: ")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("actors", "expected"), [(3, (3, 3)), ("3", (3, 3)), ("2,5", (2, 5)), ([2, 5], (2, 5)), (None, None)]
)
def test_actors_are_a_number_or_a_range(actors: Any, expected: tuple[int, int] | None) -> None:
    assert make_section(ScoreOptions, {"actors": actors}, where="here").actor_range == expected


@pytest.mark.parametrize("actors", ["2,1", "0", "0,3", "many", "1,2,3", "-1", True, 1.5])
def test_actors_that_are_no_range_are_refused(actors: Any) -> None:
    with pytest.raises(ConfigError, match="actors: "):
        make_section(ScoreOptions, {"actors": actors}, where="here")


@pytest.mark.parametrize("value", [None, 16, 4096, "search"])
def test_a_token_budget_is_a_number_or_a_search(value: Any) -> None:
    assert make_section(ScoreOptions, {"batch_tokens": value}, where="here").batch_tokens == value


def test_a_token_budget_may_be_digits_as_from_an_environment() -> None:
    assert make_section(ScoreOptions, {"batch_tokens": "64"}, where="here").batch_tokens == 64


@pytest.mark.parametrize("value", [15, 0, -1, True, 64.0, "15", "best"])
def test_a_token_budget_that_is_neither_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"batch_tokens: expected 16 or more, or search; found"):
        make_section(ScoreOptions, {"batch_tokens": value}, where="here")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"inputs: [", "is not valid YAML"),
        (b"- a", "expected a mapping"),
        (b"", "expected a mapping"),
        (b"\xff", "is not UTF-8 text"),
        (b"run: 2026-13-45", "is not valid YAML: month must be in 1..12"),
        (b"[" * 5000, "is not valid YAML"),
    ],
)
def test_a_file_that_is_no_configuration_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "job.yaml"
    path.write_bytes(content)
    assert said in refusal(path)
    assert str(path) in refusal(path)


def test_a_missing_configuration_is_named(tmp_path: Path) -> None:
    assert f"Cannot read the configuration {tmp_path}/no.yaml" in refusal(tmp_path / "no.yaml")


def test_no_input_is_refused(tmp_path: Path) -> None:
    assert "inputs: " in refusal(save(tmp_path, inputs=[]))


def test_a_section_whose_options_are_all_commented_out_has_its_defaults(tmp_path: Path) -> None:
    assert load_config(save(tmp_path, weigh=None), environ={}).weigh == WeighOptions()


# Paths


def test_relative_paths_are_taken_from_the_files_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "jobs" / "my model").mkdir(parents=True)
    monkeypatch.chdir("/")
    path = save(
        tmp_path / "jobs",
        inputs=["a.jsonl", {"path": "../b/*.parquet", "subset": "b"}, "s3://bucket/c", "~/d", "hf://datasets/o/n"],
        run="../run",
        rules="rules.yaml",
        model="my model",
    )
    monkeypatch.setenv("HOME", "/home/zoe")
    config = load_config(path, environ={})
    assert [item.path for item in config.inputs] == [
        f"{tmp_path}/jobs/a.jsonl",
        f"{tmp_path}/b/*.parquet",
        "s3://bucket/c",
        "/home/zoe/d",
        "hf://datasets/o/n",
    ]
    assert config.inputs[1].subset == "b"
    assert (config.run, config.rules) == (f"{tmp_path}/run", f"{tmp_path}/jobs/rules.yaml")
    assert config.model == f"{tmp_path}/jobs/my model"


def test_relative_paths_of_flags_and_variables_are_taken_from_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "jobs").mkdir()
    monkeypatch.chdir(tmp_path)
    config = load_config(save(tmp_path / "jobs"), environ={"ENCORE_RAY_INPUTS": "x.jsonl"}, flags={"run": "here"})
    assert config.run == f"{tmp_path}/here"
    assert config.inputs[0].path == f"{tmp_path}/x.jsonl"


@pytest.mark.parametrize("inputs", ["a.jsonl", ["a.jsonl"], {"path": "a.jsonl"}, [{"path": "a.jsonl"}]])
def test_inputs_are_a_path_a_mapping_or_a_list_of_them(tmp_path: Path, inputs: Any) -> None:
    config = load_config(save(tmp_path, inputs=inputs), environ={})
    assert [item.path for item in config.inputs] == [f"{tmp_path}/a.jsonl"]


def test_a_model_is_a_folder_where_there_is_one_and_a_hub_id_otherwise(tmp_path: Path) -> None:
    (tmp_path / "owner" / "here").mkdir(parents=True)
    base = str(tmp_path)
    assert resolve_model("owner/here", base=base) == f"{tmp_path}/owner/here"
    assert resolve_model("owner/elsewhere", base=base) == "owner/elsewhere"
    assert resolve_model("./owner/elsewhere", base=base) == f"{tmp_path}/owner/elsewhere"
    assert resolve_model("a/b/c", base=base) == f"{tmp_path}/a/b/c"  # no hub id has two slashes
    assert resolve_model("s3://bucket/model", base=base) == "s3://bucket/model"


# The resolved configuration


@settings(max_examples=30)
@given(
    st.fixed_dictionaries(
        {
            "temperature": st.floats(1e-6, 1e6),
            "num_bins": st.none() | st.integers(2, 256),
            "clip": st.booleans(),
            "min_active": st.none() | st.floats(0, 1),
            "log_base": st.sampled_from(["e", "2"]),
        }
    ),
    st.text(st.characters(categories=["L", "N", "P", "Zs"]), min_size=1, max_size=20),
)
def test_the_resolved_configuration_loads_as_itself(tmp_path_factory: Any, weigh: dict[str, Any], name: str) -> None:
    folder = tmp_path_factory.mktemp("config")
    path = save(folder, inputs=[{"path": name, "subset": name}], weigh=weigh, tracking={"run_name": name})
    config = load_config(path, environ={})
    resolved = folder.parent / f"{folder.name}.yaml"  # in another folder: all its paths are absolute
    resolved.write_text(config.to_yaml(), encoding="utf-8")
    assert load_config(resolved, environ={}) == config


@pytest.mark.usefixtures("tracked")
def test_a_job_in_python_is_the_job_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("RAY_ADDRESS", "MLFLOW_TRACKING_URI", "ENCORE_RAY_CLUSTER_ENGINE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(tmp_path)
    values = {"inputs": ["a.jsonl"], "run": "run", "prepare": {"unit_pairs": 8}}
    assert make_config(values) == load_config(save(tmp_path, **values), environ={})


def test_python_values_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENCORE_RAY_WEIGH_TEMPERATURE", "7")
    monkeypatch.setenv("ENCORE_RAY_WEIGH_CLIP", "true")
    config = make_config({"inputs": "a", "run": "r", "weigh": {"temperature": 1}})
    assert (config.weigh.temperature, config.weigh.clip) == (1.0, True)


def test_every_option_says_what_it_means() -> None:
    for section in (JobConfig, *SECTIONS.values()):
        for name, field in section.model_fields.items():
            if name not in SECTIONS:
                assert field.description, f"{section.__name__}.{name}"
                assert field.description.endswith("."), f"{section.__name__}.{name}"


def test_options_do_not_change_after_they_are_checked() -> None:
    with pytest.raises(ValueError, match="frozen"):
        PrepareOptions().unit_pairs = 3
    assert ClusterOptions() == ClusterOptions()


def test_a_hanging_worker_is_ended_before_the_job_is(tmp_path: Path) -> None:
    assert ClusterOptions(no_progress_timeout_s=100).unit_timeout == 50
    assert ClusterOptions(no_progress_timeout_s=100, unit_timeout_s=99).unit_timeout == 99
    path = save(tmp_path, cluster={"no_progress_timeout_s": 100, "unit_timeout_s": 100})
    assert "unit_timeout_s: expected less than no_progress_timeout_s (100)" in refusal(path)


@pytest.mark.parametrize("key", ["run", "model", "judge", "rules"])
def test_an_empty_path_is_refused_and_not_the_folder_of_the_file(tmp_path: Path, key: str) -> None:
    """A variable that is set to nothing made the working folder the run folder."""
    job = tmp_path / "job.yaml"
    job.write_text("inputs: a\nrun: b\n")
    with pytest.raises(ConfigError, match=f"{key}: string should have at least 1 character"):
        load_config(job, environ={f"ENCORE_RAY_{key.upper()}": ""})


def test_what_is_no_section_is_refused_whatever_stands_over_it(tmp_path: Path) -> None:
    """A variable of the section replaced it, and nobody saw that its options were lost."""
    job = tmp_path / "job.yaml"
    job.write_text("inputs: a\nrun: b\nweigh: clip\n")
    with pytest.raises(ConfigError, match="weigh: input should be a valid dictionary"):
        load_config(job, environ={"ENCORE_RAY_WEIGH_TEMPERATURE": "1"})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("max_bad_fraction=0.5", "--set prepare.max_bad_fraction=0.5"),
        ("temperature=1", "--set weigh.temperature=1"),
        ("prepare.temperature=1", "--set weigh.temperature=1"),
        ("weigh.temprature=1", "--set weigh.temperature=1"),
        ("rulez=a.yaml", "--set rules=a.yaml"),
        ("weigh.temperature", "in one piece, as in --set weigh.temperature=VALUE"),
        ("foo=1", "unknown option (known: inputs"),
    ],
)
def test_an_option_that_is_none_is_answered_with_the_one_that_is_meant(given: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        assigned_values([given])
    assert said in str(refused.value)
