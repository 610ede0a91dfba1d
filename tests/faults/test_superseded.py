"""A command that stands still while another takes its run folder over: it ends, and what the other wrote stays.

The other does the job by other options, so that whatever the first one still wrote would show.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from encore_ray.folder.driver.lock import driver_of
from encore_ray.storage import Folder
from tests.faults.plans import CommandPlan, Fault
from tests.faults.runs import BUCKET, Setup, make_setup, onto_store
from tests.object_store import Store
from tests.patience import PATIENCE_S

TERM_S = 3.0
NAME = "taken-over"
STRAY = f"{NAME}/quarantine/score/of-an-attempt-0123abcd.parquet"  # to be swept

COMMAND = f"""
import sys
from encore_ray.folder.driver import lock
lock.TERM_S = {TERM_S}
from encore_ray.cli import main
main(["run", *sys.argv[1:]])
"""
ANOTHER_WAY = ("--overwrite", "--set", "prepare.unit_pairs=8", "--set", "weigh.temperature=1")


def start(setup: Setup, plan: CommandPlan, folder: Path, *words: str) -> "tuple[subprocess.Popen[bytes], Path]":
    """The job as a command in this machine's place, and the file that takes what it says."""
    environment = {**os.environ, **setup.environment, **plan.write(folder, setup.run(NAME))}
    output = folder / "output"
    with output.open("wb") as handle:
        command = [sys.executable, "-c", COMMAND, str(setup.job(NAME)), *words]
        process = subprocess.Popen(command, stdout=handle, stderr=subprocess.STDOUT, env=environment)
    return process, output


@pytest.mark.timeout(PATIENCE_S)
@pytest.mark.parametrize(
    "step",
    [
        "delete pairs/_SUCCESS",
        "delete quarantine/score/*",
        "replace comparison.json",
    ],
)
def test_a_command_that_another_has_replaced_ends_by_name_and_touches_nothing(
    s3: Store, tmp_path: Path, step: str
) -> None:
    setup = onto_store(make_setup(tmp_path / "job", with_model=False, num_files=2), s3, s3.endpoint)
    s3.client.put_object(Bucket=BUCKET, Key=STRAY, Body=b"")
    fault = Fault(0, "driver", step, "before", 1, "stand_still")
    first, said = start(setup, CommandPlan([fault]), tmp_path / "first")
    try:
        while psutil.Process(first.pid).status() != psutil.STATUS_STOPPED:
            assert first.poll() is None, said.read_text()
            time.sleep(0.05)
        second, told = start(setup, CommandPlan(), tmp_path / "second", *ANOTHER_WAY)
        assert second.wait(PATIENCE_S) == 0, told.read_text()
        made = s3.objects(BUCKET)
        first.send_signal(signal.SIGCONT)
        code = first.wait(PATIENCE_S)
    finally:
        first.kill()
        first.wait()
    words = " ".join(said.read_text().split())
    assert code == 4, words
    assert f"stood still, for more than {TERM_S:g} s, and another one took over" in words
    assert "Traceback" not in words and words.count("encore-ray:") == 1
    assert s3.objects(BUCKET) == made
    assert driver_of(Folder(setup.run(NAME))) is None
