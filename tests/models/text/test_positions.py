"""Positions of a model: padding takes some of them."""

import pytest

from encore_ray.models.text.positions import first_position, num_positions
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
