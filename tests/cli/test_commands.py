"""The command line without a cluster: help, mistakes, exit codes."""

import dataclasses
import json
import os
import re
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from encore_ray.cli import COMMANDS, main
from encore_ray.cli.app import ALL_COMMANDS
from encore_ray.cli.inputs import InputColumns
from encore_ray.cli.overview import GROUPS, first_sentence
from encore_ray.cli.parsing import SHELLS, parse
from encore_ray.cli.scores import ScoreColumns
from encore_ray.config import (
    ClusterOptions,
    FitHeadsOptions,
    PrepareOptions,
    RateOptions,
    RefineOptions,
    ScoreOptions,
    SelectOptions,
    TrainOptions,
    WeighOptions,
)
from encore_ray.folder.driver.lock import only_driver
from encore_ray.folder.pass_table import Commit, pass_tables
from encore_ray.rule_pools import rule_pool
from encore_ray.rules import RuleSet
from encore_ray.shell import command
from encore_ray.storage import Folder
from tests.patience import PATIENCE_S

SECTIONS = {
    "prepare": (PrepareOptions, ClusterOptions),
    "score": (ScoreOptions, ClusterOptions),
    "rate": (ScoreOptions, RateOptions, ClusterOptions),
    "weigh": (WeighOptions, ClusterOptions),
    "compose": (ClusterOptions,),
    "evaluate": (ClusterOptions,),
    "compare": (ClusterOptions,),
    "fit-heads": (FitHeadsOptions, ScoreOptions, ClusterOptions),
    "select": (SelectOptions, ClusterOptions),
    "refine": (RefineOptions, ClusterOptions),
    "train": (TrainOptions, ClusterOptions),
}
JOB = "inputs: [corpus.jsonl]\nrun: run\n"


@pytest.fixture(autouse=True)
def plain_terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A terminal of 100 columns without colours, an environment without our variables, and a folder of its own."""
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")
    for variable in ("RAY_ADDRESS", "MLFLOW_TRACKING_URI", "FORCE_COLOR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(tmp_path)


class Outcome:
    """What a command printed and its exit code."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *args: str):
        with pytest.raises(SystemExit) as caught:
            main(list(args))
        self.code = caught.value.code
        captured = capsys.readouterr()
        self.out, self.err = captured.out, captured.err

    @property
    def said(self) -> str:
        return " ".join((self.out + self.err).split())


def mistake(capsys: pytest.CaptureFixture[str], *args: str, code: int = 2) -> str:
    """The message of a command that must fail by the user's mistake: without a traceback, with nothing made."""
    before = sorted(Path.cwd().rglob("*"))
    outcome = Outcome(capsys, *args)
    assert outcome.code == code, outcome.said
    assert "Traceback" not in outcome.said
    assert outcome.out == ""
    assert sorted(Path.cwd().rglob("*")) == before
    return outcome.said


def test_a_mistyped_command_is_told_the_one_that_was_meant(capsys: pytest.CaptureFixture[str]) -> None:
    said = mistake(capsys, "wiegh", "--run", "x")
    assert "There is no command wiegh: did you mean weigh? `encore-ray --help` says what each does." in said
    said = mistake(capsys, "job.yaml")
    assert "There is no command job.yaml: the commands are demo, run, check, init, chain, prepare," in said


# Help


def help_lines(capsys: pytest.CaptureFixture[str], *args: str) -> list[str]:
    """The lines of a help page without the frames, which are drawn only where the terminal knows their characters."""
    outcome = Outcome(capsys, *args, "--help")
    assert outcome.code == 0
    lines = outcome.out.splitlines()
    assert max(map(len, lines)) <= 100
    return [line.strip("│|").rstrip() for line in lines]


