"""A writer that is killed at any instant leaves what was there before, or what it writes: no part, and no mixture."""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from encore_ray.files import durable
from encore_ray.passes.export.layouts import LAYOUTS, write_dataset
from encore_ray.storage import Folder

# What Python tells an audit hook of before it does so; writes into a file that is open have no event, and no name yet.
STEPS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate", "shutil.", "ctypes.dlopen")
TURN = {"role": "user", "content": "Say it."}


def pairs(word: str) -> Iterator[dict[str, object]]:
    for number in range(3):
        sides = {side: [{"role": "assistant", "content": f"{word} {side}"}] for side in ("chosen", "rejected")}
        yield {"pair_id": f"{word}-{number}", "prompt": [TURN], "index": number, **sides}


def dataset(layout: str) -> Callable[[Path, str], None]:
    def write(place: Path, word: str) -> None:
        records = (record for row in pairs(word) if (record := LAYOUTS[layout].record(row)) is not None)
        write_dataset(Folder(str(place)), records, layout=layout, margin=None, name="run")

    return write


def folder(place: Path, word: str) -> None:
    """As a model is exported: with files of other names each time."""
    with durable.replacing_folder(str(place / "model")) as unfinished:
        for name in ("config.json", f"of-{word}", "weights"):
            Path(unfinished, name).write_text(word * 1000)


WRITERS: dict[str, Callable[[Path, str], object]] = {
    "json": lambda place, word: Folder(str(place)).write_json("weights.json", [word] * 100),
    "bytes": lambda place, word: Folder(str(place)).write_atomic("report/report.html", word.encode()),
    "table": lambda place, word: Folder(str(place)).write_table("a.parquet", pa.table({word: [word] * 9})),
    "stream": lambda place, word: Folder(str(place)).write_stream("a", (word.encode() for _ in range(9))),
    "folder": folder,
    **{f"export {layout}": dataset(layout) for layout in LAYOUTS},
}


def state(place: Path) -> dict[str, bytes]:
    """All files that have a name of their own."""
    if (place / "state.json").exists():  # of a folder of `datasets`: it names the file that counts
        [listed] = json.loads((place / "state.json").read_text())["_data_files"]
        return {"rows": (place / listed["filename"]).read_bytes()}
    files = [path for path in place.rglob("*") if path.is_file()]
    names = [str(path.relative_to(place)) for path in files]
    return {name: (place / name).read_bytes() for name in sorted(names) if durable.TEMP_PREFIX not in name}


def killed_at(step: int, write: Callable[[], object]) -> bool:
    """Do it in a copy of this process that is killed before its step of this number; whether there was such a one."""
    number = os.fork()
    if number == 0:
        left = step

        def watch(event: str, args: object) -> None:
            nonlocal left
            if event.startswith(STEPS):
                left -= 1
                if not left:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(watch)
        write()
        os._exit(0)
    _, status = os.waitpid(number, 0)
    assert status in (0, signal.SIGKILL)
    return status != 0


@pytest.mark.parametrize("writer", WRITERS)
def test_a_writer_that_is_killed_leaves_the_old_or_the_new(tmp_path: Path, writer: str) -> None:
    write, states = WRITERS[writer], []
    for word in ("old", "new"):
        write(tmp_path / word, word)
        states.append(state(tmp_path / word))
    assert states[0] != states[1] and all(states)
    place, step = tmp_path / "place", 1
    write(place, "old")
    while killed_at(step, lambda: write(place, "new")):
        assert state(place) in states, f"killed before step {step}"
        write(place, "old")
        assert state(place) == states[0]
        step += 1
    assert step > 2 and state(place) == states[1]


@pytest.mark.parametrize("replaces", [True, False], ids=["exchanged", "renamed"])
def test_a_folder_is_replaced_whole_and_nothing_is_left_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replaces: bool
) -> None:
    if not replaces:
        monkeypatch.setattr(durable, "_exchange", lambda one, other: False)
    for word in ("old", "new"):
        folder(tmp_path, word)
        assert sorted(os.listdir(tmp_path / "model")) == ["config.json", f"of-{word}", "weights"]
    with pytest.raises(ValueError, match="no"), durable.replacing_folder(str(tmp_path / "model")):
        raise ValueError("no")
    assert os.listdir(tmp_path) == ["model"] and (tmp_path / "model" / "of-new").exists()
