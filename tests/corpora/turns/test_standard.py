"""Messages of others come to the one form of ours; what would change their meaning is refused by name."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from encore_ray.corpora.rows import BadRow
from encore_ray.corpora.turns.standard import standard
from encore_ray.schema import Reason
from tests.corpora.prepared import assistant, prepare, system, user, write_as, write_jsonl


@pytest.mark.parametrize(
    ("message", "expected", "counted"),
    [
        (user("a"), user("a"), {}),
        ({"from": "human", "value": "a"}, user("a"), {"roles_renamed": 1}),
        (
            {"from": "gpt", "value": "a", "weight": 1.0},
            assistant("a"),
            {"roles_renamed": 1, "message_keys_left_out": 1},
        ),
        ({"role": "developer", "content": "a"}, system("a"), {"roles_renamed": 1}),
        ({"role": "Model", "content": "a"}, assistant("a"), {"roles_renamed": 1}),
        ({**user("a"), "id": "m1", "name": "pat", "loss": False}, user("a"), {"message_keys_left_out": 3}),
        ({**assistant("a"), "tool_calls": [], "images": None, "name": ""}, assistant("a"), {}),
        ({"role": "user", "content": [{"type": "text", "text": "a"}]}, user("a"), {"content_parts_joined": 1}),
        (
            {"role": "user", "content": [{"type": "text", "text": "a "}, {"text": "b", "type": "text", "image": None}]},
            user("a b"),
            {"content_parts_joined": 1},
        ),
        ({"messages": [user("a")], "model": "m"}, [user("a")], {"message_keys_left_out": 1}),
        ({"role": "user", "content": ["a"]}, {"role": "user", "content": ["a"]}, {}),
        ({"llm_name": "m", "answer": "a"}, {"llm_name": "m", "answer": "a"}, {}),
        ("a", "a", {}),
    ],
)
def test_a_message_comes_to_role_and_content(message: Any, expected: Any, counted: dict[str, int]):
    notes: Counter[str] = Counter()
    assert standard(message, where="chosen", notes=notes) == expected
    assert +notes == counted


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({"role": "tool", "content": "5"}, Reason.TOOL_TURN),
        ({"from": "observation", "value": "5"}, Reason.TOOL_TURN),
        ({"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "add"}}]}, Reason.TOOL_TURN),
        ({**assistant("a"), "function_call": {"name": "add"}}, Reason.TOOL_TURN),
        ({"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image"}]}, Reason.PICTURE),
        ({"role": "user", "content": [{"type": "text", "text": "a", "image": "x.png"}]}, Reason.PICTURE),
        ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}, Reason.PICTURE),
        ({"role": "user", "content": [{"type": "input_audio"}]}, Reason.PICTURE),
        ({**user("a"), "images": ["x.png"]}, Reason.PICTURE),
        ({**assistant("a"), "reasoning_content": "Hm."}, Reason.WRONG_TYPE),
    ],
)
def test_what_a_pair_cannot_hold_is_refused_by_name(message: Any, reason: Reason):
    with pytest.raises(BadRow) as problem:
        standard([message], where="chosen", notes=Counter())
    assert problem.value.reason is reason


def test_messages_of_every_column_are_read_so(tmp_path: Path):
    row = {
        "prompt": [{"role": "developer", "content": "Be kind."}, {**user("Hi"), "id": 1}],
        "chosen": {"from": "gpt", "value": "Hello."},
        "rejected": [{"role": "assistant", "content": [{"type": "text", "text": "No."}]}],
    }
    done = prepare(write_jsonl(tmp_path / "a.jsonl", [row, {**row, "rejected": [{"role": "tool", "content": "5"}]}]))
    [pair] = done.pairs
    assert pair["prompt"] == [system("Be kind."), user("Hi")]
    assert (pair["chosen"], pair["rejected"]) == ([assistant("Hello.")], [assistant("No.")])
    assert done.notes == {"roles_renamed": 2, "message_keys_left_out": 1, "content_parts_joined": 1}
    assert done.reasons == {"tool_turn": 1}


@pytest.mark.parametrize("keys", [("role", "content"), ("from", "value")])
@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_messages_that_are_stored_as_a_list_a_key_are_messages(
    tmp_path: Path, keys: tuple[str, str], kind: str
) -> None:
    role, said = keys
    rows = [
        {
            side: {role: ["user", "assistant"], said: ["Hi", reply]}
            for side, reply in (("chosen", "a"), ("rejected", "b"))
        }
    ]
    (pair,) = prepare(write_as(tmp_path, kind, rows)).pairs
    assert (pair["prompt"], pair["chosen"], pair["rejected"]) == ([user("Hi")], [assistant("a")], [assistant("b")])


@pytest.mark.parametrize(
    "odd",
    [{"role": ["user"], "content": ["Hi", "a"]}, {"role": ["user"], "content": "Hi"}, {"role": [], "content": []}],
)
def test_lists_that_make_no_messages_go_to_quarantine(tmp_path: Path, odd: dict[str, Any]) -> None:
    good = {"role": ["user", "assistant"], "content": ["Hi", "a"]}
    done = prepare(
        write_as(tmp_path, "jsonl", [{"chosen": good, "rejected": odd}, *[{"chosen": good, "rejected": good}] * 2])
    )
    assert (len(done.pairs), len(done.quarantine)) == (2, 1)