def test_help_shows_every_command_once_on_one_screen(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert sorted(name for group in GROUPS.values() for name in group) == sorted(ALL_COMMANDS)
    lines = help_lines(capsys)
    assert len(lines) <= 20 and max(map(len, lines)) <= 80
    for title, group in GROUPS.items():
        assert sum(line.startswith(title) for line in lines) == 1
        for name, what in group.items():
            assert sum(bool(re.search(rf" {name} +{re.escape(what)}(\s|$)", line)) for line in lines) == 1, name


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("name", ALL_COMMANDS)
def test_help_of_a_command_is_no_wider_than_the_terminal(
    name: str, width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    lines = Outcome(capsys, name, "--help").out.splitlines()
    assert lines[0].startswith(f"usage: encore-ray {name} ")
    assert [line for line in lines if len(line) > width] == []
    told = " ".join(str(ALL_COMMANDS[name].__doc__).split())
    assert told in " ".join(" ".join(lines).split())  # all of it is there, whatever was folded


@pytest.mark.parametrize("name", ALL_COMMANDS)
def test_help_of_a_command_has_an_example_that_is_one(name: str) -> None:
    assert first_sentence(ALL_COMMANDS[name])
    (line,) = re.findall(r"^    Example: encore-ray (.*)$", str(ALL_COMMANDS[name].__doc__), flags=re.M)
    words = line.partition(" > ")[0].split()
    assert words[0] == name
    assert isinstance(parse(words, ALL_COMMANDS), ALL_COMMANDS[name])


def test_the_groups_of_a_help_end_with_those_that_all_commands_have(capsys: pytest.CaptureFixture[str]) -> None:
    titles = [line.strip("─-╭╮ ") for line in Outcome(capsys, "rate", "--help").out.splitlines() if " options " in line]
    assert [title for title in titles if title.endswith(" options")][-4:] == [
        "score options",
        "rate options",
        "output options",
        "cluster options",
    ]


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_completes_commands_and_flags(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    script = Outcome(capsys, "--completion", shell)
    assert script.code == 0
    assert "encore-ray" in script.out and "fit-heads" in script.out and "temperature" in script.out
    assert "encore-ray --completion SHELL: name yours" in mistake(capsys, "--completion", "csh")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_lists_every_flag_with_its_meaning(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines = help_lines(capsys, name)
    text = " ".join(" ".join(lines).split())
    assert text.count("None") == 0
    for section in SECTIONS.get(name, ()):
        for option, field in section.model_fields.items():
            assert f"--{option.replace('_', '-')} " in text
            assert str(field.description) in text
    sections = {"options", "api", "cluster", "heads", "select", "screen"}
    fields = vars(COMMANDS[name])["__dataclass_fields__"].keys() - sections
    if "columns" in fields:
        columns = InputColumns if "input" in fields or "data" in fields else ScoreColumns
        fields = fields - {"columns"} | {field.name for field in dataclasses.fields(columns)}
    for field in fields:
        flag = f"--{field.replace('_', '-')}"
        positional = {
            "config": "CONFIG.yaml",
            "data": "PATH",
            "file": "CHAIN.yaml",
            "path": "PATH",
            "run": "RUN",
            "runs": "RUN",
            "pool": "[{default,all",
            "step": "STEP",
        }.get(field, flag)
        starts = [
            number for number, line in enumerate(lines) if re.match(rf" +({flag}|{re.escape(positional)})\b", line)
        ]
        assert len(starts) == 1, field
        # The meaning stands beside the flag, or below where the flag fills the line.
        assert re.search(r"\S  +\S", lines[starts[0]]) or re.match(r" {10,}\S", lines[starts[0] + 1]), field


def test_help_answers_without_loading_heavy_libraries() -> None:
    heavy = ("ray", "torch", "transformers", "mlflow", "matplotlib", "scipy", "pandas", "pyarrow", "fsspec")
    code = (
        "import sys\nfrom encore_ray.cli import main\n"
        "try:\n    main(['score', '--help'])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        f"print(*[name for name in {heavy!r} if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    assert found.stdout.splitlines()[-1] == ""


def test_a_reader_that_leaves_early_is_no_bug() -> None:
    command = [sys.executable, "-m", "encore_ray.cli", "compare", "--help"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()  # as `| head` does
    said = process.stderr.read()
    assert (process.wait(), said) == (0, "")


def test_the_version_is_told_with_what_a_bug_report_needs(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = Outcome(capsys, "--version")
    assert outcome.code == 0
    assert outcome.out.splitlines()[0] == f"encore-ray {version('encore-ray')}"
    for name in ("Python", "system", "packages", f"ray {version('ray')}", f"torch {version('torch')}"):
        assert name in outcome.said


# Flags


def test_an_unknown_flag_or_command_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--temprature" in mistake(capsys, "weigh", "--run", "run", "--temprature", "1")
    assert "wiegh" in mistake(capsys, "wiegh")
    assert "--temperature" in mistake(capsys, "weigh", "--run", "run", "--temperature", "warm")
    assert "required" in mistake(capsys, "score").lower()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["weigh", "--run", "r", "--temperature", "-1"], "temperature: input should be greater than 0, found -1.0"),
        (["weigh", "--run", "r", "--edges", "quantile"], "no rule differs from another"),
        (["weigh", "--run", "r", "--levels", "--num-bins", "5"], "levels and num_bins exclude each other"),
        (["score", "--run", "r", "--model", "m", "--actors", "2,1"], "expected 1 <= MIN <= MAX, found 2,1"),
        (["prepare", "--run", "r", "--input", "a", "--unit-pairs", "0"], "unit_pairs: input should be greater than"),
        (["score", "--run", "r", "--model", "m", "--max-bad-fraction", "nan"], "must lie from 0 to 1, found nan"),
        (["rate", "--run", "r", "--judge", "m", "--max-bad-fraction", "5"], "must lie from 0 to 1, found 5.0"),
        (["select", "--run", "r", "--adapter", "m", "--max-bad-fraction", "-1"], "must lie from 0 to 1, found -1.0"),
        (["select", "--run", "r", "--adapter", "m", "--by", "scores"], "--by scores excludes --adapter"),
        (["compare", "--run", "r", "--beside", "uniform=r"], "--beside: uniform is a scheme or a baseline"),
        (["compare", "--run", "r", "--beside", "selected=r"], "--beside: selected is a scheme or a baseline"),
        (["compare", "--run", "r", "--beside", "a=r", "--beside", "a=s"], "--beside: a is named twice"),
        (["compare", "--run", "r", "--beside", "=r"], "expected NAME=REWARDS"),
    ],
)
def test_a_flag_with_a_value_that_cannot_be_is_refused(
    args: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in mistake(capsys, *args)


def test_a_variable_with_a_value_that_cannot_be_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENCORE_RAY_WEIGH_TEMPERATURE", "0")
    assert "environment, section weigh: temperature: " in mistake(capsys, "weigh", "--run", "r")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["weigh"], "weigh needs --run, or --scores and --output: {} weigh --run RUN"),
        (["weigh", "--scores", "s"], "--scores and --output: {} weigh --scores s --output weights.json"),
        (["weigh", "--run", "r", "--scores", "s"], "weigh takes --run, or --scores with --output, not both."),
        (["weigh", "--run", "r", "--output", "w.json"], "not both"),
        (["compose", "--scores", "s", "--output", "o"], "{} compose --scores s --output o --weights weights.json"),
        (["compose", "--run", "r", "--scores", "s"], "not both"),
        (["compose", "--run", "r", "--pairs", "p"], "with --run it takes the run's own pairs"),
        (["evaluate"], "evaluate needs --run, or --rewards and --output: {} evaluate --run RUN"),
        (["evaluate", "--run", "r", "--rewards", "w"], "not both"),
        (["compare", "--scores", "s"], "--scores and --output: {} compare --scores s --output comparison"),
    ],
)
def test_a_pass_takes_a_run_or_explicit_paths(args: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert said.format(command("encore-ray")) in mistake(capsys, *args)


# Paths


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (["run", "nowhere.yaml"], "nowhere.yaml"),
        (["run", "job.yaml"], "corpus.jsonl: no such file or folder"),
        (["prepare", "--run", "run", "--input", "corpus.jsonl", "other.jsonl"], "corpus.jsonl: no such file or folder"),
        (["score", "--run", "typo", "--model", "owner/model"], "No such file or folder: {cwd}/typo/pairs."),
        (["score", "--run", "typo", "--model", "./model"], "{cwd}/typo/pairs, {cwd}/model."),
        (["weigh", "--run", "typo"], "{cwd}/typo/scores"),
        (
            ["weigh", "--scores", "s.parquet", "--rules", "r.yaml", "--output", "w.json"],
            "{cwd}/s.parquet, {cwd}/r.yaml",
        ),
        (["compose", "--run", "typo"], "{cwd}/typo/scores, {cwd}/typo/weights.json"),
        (["compose", "--scores", "s", "--weights", "w.json", "--output", "o"], "{cwd}/s, {cwd}/w.json"),
        (["evaluate", "--run", "typo"], "{cwd}/typo/rewards"),
        (["compare", "--run", "typo"], "{cwd}/typo/scores"),
        (["export", "--run", "typo", "--output", "o"], "{cwd}/typo/rewards"),
        (
            ["fit-heads", "--run", "typo", "--model", "./model", "--rules", "r.yaml", "--output", "o"],
            "{cwd}/typo/pairs, {cwd}/model, {cwd}/r.yaml",
        ),
        (["inspect", "typo"], "{cwd}/typo"),
        (["status", "typo"], "{cwd}/typo is not a run folder"),
    ],
)
def test_a_missing_path_is_named_before_anything_starts(
    args: list[str], named: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "job.yaml").write_text(JOB)
    assert named.replace("{cwd}", str(tmp_path)) in mistake(capsys, *args)


LISTS = {"pair_id": ["a"], "chosen": [[1.0, 0.5]], "rejected": [[0.1, 0.5]]}
WEIGH = ("weigh", "--output", "w.json", "--scores")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (
            [*WEIGH, "notes.txt", "--rules", "rules.yaml"],
            r"notes\.txt: unknown kind of file; expected a name that ends",
        ),
        ([*WEIGH, "empty", "--rules", "rules.yaml"], r"No such file or folder: .*empty\."),
        ([*WEIGH, "folder", "--rules", "rules.yaml"], r"folder: no file below it ends in \.parquet, \.arrow"),
        (
            [*WEIGH, "lists.parquet", "--rules", "rules.yaml"],
            r"lists\.parquet: column chosen has lists of 2 scores, and there is 1 rule: kind",
        ),
        ([*WEIGH, "lists.parquet", "--rules", "folder"], r"folder: it is a folder\. Name the file in it"),
        (
            ["weigh", "--output", "folder", "--scores", "good.parquet", "--rules", "rules.yaml"],
            r"folder is a folder\. Name a file for the weights",
        ),
        (
            ["compose", "--scores", "good.parquet", "--weights", "folder", "--output", "o"],
            r"folder is a folder, where a file belongs",
        ),
        (["run", "folder"], r"folder: it is a folder\. Name the file in it"),
        (["run", "open.yaml"], r"open\.yaml has no value in line 2 yet, 'model: \?': fill it in, or leave it out"),
    ],
)
def test_an_error_names_what_is_there_and_not_what_is_expected_alone(
    args: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "kept.txt").write_text("")
    (tmp_path / "rules.yaml").write_text("- {name: kind, text: K., higher_is: better, scale: {lo: 0, hi: 1}}\n")
    (tmp_path / "notes.txt").write_text("pair_id,chosen__kind,rejected__kind\na,1,0\n")
    (tmp_path / "open.yaml").write_text("inputs: [corpus.jsonl]\nmodel: ?\nrun: run\n")
    pq.write_table(pa.table(LISTS), tmp_path / "lists.parquet")
    pq.write_table(pa.table({"pair_id": ["a"], "chosen__kind": [0.7], "rejected__kind": [0.2]}), "good.parquet")
    with pytest.raises(SystemExit) as exited:
        main(args)
    assert exited.value.code in (2, 3)
    assert re.search(said, " ".join(capsys.readouterr().err.split()))


def test_every_value_that_cannot_be_refined_with_is_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--per-rule", "--noise", "0.5", "--negatives", "0", "--batch-responses", "1", "--seed", str(2**63)]
    flags += ["--cpus", "0", "--gpus", "2"]
    said = mistake(capsys, "refine", "fit", "--run", "run", *flags)
    for option in ("noise.0", "negatives", "batch_responses", "seed", "cpus", "gpus"):
        assert f"{option}: input should be " in said
    assert "--per-rule does not go with --noise" in mistake(
        capsys, "refine", "fit", "--run", "run", "--per-rule", "--noise", "0.2"
    )
    assert "does not go with apply" in mistake(capsys, "refine", "apply", "--run", "run", "--per-rule")


def test_a_missing_model_or_rules_file_of_a_job_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "corpus.jsonl").write_text('{"prompt": "a", "chosen": "b", "rejected": "c"}\n')
    (tmp_path / "job.yaml").write_text(f"{JOB}model: ./model\n")
    assert f"No such file or folder: {tmp_path}/model." in mistake(capsys, "run", "job.yaml")
    (tmp_path / "job.yaml").write_text(f"{JOB}rules: rules.yaml\n")
    assert f"Cannot read the rules in {tmp_path}/rules.yaml" in mistake(capsys, "run", "job.yaml")


