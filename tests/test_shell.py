"""A line to paste calls the programs of this installation; options are told in the words of who asked."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from encore_ray.shell import (
    Word,
    again,
    called,
    called_as,
    called_on_tables,
    command,
    option,
    options,
    reading_beside,
    to_paste,
)


def put(folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("#!/bin/sh\necho another\n")
    (folder / name).chmod(0o755)
    return folder


@pytest.mark.parametrize("elsewhere", [False, True], ids=["not found", "another one is found"])
@pytest.mark.parametrize("program", ["python", "encore-ray"])
def test_a_program_of_this_installation_is_named_by_its_path_where_the_shell_would_not_call_it(
    program: str, elsewhere: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    venv = put(tmp_path / "venv", "encore-ray")
    monkeypatch.setattr(sys, "executable", str(put(venv, "python3") / "python3"))
    others = put(tmp_path / "others", program)
    monkeypatch.setenv("PATH", str(others) if elsewhere else str(tmp_path))
    monkeypatch.chdir(tmp_path)
    script = "venv/python3" if program == "python" else "venv/encore-ray"
    assert command(program, "-c", "a b") == f"{script} -c 'a b'"
    monkeypatch.setenv("PATH", f"{venv}{os.pathsep}{others}")
    put(venv, "python")
    assert command(program, "x") == f"{program} x"
    assert command("ls", "x") == "ls x"  # no program of an installation


def test_the_line_that_loads_a_dataset_runs_as_it_is_pasted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", os.defpath)
    monkeypatch.chdir(tmp_path)
    line = command("python", "-c", "import pyarrow; print('loaded')")
    assert shlex.split(line)[0].startswith(os.path.dirname(sys.executable))
    assert subprocess.run(line, shell=True, capture_output=True, text=True, check=True).stdout == "loaded\n"


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
    with called_on_tables("weigh(scores", options={"scheme": "encore"}, chosen=None, rules=Word("rules")):
        assert told() == [
            "`rules`",
            "rules='my rules.yaml'",
            "chosen='{rule}_a', columns={'pair_id': 'uid'}",
            "`options={'score_range': 'unit'}`",
        ]
        call = "encore_ray.weigh(scores, options={'scheme': 'encore'"
        assert again(chosen="{rule}_a") == f"{call}}}, rules=rules, chosen='{{rule}}_a')"
        assert again(score_range="unit", section="weigh") == f"{call}, 'score_range': 'unit'}}, rules=rules)"
        assert to_paste(rules="r.yaml").endswith(", rules='r.yaml')")
        assert called() == "Python"


def test_a_table_whose_columns_nobody_names_is_to_be_called_as_ours() -> None:
    with called_as(["weigh", "--ratings", "x.csv"]), reading_beside():
        assert option("rules") == "a rules.yaml beside it"
        assert (
            again(chosen="{rule}_a", rejected="{rule}_b")
            == "rename {rule}_a as {rule}_chosen and {rule}_b as {rule}_rejected"
        )
        assert again(map={"pair_id": "uid"}) == "rename uid as pair_id"


def test_a_program_is_told_of_keys() -> None:
    assert option("overwrite", True) == "overwrite=True" and to_paste(overwrite=True) == "."
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
