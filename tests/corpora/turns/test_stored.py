"""Lists that are stored as text are read as lists, where a text spells out nothing else."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encore_ray.corpora.turns.stored import stored_list
from tests.corpora.prepared import assistant, prepare, user, write_as, write_jsonl

MESSAGES = [user('It\'s "so"?\nYes'), assistant("é\\n")]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (json.dumps(MESSAGES), MESSAGES),
        (json.dumps(MESSAGES, indent=2), MESSAGES),
        (f"  {MESSAGES!r}\n", MESSAGES),
        (str(np.array(MESSAGES, dtype=object)), MESSAGES),  # no comma between its items
        (json.dumps({"messages": MESSAGES, "model": "m"}), MESSAGES),
        (str({"messages": MESSAGES}), MESSAGES),
        (json.dumps([MESSAGES, MESSAGES]), [MESSAGES, MESSAGES]),
        ('["a", "b"]', ["a", "b"]),
        ("['a', 'b']", ["a", "b"]),
        (json.dumps([{"from": "human", "value": "a"}]), [{"from": "human", "value": "a"}]),
        (json.dumps(MESSAGES[0]), MESSAGES[:1]),
        (repr(MESSAGES[1]), MESSAGES[1:]),
        ('{"from": "gpt", "value": "a"}', [{"from": "gpt", "value": "a"}]),
        ('{"role": "admin", "name": "Bob"}', None),
        ('{"value": 1, "content": "a"}', None),
        ("['a' 'b']", None),
        ("[1, 2]", None),
        ("[]", None),
        ("{}", None),
        ('{"a": 1}', None),
        ('[{"a": 1}]', None),
        ("[a, b]", None),
        ("[" * 5000, None),
        ("[{'role': 'user'", None),
        ("['a', __import__('os')]", None),
    ],
)
def test_a_text_that_spells_out_a_list(text: str, value: Any):
    assert stored_list(text) == value


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
@pytest.mark.parametrize("spell", [json.dumps, repr])
def test_columns_of_stored_lists_are_read_as_lists_and_counted(tmp_path: Path, kind: str, spell: Any):
    row = {
        "prompt": spell([user("Hi")]),
        "chosen": spell([assistant("Hello.")]),
        "rejected": spell([assistant("No.")]),
    }
    done = prepare(write_as(tmp_path, kind, [row] * 3))
    assert done.pairs[0]["prompt"] == [user("Hi")]
    assert (done.pairs[0]["chosen"], done.pairs[0]["rejected"]) == ([assistant("Hello.")], [assistant("No.")])
    assert done.notes == {"lists_from_text": 9}


def test_several_responses_in_text_are_several(tmp_path: Path):
    row = {"prompt": "Hi", "chosen": '["a", "b"]', "rejected": '["c", "d"]'}
    done = prepare(write_jsonl(tmp_path / "a.jsonl", [row]))
    assert [pair["chosen"][0]["content"] for pair in done.pairs] == ["a", "b"]


def test_an_answer_that_is_a_list_stays_an_answer_among_others(tmp_path: Path):
    rows = [{"prompt": "Hi", "chosen": chosen, "rejected": "No."} for chosen in ('["a"]', "b", "c")]
    done = prepare(write_jsonl(tmp_path / "a.jsonl", rows))
    assert [pair["chosen"][0]["content"] for pair in done.pairs] == ['["a"]', "b", "c"]
    assert not done.notes


def test_half_a_surrogate_pair_in_a_stored_list_is_a_bad_row(tmp_path: Path):
    def side(reply: str) -> str:
        return json.dumps([user("Hi."), assistant(reply)])

    rows = [{"chosen": side("Yes."), "rejected": side("No.")}] * 2
    rows.append({"chosen": side("\ud83d"), "rejected": side("No.")})
    rows.append({"chosen": side("\ud83d\ude00 é"), "rejected": side("No.")})
    done = prepare(write_jsonl(tmp_path / "a.jsonl", rows))
    assert done.reasons == {"invalid_utf8": 1} and len(done.pairs) == 3
