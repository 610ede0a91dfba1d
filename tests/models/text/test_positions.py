"""Positions of a model: padding takes some of them."""

import pytest

from encore_ray.errors import ModelError
from encore_ray.models.text.conversations import ConversationTokenizer
from encore_ray.models.text.positions import first_position, max_conversation, most_positions, num_positions
from tests.models import tiny


@pytest.mark.parametrize(
    ("family", "positions"),
    [("llama", 128), ("gpt2", 128), ("bert", 128), ("modernbert", 128), ("roberta", 131 - 3)],  # padding_idx 2: 2 + 1
)
def test_a_model_places_as_many_tokens_as_it_has_positions(family, positions):
    assert num_positions(tiny.config(family, vocab_size=300)) == positions


def test_the_first_token_of_roberta_stands_behind_its_padding():
    assert first_position(tiny.config("roberta", vocab_size=300)) == 3  # padding_idx 2: 2 + 1
    assert first_position(tiny.config("bert", vocab_size=300)) == 0


@pytest.mark.parametrize(
    ("rope", "most"),
    [
        ({"rope_type": "linear", "factor": 4.0}, 512),
        ({"rope_type": "dynamic", "factor": 2.0}, 256),
        ({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}, 256),
        ({"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 64}, 128),
        ({"rope_type": "default"}, 128),
    ],
)
def test_positions_that_are_stretched_may_be_asked_for_and_are_not_the_default(rope, most):
    config = tiny.config("llama", vocab_size=300, rope_parameters={"rope_theta": 1e4, **rope})
    assert (num_positions(config), max_conversation(config, None), most_positions(config)) == (128, 128, most)
    tok = tiny.tokenizer()
    assert ConversationTokenizer(tok, config, max_length=most).max_length == most
    with pytest.raises(ModelError, match=f"at most {most}, the positions of the model"):
        ConversationTokenizer(tok, config, max_length=most + 1)