def test_every_mistake_of_a_configuration_is_told_at_once(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(f"{JOB}weigh: {{temprature: 1, num_bins: 1}}\n")
    said = mistake(capsys, "run", "job.yaml", "--set", "score.actors=0")
    assert "weigh.temprature: unknown key (known: scheme, temperature," in said
    assert "weigh.num_bins: input should be greater than or equal to 2, found 1" in said
    assert "actors: expected 1 <= MIN <= MAX, found 0" in said


def test_an_assignment_that_is_none_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(JOB)
    assert "weigh.temperature: expected OPTION=VALUE" in mistake(
        capsys, "run", "job.yaml", "--set", "weigh.temperature"
    )


@pytest.mark.parametrize(
    "words",
    [
        "run job.yaml --set a=1 --set b.c=2",
        "run job.yaml --set a=1 b.c=2",
        "run --set a=1 b.c=2 job.yaml",
        "run --set=a=1 b.c=2 --limit 3 job.yaml",
        "run --limit 3 --set a=1 job.yaml --set b.c=2",
    ],
)
def test_one_set_takes_several_assignments(words: str) -> None:
    command: Any = parse(words.split(), ALL_COMMANDS)
    assert (command.config, command.set) == ("job.yaml", ["a=1", "b.c=2"])


# Exit codes


def test_broken_data_exits_3(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "weights.json").write_text("{")
    assert "weights.json is not valid JSON" in mistake(capsys, "inspect", "weights.json", code=3)


def test_brackets_in_a_message_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert "/[bold]x[/] is not a run folder" in mistake(capsys, "status", "[bold]x[/]")


def test_a_defect_of_ours_exits_1_with_its_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: object, console: object) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(COMMANDS["status"], "main", broken)
    outcome = Outcome(capsys, "status", "run")
    assert outcome.code == 1
    assert "Traceback" in outcome.err
    assert "ZeroDivisionError: a defect" in outcome.err
    assert "this is a bug in encore-ray" in outcome.err


