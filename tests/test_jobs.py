"""The job scripts and the example configuration are what they say they are. After a change of a command's help, or with
a new command and its row of WORDS: `python -m tests.test_jobs` writes the scripts."""

import dataclasses
import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest
import yaml

from encore_ray.cli import COMMANDS
from encore_ray.cli.app import parse
from encore_ray.cli.chain import read_steps
from encore_ray.cli.parsing import Command
from encore_ray.composition.weigh.schemes import SCHEMES
from encore_ray.config import SECTIONS, InputOptions, JobConfig, Section
from encore_ray.config.sources import load_config

ROOT = Path(__file__).parent.parent
JOBS = ROOT / "jobs"
EXAMPLE = JOBS / "example.yaml"

WORDS = {  # behind each command, in the line to paste
    "run": "jobs/example.yaml",
    "chain": "jobs/chain.yaml",
    "prepare": "--input /data/pairs.jsonl --run /data/run",
    "score": "--run /data/run --model /data/model",
    "rate": "--run /data/run --judge /data/judge",
    "weigh": "--run /data/run",
    "compose": "--run /data/run",
    "evaluate": "--run /data/run",
    "compare": "--run /data/run",
    "fit-heads": "--run /data/run --model /data/encoder --rules /data/rules.yaml --output /data/heads",
    "train": "--run /data/run --model /data/base --rules /data/rules.yaml --output /data/trained",
    "refine": "fit --run /data/run",
    "select": "--run /data/run --num-rules 5",
}
NEED_NO_CLUSTER = {
    *("demo", "check", "init", "report", "inspect", "status", "track", "export", "rules", "submit", "doctor"),
}
TEMPLATE = '''\
r"""ray job submit --address http://127.0.0.1:8265 --working-dir . -- \\
    python jobs/{script} {words}

{does}
Paths are those that every node sees. Further flags are those of `encore-ray {command}`; encore-ray is installed
on all nodes.
"""

import sys

from encore_ray.cli import main

if __name__ == "__main__":
    main(["{command}", *sys.argv[1:]])
'''


def script_name(command: str) -> str:
    """Of a command's script: select.py would stand in for Python's own module of that name."""
    return f"{'select-rules' if command == 'select' else command}.py"


def script_of(command: str) -> str:
    """A command's script: its first sentences are those of the command's help."""
    does = (COMMANDS[command].__doc__ or "").strip().partition("\n\n")[0]
    return TEMPLATE.format(script=script_name(command), words=WORDS[command], does=does, command=command)


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
    assert set(re.findall(r"\w+", told)) >= {scheme.name for scheme in SCHEMES if scheme.why_only_compared is None}


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


def test_every_command_that_does_a_pass_or_a_job_has_a_script_and_no_other():
    assert set(COMMANDS) == {*WORDS, *NEED_NO_CLUSTER}
    assert not {*WORDS} & NEED_NO_CLUSTER
    assert {name for name, command in COMMANDS.items() if "cluster" in _flags(command)} <= set(WORDS)
    assert {path.name for path in JOBS.glob("*.py")} == {script_name(command) for command in WORDS}


def _flags(command: type[Command]) -> set[str]:
    return {field.name for field in dataclasses.fields(command)}  # type: ignore[arg-type]


@pytest.mark.parametrize("command", WORDS)
def test_a_job_script_is_what_the_template_gives_for_its_command(command: str):
    assert (JOBS / script_name(command)).read_text(encoding="utf-8") == script_of(command)


@pytest.mark.parametrize("command", WORDS)
def test_the_command_to_paste_is_one(command: str):
    assert isinstance(parse([command, *shlex.split(WORDS[command])], COMMANDS), COMMANDS[command])


@pytest.mark.parametrize("command", WORDS)
def test_a_job_script_answers_help_as_its_command(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    script = str(JOBS / script_name(command))
    monkeypatch.setattr(sys, "argv", [script, "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(script, run_name="__main__")
    assert not ended.value.code
    assert f"encore-ray {command} " in capsys.readouterr().out


if __name__ == "__main__":
    for written in WORDS:
        (JOBS / script_name(written)).write_text(script_of(written), encoding="utf-8")
