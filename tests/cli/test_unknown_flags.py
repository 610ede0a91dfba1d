"""A flag that a command does not have is answered with the one that is meant, of this command alone."""

import contextlib
import io

import pytest

from encore_ray.cli.app import ALL_COMMANDS, main
from encore_ray.cli.unknown_flags import flags_of

SAID = {
    "run job.yaml --overwirte": "run has no --overwirte: did you mean --overwrite?",
    "run job.yaml --limti=3": "run has no --limti: did you mean --limit?",
    "prepare --input a --run r --unit_pair 3": "prepare has no --unit_pair: did you mean --unit-pairs?",
    "run job.yaml --score-range unit": "behind --set, as --set weigh.score_range=unit.",
    "run job.yaml --score_range=unit": "behind --set, as --set weigh.score_range=unit.",
    "check job.yaml --clip": "behind --set, as --set weigh.clip=true.",
    "submit job.yaml --temperature": "behind --set, as --set weigh.temperature=VALUE.",
    "run job.yaml --cost-per-hour 3": "behind --set, as --set cost_per_hour=3.",
    "weigh --run r --limit 3": "weigh has no --limit, which run and submit have.",
    "compare --run r --scheme single": "compare has no --scheme, which weigh has.",  # a section's, and left out
    "check --config job.yaml": "check has no --config.",  # told by its place
    "weigh --run r --zzz": "weigh has no --zzz. `encore-ray weigh --help` has all of its flags.",
}


@pytest.mark.parametrize("words", SAID)
def test_the_answer_is_of_this_command(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words.split())
    assert ended.value.code == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert SAID[words] in " ".join(told.err.split())


@pytest.mark.parametrize("name", ALL_COMMANDS)
def test_the_flags_of_a_command_are_those_that_its_help_lists(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        main([name, "--help"])
    starts = (line.strip("|│ ").split() for line in said.getvalue().splitlines() if line.startswith(("|", "│")))
    listed = {word for words in starts for word in words[:2] if word.startswith("--")} - {"--help"}
    assert flags_of(ALL_COMMANDS[name]) >= listed
    assert {flag for flag in flags_of(ALL_COMMANDS[name]) if flag not in said.getvalue()} == set()


def test_a_value_of_the_wrong_kind_names_the_help_of_this_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["weigh", "--run", "r", "--temperature", "warm"])
    assert "encore-ray weigh --help" in capsys.readouterr().err
