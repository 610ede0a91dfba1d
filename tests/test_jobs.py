"""The job scripts and the example configuration are what they say they are."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from encore_ray.cli import COMMANDS
from encore_ray.cli.app import parse
from encore_ray.cli.chain import read_steps
from encore_ray.composition.weigh.schemes import SCHEMES
from encore_ray.config import SECTIONS, InputOptions, JobConfig, Section
from encore_ray.config.sources import load_config

ROOT = Path(__file__).parent.parent
SCRIPTS = sorted((ROOT / "jobs").glob("*.py"))
NAMED = {"select-rules": "select"}  # a script select.py would stand in for Python's own module of that name
EXAMPLE = ROOT / "jobs" / "example.yaml"


def defaults(section: type[Section]) -> dict[str, object]:
    return {name: field.default for name, field in section.model_fields.items() if not field.is_required()}


def test_the_example_loads_as_a_job():
    config = load_config(EXAMPLE, environ={})
    assert [item.path for item in config.inputs] == ["/data/my_pairs.jsonl", "/data/hh-rlhf/*.jsonl.gz"]
    assert [item.subset for item in config.inputs] == [None, "harmless"]


def test_the_example_names_every_key_of_a_job():
    example = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
    assert list(example) == list(JobConfig.model_fields)
    assert list(example["inputs"][1]) == list(InputOptions.model_fields)
    for name, section in SECTIONS.items():
        assert list(example[name]) == list(section.model_fields), name


def test_the_example_names_every_scheme_that_gives_rewards():
    told = EXAMPLE.read_text(encoding="utf-8").partition("  scheme:")[2].partition("  temperature:")[0]
    assert set(re.findall(r"\w+", told)) >= {scheme.name for scheme in SCHEMES if scheme.why_no_reward is None}


def test_the_example_shows_every_option_at_its_default():
    config = load_config(EXAMPLE, environ={})
    for name, section in SECTIONS.items():
        assert getattr(config, name).model_dump() == defaults(section), name


def test_the_papers_settings_are_commands():
    steps = read_steps(ROOT / "jobs" / "train-8b.yaml")
    options = [parse(step.words).options for step in steps]
    assert [each.objective for each in options] == ["regression", "bradley-terry", "multilabel"]
    assert [(each.epochs, each.learning_rate) for each in options] == [(1, 2e-5), (2, 2e-5), (3, 2e-5)]
    assert {(each.dtype, each.gradient_checkpointing) for each in options} == {("bfloat16", True)}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_job_script_opens_with_the_command_to_paste(script: Path):
    first, second, *_ = script.read_text(encoding="utf-8").splitlines()
    assert first == 'r"""ray job submit --address http://127.0.0.1:8265 --working-dir . -- \\'
    assert second.startswith(f"    python jobs/{script.name} ")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_job_script_answers_help_as_its_command(script: Path):
    command = NAMED.get(script.stem, script.stem)
    assert command in COMMANDS
    answer = subprocess.run([sys.executable, script, "--help"], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert f"encore-ray {command} " in answer.stdout
