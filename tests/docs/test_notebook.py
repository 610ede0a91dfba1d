"""The example notebook runs from its first cell to its last, and shows a table or a text where it ends in a value."""

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import ROOT

NOTEBOOK = ROOT / "examples" / "weights.ipynb"


def run_cell(source: str, names: dict[str, Any]) -> Any:
    """Run a cell; the value of its last line, as a notebook shows it."""
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, str(NOTEBOOK), "exec"), names)
    return eval(compile(ast.Expression(last.value), str(NOTEBOOK), "eval"), names) if last else None


def test_the_notebook_runs_from_its_first_cell_to_its_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert not any(cell.get("outputs") for cell in cells)  # they would grow old
    names: dict[str, Any] = {"__name__": "__main__"}
    shown = [run_cell(source, names) for source in sources]
    for value in shown:
        shows = getattr(value, "_repr_html_", None)
        assert value is None or len(shows() if shows else repr(value)) > 1
    tables = [type(value).__name__ for value in shown if hasattr(value, "_repr_html_")]
    assert tables == ["DataFrame", "Weights", "DataFrame", "DataFrame", "Weights", "EvaluatedRewards", "DataFrame"]
    assert names["rewards"].table.num_rows == 2000
