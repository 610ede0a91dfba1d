"""Several commands in order, as one file says."""

from pathlib import Path

import pytest

from encore_ray.cli import main
from encore_ray.cli.app import parse
from encore_ray.cli.chain import read_steps
from encore_ray.errors import ConfigError


def chain(path: Path, text: str) -> int:
    path.write_text(text)
    with pytest.raises(SystemExit) as ended:
        main(["chain", str(path)])
    return int(ended.value.code or 0)


def test_a_step_is_the_command_that_one_would_type(tmp_path: Path) -> None:
    path = tmp_path / "chain.yaml"
    path.write_text("""
steps:
  - prepare: {input: [a.jsonl, my pairs.jsonl], run: run, unit_pairs: 32}
  - run job.yaml: {set: {weigh.temperature: 0.5, tracking.enabled: false}, overwrite: true, limit: null}
  - refine fit: {run: run, overwrite: false}
  - rules all
""")
    assert [step.words for step in read_steps(path)] == [
        ("prepare", "--input", "a.jsonl", "my pairs.jsonl", "--run", "run", "--unit-pairs", "32"),
        ("run", "job.yaml", "--set", "weigh.temperature=0.5", "--set", "tracking.enabled=false", "--overwrite"),
        ("refine", "fit", "--run", "run"),
        ("rules", "all"),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("steps: []", "expected the key `steps` alone"),
        ("steps: [rules]\nmore: 1", "expected the key `steps` alone"),
        ("- rules", "expected the key `steps` alone"),
        ("steps: [{rules: {}, status: {}}]", "step 1: expected one command"),
        ("steps: [{rules: [all]}]", "step 1: expected options by their names"),
        ("steps: [rules, chain other.yaml]", "step 2: a chain holds no other chain"),
        ("steps: [", "is not valid YAML"),
        ('steps: ["run job\'s.yaml"]', "step 1: .*No closing quotation"),
    ],
)
def test_what_is_no_list_of_steps_is_refused(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "chain.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        read_steps(path)


def test_steps_run_in_order_from_the_folder_of_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.yaml").write_text("[{name: kind, text: Be kind., higher_is: better, scale: {lo: 0, hi: 1}}]")
    assert chain(tmp_path / "chain.yaml", "steps: [rules, {inspect mine.yaml: {}}]") == 0
    said = capsys.readouterr().out
    assert said.index("1/2 encore-ray rules") < said.index("higher_is") < said.index("2/2 encore-ray inspect mine.yaml")
    assert "kind" in said.partition("2/2")[2]


def test_a_wrong_step_is_told_before_the_first_one_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert chain(tmp_path / "chain.yaml", "steps: [rules, {weigh: {run: r, heat: 1}}]") == ConfigError.exit_code
    told = capsys.readouterr()
    assert "Step 2 of 2: weigh has no --heat." in " ".join(told.err.split())
    assert "higher_is" not in told.out


def test_the_step_that_fails_is_named_and_ends_the_chain(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert chain(tmp_path / "chain.yaml", "steps: [inspect nothing.json, rules]") == ConfigError.exit_code
    told = capsys.readouterr()
    assert "Step 1 of 2:" in told.err
    assert "higher_is" not in told.out


def test_every_step_of_the_example_is_a_command() -> None:
    for step in read_steps(Path(__file__).parents[2] / "jobs" / "chain.yaml"):
        parse(step.words)


def test_a_chain_goes_on_from_its_own_folder_and_has_the_flags_of_the_screen_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "mine.yaml").write_text("[{name: kind, text: Be kind., higher_is: better, scale: {lo: 0, hi: 1}}]")
    assert chain(tmp_path / "chain.yaml", "steps: [rules, inspect mine.yaml]") == 0
    *_, result, why, line = capsys.readouterr().out.splitlines()
    assert result == "2 steps of chain.yaml are done. mine.yaml has 1 rule."
    assert why == "Next, see rules that others use:" and line.startswith("  cd .. && ")
    assert chain(tmp_path / "chain.yaml", "steps: [rules, inspect mine.yaml --json]") == ConfigError.exit_code
    told = capsys.readouterr()
    assert "Step 2 of 2: encore-ray inspect mine.yaml --json: --json, --quiet and" in " ".join(told.err.split())
    assert "higher_is" not in told.out
