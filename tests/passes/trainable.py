"""Small tables of pairs with ratings and a selection, for trainings."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from encore_ray.folder.reading.table_rules import RULES_METADATA
from encore_ray.passes.heads.labels import LabelledUnit, find_labels, labelled_units
from encore_ray.passes.train.rows import RowReader
from encore_ray.rules import Rule, RuleSet, Scale
from encore_ray.schema import (
    PAIR_FIELDS,
    SELECTION_LABEL,
    chosen_column,
    rejected_column,
    selected_column,
)
from encore_ray.storage import Folder

RULES = RuleSet([Rule("kind", "Kind.", "better", Scale(0, 4)), Rule("rude", "Rude.", "worse", Scale(-1, 1))])


def write_tables(folder: Path, *, num_units: int = 4, unit_pairs: int = 10) -> dict[str, str]:
    """Pairs, ratings and a selection; of each unit the third row is a single response, the fourth has no label.

    Ratings of `kind` are the row modulo 5 and 2, so that some pairs tie; of `rude` 1 and -1. The selection's label
    is the sign of kind's difference, and it selects rude in every other row.
    """
    places = {name: folder / name for name in ("pairs", "scores", "selection")}
    for unit in range(num_units):
        rows = [unit * unit_pairs + i for i in range(unit_pairs)]
        ids = [f"p{row}" for row in rows]
        pairs = [
            {
                "pair_id": f"p{row}",
                "content_id": f"c{row}",
                "prompt_id": f"q{row}",
                "prompt": turns("user", f"Question {row}?"),
                "chosen": turns("assistant", f"Good {row}."),
                "rejected": None if i == 2 else turns("assistant", f"Bad {row}."),
            }
            for i, row in enumerate(rows)
        ]
        labelled = np.array([i != 3 for i in range(unit_pairs)])
        kind = np.array([[row % 5, 2] for row in rows], dtype=np.float64)
        columns: dict[str, Any] = {"pair_id": ids}
        for rule, sides in (("kind", kind), ("rude", np.tile([1.0, -1.0], (unit_pairs, 1)))):
            for name, side in zip((chosen_column(rule), rejected_column(rule)), sides.T, strict=True):
                columns[name] = pa.array(side, mask=~labelled)
        selection = {
            "pair_id": ids,
            selected_column("kind"): pa.array([True] * unit_pairs),
            selected_column("rude"): pa.array([row % 2 == 1 for row in rows]),
            SELECTION_LABEL: pa.array(np.sign(kind[:, 0] - kind[:, 1]).astype(np.int8), mask=~labelled),
        }
        contents = {
            "pairs": pa.Table.from_pylist(pairs, schema=pa.schema(PAIR_FIELDS)),
            "scores": pa.table(columns),
            "selection": pa.table(selection).replace_schema_metadata({RULES_METADATA: json.dumps(RULES.to_list())}),
        }
        for name, content in contents.items():
            Folder(str(places[name])).write_table(f"unit-{unit}.parquet", content)
    return {name: str(place) for name, place in places.items()}


def turns(role: str, text: str) -> list[dict[str, str]]:
    return [{"role": role, "content": text}]


def reader(
    tables: dict[str, str], objective: Any, *, labels: str | None = None, rules: RuleSet = RULES
) -> tuple[list[LabelledUnit], RowReader]:
    """Of an objective, with labels of one of the tables."""
    units = labelled_units(tables["pairs"], tables[labels or "pairs"])
    places = find_labels([unit.labels for unit in units], rules) if labels == "scores" else None
    return units, RowReader(objective, rules, places, is_selected=labels == "selection")
