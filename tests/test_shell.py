"""A person is told of options in the words in which they gave others: flags, arguments, keys of a file."""

import shlex

import pytest

from encore_ray.shell import again, called, called_as, called_on_tables, option, options


def told() -> list[str]:
    return [
        option("rules"),
        option("rules", "my rules.yaml"),
        options(chosen="{rule}_a", map={"pair_id": "uid"}),
        option("score_range", "unit", section="weigh"),
    ]


def test_a_command_is_told_of_flags() -> None:
    with called_as(["weigh", "--scores", "x.csv"]):
        assert told() == [
            "--rules", "--rules 'my rules.yaml'", "--chosen '{rule}_a' --map pair_id=uid", "--score-range unit",
        ]  # fmt: skip


def test_a_command_on_a_jobs_file_is_told_what_sets_its_options() -> None:
    with called_as(["run", "job.yaml"]):
        assert option("score_range", "unit", section="weigh") == "--set weigh.score_range=unit"


def test_a_function_is_told_of_arguments() -> None:
    with called_on_tables("weigh"):
        assert told() == [
            "`rules`",
            "rules='my rules.yaml'",
            "chosen='{rule}_a', columns={'pair_id': 'uid'}",
            "`options={'score_range': 'unit'}`",
        ]
        assert again(chosen="{rule}_a") == "encore_ray.weigh(scores, chosen='{rule}_a')"
        assert called() == "Python"


def test_a_program_is_told_of_keys() -> None:
    assert option("score_range", "unit", section="weigh") == "weigh.score_range: unit"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("weigh --scores x.csv", "weigh --scores x.csv --rules r.yaml --map pair_id=uid --overwrite"),
        (
            "weigh --rules old.yaml --overwrite --scores x.csv --map subset=kind pair_id=id --clip",
            "weigh --scores x.csv --clip --rules r.yaml --map subset=kind pair_id=uid --overwrite",
        ),
        ("weigh --rules=old.yaml --map=a=b", "weigh --rules r.yaml --map a=b pair_id=uid --overwrite"),
    ],
)
def test_a_command_is_given_again_with_other_options(words: str, expected: str) -> None:
    with called_as(words.split()):
        line = shlex.split(again(rules="r.yaml", map={"pair_id": "uid"}, overwrite=True))
    assert line[1:] == expected.split()
