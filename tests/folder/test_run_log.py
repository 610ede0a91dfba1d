"""log.txt: what each command that worked on a run said, and how it ended."""

import logging
import re
import shlex
from pathlib import Path

import pytest

from encore_ray.cli import main
from encore_ray.engine.process.ending import heard_last, say_last
from encore_ray.errors import ClusterError, ConfigError
from encore_ray.folder.run_log import RunLog
from encore_ray.schema import LOG_FILE
from encore_ray.shell import called_as
from encore_ray.storage import Folder
from tests.cli.rated import save_rated

logger = logging.getLogger("encore_ray")
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ  "


def lines(folder: Folder) -> list[str]:
    """The log without its times, which every first line of a message has."""
    text = folder.read_bytes(LOG_FILE).decode()
    assert all(re.match(rf"{TIME}|{' ' * 22}", line) for line in text.splitlines())
    return [re.sub(TIME, "", line).strip() for line in text.splitlines()]


@pytest.fixture(params=["local", "store"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    return Folder(str(tmp_path / "run") if request.param == "local" else f"memory://{tmp_path.name}/run")


def test_a_log_has_the_command_its_notes_and_warnings_and_its_end(folder: Folder) -> None:
    for words in (["weigh", "--run", "my run"], ["compose"]):
        with called_as(words), RunLog(folder) as log:
            log.add("weigh on Ray")
            log.begin()
            logger.warning("%d units are slow", 2)
            logger.info("no news")
    found = lines(folder)
    assert [line.partition(" (")[0] for line in found[::4]] == [
        "=== encore-ray weigh --run 'my run'",
        "=== encore-ray compose",
    ]
    assert found[1:3] == ["weigh on Ray", "warning: 2 units are slow"]
    assert found[3].startswith("--- done after ") and len(found) == 8
    logger.warning("heard by nobody any more")
    assert len(lines(folder)) == 8


def test_a_command_that_did_not_begin_leaves_no_line_but_of_what_failed(folder: Folder) -> None:
    with RunLog(folder) as log:
        log.add("prepare: nothing to do, it stands")
    with pytest.raises(ConfigError), RunLog(folder):
        raise ConfigError("Rules differ.")
    assert not folder.exists(LOG_FILE)
    with pytest.raises(ClusterError), RunLog(folder):
        raise ClusterError("No cluster at http://me:planted@host answers.")
    assert lines(folder)[1] == "ClusterError: No cluster at http://host answers."
    with pytest.raises(ConfigError), RunLog(folder):
        raise ConfigError("Rules differ.")
    assert lines(folder)[4] == "ConfigError: Rules differ."  # a log that is there tells of refusals too


def test_a_defect_is_kept_with_where_it_comes_from(folder: Folder) -> None:
    with pytest.raises(ZeroDivisionError), RunLog(folder):
        raise ZeroDivisionError("a defect\x1b[2J")
    found = lines(folder)
    assert found[1:3] == ["ZeroDivisionError: a defect\\x1b[2J", "Traceback (most recent call last):"]
    assert "test_run_log.py" in found[3]


def test_the_last_words_of_a_process_that_ends_at_once_are_kept(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    log = RunLog(folder)
    with heard_last(log.break_off):
        say_last("A unit hangs.")
    assert lines(folder)[1] == "A unit hangs."


def test_a_local_log_has_each_line_at_once_and_a_store_is_asked_seldom(folder: Folder) -> None:
    with RunLog(folder, remote_every_s=60) as log:
        log.begin()
        assert folder.exists(LOG_FILE) == folder.is_local
    assert folder.exists(LOG_FILE)


def test_a_log_that_cannot_be_written_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / LOG_FILE).mkdir()
    with RunLog(Folder(str(tmp_path))) as log:
        log.begin()
        log.add("more")
    assert [record.getMessage().partition(": ")[0] for record in caplog.records] == [
        f"{tmp_path}/{LOG_FILE} cannot be written"
    ]


def test_a_warning_is_still_told_to_a_program_without_logging(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = logging.getLogger()
    before, root.handlers = root.handlers, []
    try:
        with RunLog(Folder(str(tmp_path))):
            logger.warning("Two drivers.")
    finally:
        root.handlers = before
    assert capsys.readouterr().err == "Two drivers.\n"


def test_commands_on_a_run_add_to_its_log_and_a_finished_one_again_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_rated(tmp_path, num_pairs=12)
    monkeypatch.chdir(tmp_path)
    commands = ["run job.yaml", "run job.yaml", "weigh --run run --scheme uniform", "evaluate --run run", "status run"]
    for words in commands:
        with pytest.raises(SystemExit):
            main(shlex.split(words))
    found = lines(Folder(str(tmp_path / "run")))
    begun = [line.partition(" (")[0] for line in found if line.startswith("=== ")]
    assert begun == ["=== encore-ray run job.yaml", "=== encore-ray weigh --run run --scheme uniform"]
    assert any(re.fullmatch(r"compose: done in \d+\.\d s", line) for line in found)
    assert found[-3].startswith("ResumeRefused: ") and found[-1].startswith("--- ended after ")
    assert found[-2].endswith("encore-ray weigh --run run --scheme uniform --overwrite")  # to paste
