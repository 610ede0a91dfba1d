"""The pass that CONTRIBUTING.md shows is one, and a new module cannot escape the contracts that it tells of."""

import re
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pyarrow as pa
import pytest

from encore_ray.config import PrepareOptions
from encore_ray.corpora.files.sources import InputSpec, list_files
from encore_ray.folder import spec
from encore_ray.folder.reading.tables import table_units
from encore_ray.folder.spec import Pass
from encore_ray.folder.status import run_status
from encore_ray.passes.prepare import Prepare
from encore_ray.storage import Folder
from tests.passes.doing import do

ROOT = Path(__file__).parent.parent
GUIDE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
WHERE = {  # the only places that may import a library
    "ray": {"encore_ray.engine.on_ray", "encore_ray.passes.train", "encore_ray.submit"},
    "torch": {"encore_ray.models"},
    "mlflow": {"encore_ray.tracking"},
    "matplotlib": {"encore_ray.report"},
}


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


def modules(package: str) -> set[str]:
    """The modules and packages of a package, each by its whole name."""
    inside = (ROOT / package.replace(".", "/")).iterdir()
    names = {path.stem for path in inside if path.suffix == ".py" or (path / "__init__.py").exists()}
    return {f"{package}.{name}" for name in names - {"__init__"}}


@pytest.mark.parametrize("library", WHERE)
def test_every_module_is_under_the_contract_on_a_library_but_those_that_may_import_it(library: str):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    of_library = (each for each in contracts if library == each.get("forbidden_modules", [None])[0])
    named = set(next(of_library)["source_modules"])
    expected = modules("encore_ray")
    for place in WHERE[library]:
        package = place.rpartition(".")[0]
        if package != "encore_ray":
            expected = expected - {package} | modules(package)
    assert named == expected - WHERE[library]
