"""A command line to paste calls the programs of this installation."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from encore_ray.shell import command


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
