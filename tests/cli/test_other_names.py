"""Flags of other tools are answered with ours, which are there."""

import pytest

from encore_ray.cli import COMMANDS, main
from encore_ray.cli.other_names import OURS
from encore_ray.cli.unknown_flags import flags_of
from encore_ray.config import JobConfig


@pytest.fixture(scope="module")
def flags() -> dict[str, set[str]]:
    return {name: flags_of(command) for name, command in COMMANDS.items()}


def test_every_answer_is_a_flag_or_an_option_and_no_other_name_is_one_of_a_command_that_it_answers(flags):
    everything = set().union(*flags.values())
    for names, ours in OURS.items():
        for answer in ours:
            flag, _, assignment = answer.partition(" ")
            assert flag in everything, answer
            if assignment:
                section, _, key = assignment.partition("=")[0].partition(".")
                assert key in JobConfig.model_fields[section].annotation.model_fields, answer
        for name in names:
            told = [command for command in flags if name not in flags[command] and flags[command] & {*ours}]
            assert told or ours[-1].startswith("--set"), name


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("run --model_name_or_path m", "run has no --model_name_or_path: it is --model here."),
        ("score --run r --Model-Name-Or-Path=m", "score has no --Model-Name-Or-Path: it is --model here."),
        ("evaluate --output_dir o", "evaluate has no --output_dir: it is --output here."),
        ("run --output_dir o", "run has no --output_dir: it is --run here."),
        ("run job.yaml --tau 2", "run has no --tau: it is --set weigh.temperature=NUMBER here."),
        ("fit_heads --max_length 512", "fit_heads has no --max_length: it is --max-tokens here."),
        ("train --lr 1e-5", "train has no --lr: it is --learning-rate here."),
    ],
)
def test_the_answer_names_ours(line, said, capfd):
    with pytest.raises(SystemExit) as ended:
        main(line.split())
    assert ended.value.code == 2
    assert said in " ".join(capfd.readouterr().err.split())
