"""The pass that CONTRIBUTING.md shows is one."""

import re
import sys
from pathlib import Path
from types import ModuleType

import pyarrow as pa
import pytest

from encore_ray.config import PrepareOptions
from encore_ray.corpora.sources import InputSpec, list_files
from encore_ray.folder import spec
from encore_ray.folder.spec import Pass
from encore_ray.folder.status import run_status
from encore_ray.folder.tables import table_units
from encore_ray.passes.prepare import Prepare
from encore_ray.storage import Folder
from tests.passes.doing import do

GUIDE = (Path(__file__).parent.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module of the example, with its row in the table of passes."""
    row, code = re.findall(r"^```python\n(.*?)^```$", GUIDE, flags=re.M | re.S)
    exec(row, names := {"Pass": Pass})
    monkeypatch.setattr(spec, "TURNS", names["TURNS"], raising=False)
    monkeypatch.setattr(spec, "PASSES", (*spec.PASSES, names["TURNS"]))
    module = ModuleType("turns")
    monkeypatch.setitem(sys.modules, "turns", module)  # where its dataclass looks for its annotations
    exec(code, vars(module))
    return module


def test_the_pass_in_the_guide_is_done_resumed_and_shown_in_status(tmp_path: Path, turns: ModuleType):
    corpus, run = tmp_path / "corpus.jsonl", Folder(str(tmp_path / "run"))
    corpus.write_text('{"prompt": "Who?", "chosen": "I.", "rejected": "You."}\n' * 3, encoding="utf-8")
    do(run, Prepare(list_files([InputSpec(str(corpus))]), PrepareOptions(unit_pairs=2)))
    assert do(run, turns.Turns()) == {"rows": 3, "turns": 3}
    made = pa.concat_tables([unit.read_all() for unit in table_units(run.path("turns"))])
    assert made["num_turns"].to_pylist() == [1, 1, 1]
    commits = run.child("turns/commits")
    before = {name: commits.read_bytes(name) for name in commits.names()}
    assert do(run, turns.Turns()) == {"rows": 3, "turns": 3}
    assert {name: commits.read_bytes(name) for name in commits.names()} == before
    assert len(before) == 2
    assert [(each.name, each.state) for each in run_status(run)][-1] == ("turns", "finished")