def test_an_interrupt_exits_130_and_a_termination_143(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from encore_ray.errors import Terminated

    for interrupt, code in ((KeyboardInterrupt, 130), (Terminated, 143)):

        def interrupted(self: object, console: object, interrupt: type[BaseException] = interrupt) -> None:
            raise interrupt

        monkeypatch.setattr(COMMANDS["status"], "main", interrupted)
        outcome = Outcome(capsys, "status", "run")
        assert outcome.code == code
        assert "Traceback" not in outcome.said


# Commands that need no cluster


def test_export_says_what_it_wrote(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    turn = {"role": "user", "content": "Hi."}
    row = {"pair_id": "a", "prompt": [turn], "chosen": [{**turn, "role": "assistant"}], "margin": -1.0}
    (tmp_path / "run" / "rewards").mkdir(parents=True)
    pq.write_table(
        pa.Table.from_pylist([{**row, "rejected": row["chosen"]}]), tmp_path / "run" / "rewards" / "x.parquet"
    )
    outcome = Outcome(capsys, "export", "--run", "run", "--output", "out", "--on-negative-margin", "swap")
    assert outcome.code == 0
    written = f"1 pairs written to {tmp_path}/out/train.jsonl; 1 with a negative margin, swapped."
    assert outcome.said.startswith(f"{written} No margins are written: ")
    assert "margin" not in json.loads((tmp_path / "out" / "train.jsonl").read_text())
    more = ("--overwrite", "--margin", "as-loss")
    outcome = Outcome(capsys, "export", "--run", "run", "--output", "out", "--on-negative-margin", "swap", *more)
    assert json.loads((tmp_path / "out" / "train.jsonl").read_text())["margin"] == 1.0
    assert "There is a dataset already" in mistake(capsys, "export", "--run", "run", "--output", "out")
    assert Outcome(capsys, "export", "--run", "run", "--output", "out", *more).code == 0
    assert json.loads((tmp_path / "out" / "train.jsonl").read_text())["margin"] == -1.0
    assert "invalid choice" in mistake(capsys, "export", "--run", "run", "--output", "out2", "--format", "csv")


def test_rules_prints_a_pool_that_is_a_rules_yaml(capsys: pytest.CaptureFixture[str]) -> None:
    assert RuleSet.from_yaml(Outcome(capsys, "rules").out) == rule_pool("default")
    assert RuleSet.from_yaml(Outcome(capsys, "rules", "all").out) == rule_pool("all")


def test_a_text_that_the_locale_cannot_write_ends_no_command(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(
        "- {name: r, text: Ne blesse personne – jamais, higher_is: better, scale: {lo: 0, hi: 1}}"
    )
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "encore_ray.cli", "inspect", str(tmp_path / "rules.yaml")]
    done = subprocess.run(command, env=environment, capture_output=True, timeout=PATIENCE_S)
    assert done.returncode == 0 and "personne – jamais" in done.stdout.decode()


def test_compose_reads_weights_only_once_nobody_else_writes_them(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "scores").mkdir()
    (tmp_path / "weights.json").write_text("{")
    with only_driver(Folder(str(tmp_path))), pytest.raises(SystemExit) as ended:
        main(["compose", "--run", str(tmp_path)])
    assert ended.value.code == 2
    assert "Another process works on" in " ".join(capsys.readouterr().err.split())


def test_inspect_explains_a_table(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1]}), tmp_path / "t.parquet")
    outcome = Outcome(capsys, "inspect", "t.parquet")
    assert outcome.code == 0
    assert f"{tmp_path}/t.parquet: 1 rows" in outcome.said


