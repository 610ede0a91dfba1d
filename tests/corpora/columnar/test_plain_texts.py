"""A plain text is one that nothing would take apart, whatever it is made of."""

import sys

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encore_ray.corpora.columnar.column_shapes import column_shapes
from encore_ray.corpora.columnar.plain_texts import SPACES, arrow_pattern, plain_texts
from encore_ray.corpora.turns.standard import is_empty
from encore_ray.corpora.turns.stored import stored_list
from encore_ray.corpora.turns.transcripts import is_foreign, is_marked, read_transcript
from encore_ray.corpora.values import Shape, shape_of

PIECES = [
    *("\n\nHuman:", "\n\nAssistant:", "Human:", "uſer:", "USER:", "System:", "prompter:", "assıstant:", "AI:"),
    *("ASSISTANT:", "Assistant:", "### Response:", "### User:", "**Human:", "[INST]", "[/INST]", "<<SYS>>", "<s>"),
    *("<|im_start|>user\n", "<|im_end|>", "<|im_start|>assistant", "<|start_header_id|>user<|end_header_id|>"),
    *("<extra_id_1>User\n", "<extra_id_0>System\n", "<human>:", "<bot>:", "[|Human|]", "GPT4 Correct User:"),
    *("<start_of_turn>model", "<｜User｜>", "<｜Assistant｜>", "[gMASK]<sop>", "<reserved_106>", "<X_TOKEN>"),
    *("A chat between a person and an assistant. ", "a chat between", "[", "{", '["a", "b"]', "[{'role': 'user'}]"),
    *('{"role": "user", "content": "x"}', "nan", "None", " NULL ", "<NA>", "Kein", "12", "-1.5e3", "٣", "x", "日本"),
    *(
        "</s>",
        "<|im_end|> ",
        "**Assistant:** ",
        " ",
        "\n",
        "\t",
        "\x0b",
        "\x1c",
        "\x85",
        "\xa0",
        "\u2003",
        "\u2028",
        "\u3000",
        "\u200b",
        "\ufeff",
        "\x00",
        "",
    ),
]
TEXTS = st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=5).map("".join)


def says_more(text: str) -> bool:
    """Whether anything that reads a text would find more in it than its content."""
    is_word = text.strip().lower() in ("nan", "none", "null", "<na>")
    return bool(
        not text
        or text.isspace()
        or is_empty(text)
        or is_word
        or stored_list(text)
        or read_transcript(text)
        or is_marked(text)
    ) or is_foreign(text)


@given(st.lists(TEXTS, min_size=1, max_size=20))
def test_nothing_takes_a_plain_text_apart(texts: list[str]):
    for text, is_plain in zip(texts, plain_texts(pa.array(texts, pa.string())), strict=True):
        assert not (is_plain and says_more(text)), text


@given(st.lists(st.none() | TEXTS, max_size=20), st.integers(0, 3))
def test_shapes_of_a_column_are_those_of_its_values(texts: list[str | None], start: int):
    column = pa.array(texts, pa.string())[start:]
    counts = column_shapes(column)
    assert {shape: count for shape, count in counts.items() if count} == _counted(texts[start:])


def _counted(values: list) -> dict[Shape, int]:
    shapes = [shape_of(value) for value in values]
    return {shape: shapes.count(shape) for shape in set(shapes)}


@pytest.mark.parametrize("type_", [pa.int64(), pa.uint64(), pa.int32(), pa.uint8()])
@pytest.mark.parametrize(
    "values", [[], [None], [3, None, -0], [2**53, 5], [2**53 + 1, None, 1], [2**64 - 1], [-(2**63)]]
)
def test_shapes_of_whole_numbers_are_those_of_their_values(type_: pa.DataType, values: list):
    try:
        column = pa.array(values, type_)
    except (OverflowError, pa.ArrowInvalid):
        pytest.skip("the type does not hold them")
    assert dict(column_shapes(column)) == _counted(values)


@pytest.mark.parametrize(
    "text", ["What is 1 < 2?", "## Answer", "**Yes**", "User interface", "A chat", "Nano", "日本", "No."]
)
def test_ordinary_texts_are_plain(text: str):
    assert plain_texts(pa.array([None, text, text[:0]], pa.string())).tolist() == [False, True, False]
    assert plain_texts(pa.array(["<extra_id_1>", text])[1:]).tolist() == [True]


def test_spaces_are_all_that_python_knows():
    ours = set(SPACES.replace("\u2000-\u200a", "")) | set(map(chr, range(0x2000, 0x200B)))
    assert ours == {character for character in map(chr, range(sys.maxunicode + 1)) if character.isspace()}


@pytest.mark.parametrize("pattern", [r"(?=a)", r"(?<!a)", r"a\b", r"[\s]", r"\D"])
def test_what_arrow_does_not_know_is_not_handed_to_it(pattern: str):
    with pytest.raises(AssertionError):
        arrow_pattern(pattern)
