"""Marks of units in work: one try at a time, and a second learns of the first."""

import os
from pathlib import Path

from encore_ray.folder.protocol.in_flight import InFlight
from encore_ray.storage import Folder


def test_a_mark_that_was_not_ended_names_the_process_that_left_it(tmp_path: Path) -> None:
    marks = InFlight(Folder(str(tmp_path / "attempts")))
    assert marks.begin("u1") is None
    assert str(marks.begin("u1")).startswith(f"process {os.getpid()} on ")  # the same process is no excuse
    assert marks.begin("u2") is None
    marks.end("u1")
    assert marks.begin("u1") is None


def test_a_new_driver_forgets_all(tmp_path: Path) -> None:
    marks = InFlight(Folder(str(tmp_path / "attempts")))
    marks.begin("u1")
    marks.clear()
    assert not (tmp_path / "attempts").exists()
    marks.clear()
    assert marks.begin("u1") is None
