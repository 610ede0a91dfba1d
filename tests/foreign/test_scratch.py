"""What a killed command leaves of a table that it turned, the next one deletes; what another one works on it leaves."""

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from encore_ray.errors import ConfigError
from encore_ray.foreign.form.naming import Naming
from encore_ray.foreign.scratch import scratch_table
from encore_ray.foreign.table import score_table
from encore_ray.storage import Folder
from tests.foreign import shapes
from tests.patience import PATIENCE_S

if TYPE_CHECKING:
    from tests.object_store import Store

TURN = """
import sys
from encore_ray.foreign.form.naming import Naming
from encore_ray.foreign.table import score_table
from encore_ray.storage import Folder
with score_table(sys.argv[1], Naming(), rules=None, scratch=Folder(sys.argv[2])):
    print("turned", flush=True)
    sys.stdin.read()
"""

ENDED = """
import json
from encore_ray.folder.driver.process import Driver
print(json.dumps(Driver.this_process().to_json()))
"""


def begun(table: Path, scratch: Path) -> subprocess.Popen[str]:
    """A process that has turned a table, and holds it until its input ends."""
    words = [sys.executable, "-c", TURN, str(table), str(scratch)]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "turned\n"
    return process


def test_a_folder_of_a_killed_command_goes_and_one_that_is_in_use_stays(tmp_path: Path) -> None:
    shapes.text(shapes.frame(), tmp_path / "scores.csv")
    at_work = begun(tmp_path / "scores.csv", tmp_path)
    killed = begun(tmp_path / "scores.csv", tmp_path)
    killed.kill()
    killed.wait(PATIENCE_S)
    left = {path.name for path in tmp_path.glob(".tmp-*")}
    assert len(left) == 2
    with score_table(str(tmp_path / "scores.csv"), Naming(), rules=None, scratch=Folder(str(tmp_path))) as table:
        own = Path(table.uri).parent.name
        assert len({path.name for path in tmp_path.glob(".tmp-*")} - {own}) == 1
    (kept,) = tmp_path.glob(".tmp-*")
    assert (kept / "table").is_dir()
    at_work.communicate(timeout=PATIENCE_S)
    assert at_work.returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["scores.csv"]


def test_what_cannot_be_told_is_left_alone(tmp_path: Path) -> None:
    others = {".tmp-scores-0": "{}", ".tmp-scores-1": "no JSON", ".tmp-other": "{}"}
    for name, text in others.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "driver.json").write_text(text)
    with pytest.raises(ConfigError), scratch_table(Folder(str(tmp_path))):
        raise ConfigError("refused")
    assert {path.name for path in tmp_path.iterdir()} == {*others}


def test_a_folder_that_is_left_on_a_store_goes_too(s3: "Store") -> None:
    ended = subprocess.run([sys.executable, "-c", ENDED], capture_output=True, text=True, check=True)
    place = Folder("s3://runs/place")
    place.write_atomic(".tmp-scores-0/driver.json", ended.stdout.encode())
    place.write_atomic(".tmp-scores-0/table/00000.parquet", b"")
    with scratch_table(place) as folder:
        folder.write_atomic("00000.parquet", b"")
        assert len(place.names(kept=False)) == 1
        assert folder.uri.startswith(place.path(place.names(kept=False)[0]))
    assert place.names(kept=False) == place.names() == []
