"""Conversations of many pairs at once are what each is by itself, and ids follow their content and nothing else."""

import hashlib
import json

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encore_ray.corpora.pairing.conversations import (
    Conversations,
    between_quotes,
    content_ids,
    short_hashes,
    single_turns,
)
from encore_ray.corpora.turns.transcripts import Turn
from encore_ray.schema import MESSAGES

TEXTS = st.text() | st.sampled_from(['a "quote"', "back\\slash", "".join(map(chr, range(128))), "%s %b %", '\\"'])
TALKS = st.none() | st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), TEXTS), max_size=4)


def as_json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


@given(st.lists(TALKS, max_size=6))
def test_conversations_are_the_column_and_the_json_of_each(talks: list[list[Turn] | None]):
    made = Conversations(talks)
    assert made.json == [as_json(talk) for talk in talks]
    found = [talk and [(turn["role"], turn["content"]) for turn in talk] for talk in made.column.to_pylist()]
    assert found == talks and made.column.type == MESSAGES
    made.column.validate(full=True)


@given(st.lists(TEXTS, min_size=1, max_size=6), st.integers(0, 2))
def test_texts_are_conversations_of_one_turn(texts: list[str], start: int):
    column, found = single_turns("user", pa.array(texts, pa.string())[start:])
    alike = Conversations([[("user", text)] for text in texts[start:]])
    assert found == alike.json and column.to_pylist() == alike.column.to_pylist()


@pytest.mark.parametrize("null", ["", "\x00"])  # by which texts are told apart
def test_every_character_is_escaped_as_json_has_it(null: str):
    texts = ["".join(map(chr, range(1, 0x2030))) + null, "", '"', "\\"]
    assert between_quotes([text.encode() for text in texts]) == [as_json(text)[1:-1] for text in texts]


def test_ids_follow_the_content_and_nothing_else():
    prompt, yes, no = [("user", "q")], [("assistant", "yes")], [("assistant", "no")]
    pairs = [(prompt, yes, no), (list(prompt), list(yes), list(no)), (prompt, no, yes), (prompt, yes, yes)]
    sides = [*(Conversations(side).json for side in zip(*pairs, strict=True))]
    found = content_ids(*sides).to_pylist()
    assert found[0] == found[1] and len(set(found)) == 3
    assert found[0] == hashlib.sha256(as_json([prompt, yes, no])).hexdigest()[:32]
    assert set(short_hashes(sides[0]).to_pylist()) == {hashlib.sha256(b'[["user","q"]]').hexdigest()[:32]}
    assert content_ids([as_json(prompt)], [as_json(yes)], [as_json(None)])[0].as_py() not in found
