"""Every command ends with its result in a sentence and with commands to paste, and tells its result as JSON."""

import json
import shlex
import sys
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from encore_ray.cli import main
from encore_ray.cli.app import ALL_COMMANDS
from encore_ray.cli.parsing import parse
from encore_ray.cli.screen import Screen
from encore_ray.console.ending import Ending, NextStep
from tests.cli.rated import save_rated

# In the order in which they are done, and keys of what each tells as its result. Those that need a model or a cluster
# are followed in tests/docs/test_followed.py and tested in tests/passes and tests/submit.
DONE: dict[str, set[str]] = {
    "check job.yaml": set(),
    "init rated.jsonl --output drafted.yaml": {"files", "found", "guessed"},
    "run job.yaml": {"run", "files", "weights", "metrics", "comparison", "prepared", "scored"},
    "run job.yaml --limit 20": {"estimate", "trial"},
    "prepare --input rated.jsonl --run other": {"pairs", "counts"},
    "weigh --scores run/scores --output weights.json": {"rules", "scheme"},
    "compose --scores run/scores --weights weights.json --output rewards": {"rewards", "counts"},
    "evaluate --rewards rewards --output evaluated": {"overall"},
    "compare --scores run/scores --output compared": {"schemes", "decision"},
    "weigh --run run": {"rules", "scheme"},
    "compose --run run": {"rewards", "counts"},
    "evaluate --run run": {"overall"},
    "compare --run run": {"schemes", "decision"},
    "select --run run --num-rules 1": {"selection", "counts"},
    "status run": {"run", "driver", "passes"},
    "inspect run": {"run", "passes", "weights.json", "metrics.json"},
    "inspect run/pairs": {"rows", "first_row"},
    "inspect run/quarantine": {"empty_field"},
    "inspect run/weights.json": {"rules"},
    "inspect rules.yaml": set(),
    "inspect job.yaml": {"inputs"},
    "export --run run --output exported": {"path", "written"},
    "inspect exported": {"rows", "first_row"},
    "inspect rated.jsonl": {"rows", "first_row"},
    "rules privacy": set(),
    "doctor": {"Python", "wrong"},
    "chain chain.yaml": set(),
}


COMPOSE = ("compose", "--scores", "run/scores", "--weights", "run/weights.json", "--output")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("endings")
    save_rated(folder, num_pairs=110, num_empty=1)
    (folder / "chain.yaml").write_text("steps: [rules, inspect rules.yaml]\n")
    return folder


def document(place: Path, words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """What a command writes to stdout, which must be one JSON document."""
    monkeypatch.chdir(place)
    with pytest.raises(SystemExit) as ended:
        main([*words.split(), "--json"])
    told = capsys.readouterr()
    assert not ended.value.code, told.err
    return json.loads(told.out)


@pytest.mark.parametrize("name", ALL_COMMANDS)
def test_a_command_tells_how_it_ended_and_takes_the_flags_of_the_screen(name: str) -> None:
    command = ALL_COMMANDS[name]
    assert get_type_hints(command.main)["return"] is Ending
    assert get_type_hints(command)["screen"] is Screen


@pytest.mark.parametrize("words", DONE)
def test_a_result_is_one_document_whose_next_steps_are_commands(
    words: str, place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = document(place, words, capsys, monkeypatch)
    assert found["command"] == words.split()[0]
    assert found["said"].endswith(".")
    assert DONE[words] <= {*(found["result"] if isinstance(found["result"], dict) else ())}
    for line in found["next"]:
        program, *step = shlex.split(line.partition(" > ")[0])
        if Path(program).name == "encore-ray":
            assert isinstance(parse(step, ALL_COMMANDS), ALL_COMMANDS[step[0]])
        else:
            assert program in (sys.executable, "ls")


def test_what_keeps_a_job_from_running_is_in_the_document_and_in_the_exit_code(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    with pytest.raises(SystemExit) as ended:
        main(["check", "job.yaml", "--set", "rules=nowhere.yaml", "--json"])
    told = capsys.readouterr()
    problems = {look["problem"] for look in json.loads(told.out)["result"] if look["problem"]}
    assert ended.value.code == 2
    assert problems == {f"Cannot read the rules in {place}/nowhere.yaml: no such file."}
    assert f"job.yaml is not ready: scores: {problems.pop()}" in told.err


def test_a_quiet_command_says_its_warnings_alone(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    for words, warns in (
        (["compare", "--scores", "run/scores", "--output", "quiet"], True),
        (["status", "run"], False),
    ):
        with pytest.raises(SystemExit):
            main([*words, "--quiet"])
        told = capsys.readouterr()
        assert told.out == ""
        assert all(line.startswith("! ") for line in told.err.splitlines()) and bool(told.err) == warns
    with pytest.raises(SystemExit):
        main(["rules", "-q"])
    assert capsys.readouterr().out.startswith("- name: ")  # what was asked for
    with pytest.raises(SystemExit) as ended:
        main(["status", "run", "-q", "-v"])
    assert ended.value.code == 2


def test_a_verbose_command_says_what_it_does_and_where_an_error_comes_from(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(place)
    for verbose in (False, True):
        caplog.clear()
        with pytest.raises(SystemExit):
            main([*COMPOSE, f"rewards-{verbose}", *(["-v"] if verbose else [])])
        told = [record.getMessage() for record in caplog.records if record.name == "encore_ray"]
        assert any(text.startswith("compose: ") and " committed after " in text for text in told) == verbose
        capsys.readouterr()
        with pytest.raises(SystemExit):
            main(["inspect", "nowhere", *(["-v"] if verbose else [])])
        assert ("Traceback" in capsys.readouterr().err) == verbose


def test_steps_are_shown_so_that_they_can_be_pasted(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setenv("COLUMNS", "75")
    with pytest.raises(SystemExit):
        main(["select", "--run", "run", "--num-rules", "1"])
    _, result, first, compare, second, export = capsys.readouterr().out.splitlines()[-6:]
    assert result == "Rules are selected for 110 pairs: run/selection. 110 of them are ties."
    assert first == "Next, see how often they agree with the labels:"
    assert compare.startswith("  ") and compare.endswith("encore-ray compare --run run")
    assert second == "Or write the pairs in the direction that they give them:"
    assert export.endswith("encore-ray export --run run --labels selection --output run-selected")


def test_an_ending_is_a_sentence_and_something_to_do() -> None:
    step = NextStep("look", "ls")
    for result, steps in (("no sentence", [step]), ("Done.", []), ("Done.", [step] * 3)):
        with pytest.raises(AssertionError):
            Ending(result, steps, None)


@pytest.mark.parametrize("format_", ["trl", "parquet", "datasets"])
def test_the_line_that_loads_a_dataset_loads_it(
    format_: str, place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("datasets")
    found = document(place, f"export --run run --format {format_} --output as-{format_}", capsys, monkeypatch)
    interpreter, flag, code = shlex.split(found["next"][0])
    assert (interpreter, flag) == (sys.executable, "-c")
    exec(compile(code, "pasted", "exec"), {})
    assert "num_rows: 110" in capsys.readouterr().out
