"""Of columns that fit no layout it is proposed what they hold; what is proposed is read."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from encore_ray.check.sample import take_sample
from encore_ray.config import InputOptions, PrepareOptions
from encore_ray.corpora.files.sources import list_files
from encore_ray.corpora.inputs import input_specs
from encore_ray.corpora.layouts.proposed import propose
from encore_ray.corpora.values import shape_of
from encore_ray.errors import DataError

A, B = "Yes, so.", "No, not so."


@pytest.mark.parametrize(
    ("row", "flags"),
    [
        (
            {"question": "Why?", "answer_a": A, "answer_b": B, "label": "a"},
            "prompt=question chosen=answer_a rejected=answer_b winner=label",
        ),
        (
            {"user_input": "Why?", "responseA": A, "responseB": B, "Preference": "B"},
            "prompt=user_input chosen=responseA rejected=responseB winner=Preference",
        ),
        (
            {"query": "Why?", "output 1": A, "output 2": B, "better": 1},
            "prompt=query 'chosen=output 1' 'rejected=output 2' winner=better --chosen-if 1",
        ),
        (
            {"query": "Why?", "reply0": A, "reply1": B, "choice": 0},
            "prompt=query chosen=reply0 rejected=reply1 winner=choice --chosen-if 0",
        ),
        (
            {"prompt": "Why?", "left_answer": A, "right_answer": B, "vote": True},
            "prompt=prompt chosen=left_answer rejected=right_answer winner=vote --chosen-if VALUE",
        ),
        (
            {"task": "Why?", "good answer": A, "bad answer": B, "score": 1.5},
            "prompt=task 'chosen=good answer' 'rejected=bad answer'",
        ),
        (
            {"problem": "Why?", "preferred": A, "dispreferred": B},
            "prompt=problem chosen=preferred rejected=dispreferred",
        ),
        ({"query": "Why?", "answer_1": A, "answer_2": B}, "prompt=query chosen=answer_1 rejected=answer_2"),
        ({"question": "Why?", "model_answer": A}, "prompt=question response=model_answer"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_proposed_is_what_the_columns_hold_and_is_read(row: dict[str, Any], flags: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(f"{json.dumps(row)}\n" * 3)
    with pytest.raises(DataError) as refused:
        take_sample(list_files(input_specs([InputOptions(path=str(path))])), PrepareOptions())
    (said,) = re.findall(r"`--map ([^`]+)`", str(refused.value))
    assert said == flags
    assert ("winner=COLUMN" in str(refused.value)) == ("answer_1" in row and "winner=" not in flags)
    words = shlex.split(flags.replace("VALUE", "true"))
    columns = dict(word.split("=") for word in words if "=" in word)
    chosen_if = words[-1] if "--chosen-if" in words else None
    mapped = InputOptions(path=str(path), columns=columns, chosen_if=chosen_if)
    sample = take_sample(list_files(input_specs([mapped])), PrepareOptions())
    assert sample.pairs is not None and sample.pairs.num_rows == 3
    if "rejected" in columns:
        (better,) = {turns[0]["content"] for turns in sample.pairs.column("chosen").to_pylist()}
        assert better == (B if row.get("Preference") == "B" else A)


@pytest.mark.parametrize(
    "row",
    [
        {"x": "Why?", "y": A, "z": B},
        {"question": "Why?", "score_a": 1.0, "score_b": 2.0},
        {"question": "Why?", "good": A, "score": 1.5, "bad": ["c"]},
        {"answer": A},
        {},
    ],
    ids=str,
)
def test_where_no_name_tells_it_nothing_is_proposed(row: dict[str, Any]) -> None:
    assert propose({name: shape_of(value) for name, value in row.items()}) is None
