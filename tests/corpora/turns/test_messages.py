from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encore_ray.corpora.rows import BadRow
from encore_ray.corpora.turns.messages import check_conversation, messages_of, text_of, transcript_turns
from encore_ray.schema import Reason
from tests.corpora.prepared import assistant, system, user

CONTENT = st.text(min_size=1, max_size=9).filter(lambda text: not text.isspace() and "\n\n" not in f"{text}\n")


@given(contents=st.lists(CONTENT, min_size=1, max_size=5))
def test_a_transcript_keeps_every_character_of_its_turns(contents: list[str]):
    speakers = [("Human", "user"), ("Assistant", "assistant")]
    text = "".join(f"\n\n{speakers[i % 2][0]}: {content}" for i, content in enumerate(contents))
    assert transcript_turns(text, where="chosen") == [(speakers[i % 2][1], c) for i, c in enumerate(contents)]


def test_a_speaker_in_the_middle_of_a_line_starts_no_turn():
    text = "\n\nHuman: What is 'Human: x'?\n\nThink.\n\nAssistant:  A label.\nHuman: no."
    assert transcript_turns(text, where="chosen") == [
        ("user", "What is 'Human: x'?\n\nThink."),
        ("assistant", " A label.\nHuman: no."),
    ]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, Reason.MISSING_FIELD),
        (3, Reason.WRONG_TYPE),
        (" \n", Reason.EMPTY_FIELD),
        ("What is Human: a?", Reason.BAD_ROLES),
        ("\n\nHuman: a\n\nAssistant: ", Reason.EMPTY_FIELD),
    ],
)
def test_a_bad_transcript_says_why(value: Any, reason: Reason):
    with pytest.raises(BadRow) as problem:
        transcript_turns(value, where="chosen")
    assert problem.value.reason is reason


@pytest.mark.parametrize(
    ("value", "reason", "detail"),
    [
        (None, Reason.MISSING_FIELD, "chosen is missing"),
        ("text", Reason.WRONG_TYPE, "expected a list of messages, found str"),
        ([], Reason.EMPTY_FIELD, "no message"),
        ([user("a"), "b"], Reason.WRONG_TYPE, "message 2 of chosen"),
        ([{"content": "a"}], Reason.MISSING_FIELD, "expected a role"),
        ([{"role": 1, "content": "a"}], Reason.WRONG_TYPE, "expected a role, found 1"),
        ([{"role": "tool", "content": "a"}], Reason.BAD_ROLES, "found 'tool'"),
        ([{"role": "user"}], Reason.MISSING_FIELD, "content of message 1"),
        ([user("")], Reason.EMPTY_FIELD, "content of message 1"),
        ([user("a"), {**assistant("b"), "tool_calls": [1]}], Reason.WRONG_TYPE, "'tool_calls'"),
    ],
)
def test_a_bad_message_list_says_where_and_why(value: Any, reason: Reason, detail: str):
    with pytest.raises(BadRow, match=detail) as problem:
        messages_of(value, where="chosen")
    assert problem.value.reason is reason


def test_an_empty_system_turn_and_null_keys_are_no_fault():
    assert messages_of([system(""), {**user("a"), "name": None}], where="x") == [("system", ""), ("user", "a")]


def test_blank_text_is_empty_and_other_text_is_kept_whole():
    assert text_of(" a\t", where="prompt") == " a\t"
    with pytest.raises(BadRow, match="prompt is empty"):
        text_of("\t\n ", where="prompt")


@pytest.mark.parametrize(
    ("roles", "reason"),
    [
        ("ua", None),
        ("ssua", None),
        ("uaua", None),
        ("a", Reason.BAD_ROLES),
        ("uu", Reason.BAD_ROLES),
        ("uaa", Reason.BAD_ROLES),
        ("usa", Reason.BAD_ROLES),
        ("uau", Reason.LAST_TURN_NOT_ASSISTANT),
        ("s", Reason.LAST_TURN_NOT_ASSISTANT),
    ],
)
def test_roles_alternate_from_user_to_assistant_after_the_system(roles: str, reason: Reason | None):
    names = {"s": "system", "u": "user", "a": "assistant"}
    turns = [(names[role], "x") for role in roles]
    if reason is None:
        check_conversation(turns, where="chosen")
        return
    with pytest.raises(BadRow) as problem:
        check_conversation(turns, where="chosen")
    assert problem.value.reason is reason
