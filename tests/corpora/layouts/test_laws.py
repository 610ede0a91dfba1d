"""Whatever stands in the rows of any layout: errors are ours, and rows in = rows kept + rows in quarantine."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encore_ray.corpora.files.columns import ColumnMap
from encore_ray.corpora.files.sources import InputSpec
from encore_ray.corpora.formats import LAYOUTS
from encore_ray.corpora.reading import BESIDE
from encore_ray.errors import ConfigError, DataError
from tests.corpora.layouts.published import PUBLISHED
from tests.corpora.prepared import assistant, prepare, user

WORDS = st.sampled_from(
    [
        "",
        " ",
        "yes",
        "4",
        "N/A",
        "model_a",
        "A>B",
        "\n\nHuman: a\n\nAssistant:",
        "[INST] a [/INST]",
        "<|im_start|>user\n",
        "Human: a",
        '["a", "b", "c"]',
        "[[1, 2]]",
        json.dumps([user("a"), assistant("b")]),
        str([user("a")]),
        "[{'role': 'user'}]",
    ]
)
ATOMS = st.none() | st.booleans() | st.integers(-3, 40) | st.floats() | WORDS | st.text(max_size=5)
MESSAGES = st.fixed_dictionaries(
    {},
    optional={
        "role": st.sampled_from(["user", "assistant", "system", "tool", "gpt", "human", "", None]),
        "content": ATOMS | st.lists(st.fixed_dictionaries({"type": WORDS, "text": ATOMS}), max_size=2),
        "from": WORDS,
        "value": ATOMS,
        "tool_calls": ATOMS,
        "name": ATOMS,
        "rank": ATOMS,
        "answer": ATOMS,
        "completion": ATOMS,
        "response": ATOMS,
        "annotations": ATOMS | st.dictionaries(st.sampled_from(["honesty", "helpfulness"]), ATOMS),
    },
)
VALUES = st.recursive(ATOMS | MESSAGES, lambda inner: st.lists(inner, max_size=3), max_leaves=5)


@st.composite
def spoiled_rows(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Good rows of one public data set, of which some have other values in some columns."""
    case = draw(st.sampled_from(PUBLISHED))
    rows = [*case.rows, *case.rows]
    for number in range(len(rows)):
        names = draw(st.lists(st.sampled_from([*rows[number], *BESIDE]), max_size=2))
        rows[number] = {**rows[number], **{name: draw(VALUES) for name in names}}
    return rows


def account(path: Path, spec: InputSpec | None = None) -> None:
    """`prepare` checks that every row is kept or in quarantine, and that the units hold the pairs that are counted."""
    said = str(path)
    try:
        prepare(spec or path)
    except (DataError, ConfigError) as error:
        said = str(error)
    assert str(path) in said or "No row in any input" in said


@given(rows=spoiled_rows())
def test_rows_of_any_layout_are_kept_or_quarantined(tmp_path_factory: pytest.TempPathFactory, rows: list[Any]):
    folder = tmp_path_factory.mktemp("law")
    path = folder / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    account(path)
    for name in sorted({layout.name for layout in LAYOUTS if layout.shapes.keys() <= rows[0].keys()}):
        account(path, InputSpec(str(path), format=name))
    try:
        pq.write_table(pa.Table.from_pylist(rows), folder / "a.parquet")
    except (pa.ArrowException, TypeError, OverflowError):
        return  # no table, or no Parquet file, has such columns
    account(folder / "a.parquet")


PLACES = st.sampled_from(["prompt", "question", "answers[0].text", "meta.a", "$.x[1]", "chosen"])


@given(
    rows=st.lists(
        st.dictionaries(st.sampled_from(["prompt", "question", "answers", "meta", "x", "chosen"]), VALUES), min_size=1
    ),
    columns=st.fixed_dictionaries(
        {"prompt": PLACES, "chosen": PLACES, "rejected": PLACES},
        optional={"winner": PLACES, "system": PLACES, "history": PLACES, "subset": PLACES, "id": PLACES},
    ),
)
def test_rows_of_any_mapping_are_kept_or_quarantined(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], columns: dict[str, str]
):
    path = tmp_path_factory.mktemp("mapped") / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    account(path, InputSpec(str(path), columns=ColumnMap.of(columns)))