def test_status_fits_80_columns(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    now = time.time() - 60
    for name, table in pass_tables(Folder(str(tmp_path / "run"))).items():
        opened = table.open({})
        table.announce(num_units=1000, rows=1_000_000)
        for number in range(2):
            counts = {"rows": 1024, "quarantined": 1}
            record = Commit(f"u{number}", opened.plan, "d", (), None, counts, {}, 1.0, now + number)
            table.folder.create_once(opened.record(f"u{number}", "d"), record.to_json())
        if name == "score":
            break
    outcome = Outcome(capsys, "status", "run")
    assert outcome.code == 0
    *table, driver, _, result, _, _ = outcome.out.splitlines()
    assert driver == "No command works on it now."
    assert result == "prepare has done 2,048 of 1,000,000 rows, and no command works on it now."
    lines = [line.split() for line in table]
    assert [line[0] for line in lines] == ["pass", "prepare", "score", "weigh", "compose", "evaluate", "compare"]
    # 1024 rows in the second between the two commits; 1,000,000 - 2,048 are left: 974 s.
    assert lines[2][:9] == ["score", "unfinished", "2/1,000", "2,048/1,000,000", "1,024", "16", "min", "15", "s"]
    assert lines[3] == ["weigh", "not", "started"]
    assert "…" not in outcome.out


CRASHES_AT_ITS_END = """
import atexit, os, signal, sys
atexit.register(os.kill, os.getpid(), signal.SIGSEGV)
sys.argv = ["encore-ray", "weigh", "--scores", "s.parquet", "--rules", "rules.yaml", "--output", "w.json"]
sys.argv += ["--engine", "ray", "--address", "127.0.0.1:9", "--num-bins", "5"]
from encore_ray.cli import program
program()
"""


def test_what_crashes_while_the_interpreter_ends_does_not_hide_that_the_cluster_failed(tmp_path: Path) -> None:
    pq.write_table(pa.table({"pair_id": ["a"], "chosen__a": [0.5], "rejected__a": [0.25]}), tmp_path / "s.parquet")
    (tmp_path / "rules.yaml").write_text("- {name: a, text: a, higher_is: better, scale: {lo: 0, hi: 1}}\n")
    done = subprocess.run(
        [sys.executable, "-c", CRASHES_AT_ITS_END], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert done.returncode == 4, done.stderr
    assert "Nobody answers at the Ray cluster 127.0.0.1:9" in " ".join(done.stderr.split())
    assert "joins the Ray at 127.0.0.1:9" in done.stdout
