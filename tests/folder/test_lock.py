"""One driver at a time works on a run folder, and a killed one does not block the next."""

import subprocess
import sys
from pathlib import Path

import pytest

from encore_ray.errors import ConfigError
from encore_ray.folder.lock import only_driver
from encore_ray.storage import Folder

HOLDER = """
import sys
from encore_ray.folder.lock import only_driver
from encore_ray.storage import Folder

with only_driver(Folder(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_driver_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    run = tmp_path / "run"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(run)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(ConfigError, match=f"Another process works on {run}"), only_driver(Folder(str(run))):
        pass
    holder.kill()
    holder.communicate()
    with only_driver(Folder(str(run))):
        pass


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    blocked = f"{tmp_path}/file/run"
    with pytest.raises(ConfigError, match=f"Cannot write to the run folder {blocked}"), only_driver(Folder(blocked)):
        pass
