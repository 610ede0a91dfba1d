"""Positions of a model: how many tokens it can place, where the first one goes, and what a conversation may have."""

from collections.abc import Iterator
from typing import Any

from transformers import PretrainedConfig

DEFAULT_MAX_LENGTH = 8192  # models that allow 128k positions would let one row take a whole GPU's memory

_STRETCHED = ("linear", "dynamic", "yarn")

_OFFSET_MODELS = {
    "camembert",
    "data2vec-text",
    "esm",
    "ibert",
    "longformer",
    "luke",
    "markuplm",
    "mpnet",
    "roberta",
    "roberta-prelayernorm",
    "xlm-roberta",
    "xlm-roberta-xl",
    "xmod",
}


def num_positions(config: PretrainedConfig) -> int | None:
    """How many tokens a model can place; None where it sets no limit."""
    text_config = config.get_text_config()
    positions = getattr(text_config, "max_position_embeddings", None)
    if not isinstance(positions, int) or positions < 1:
        return None
    return positions - first_position(text_config)


def most_positions(config: PretrainedConfig) -> int | None:
    """How many tokens a conversation may have that is asked for to be so long; None where the model sets no limit.

    Positions that are stretched reach further than those that were trained: a configuration may name these alone.
    """
    positions = num_positions(config)
    if positions is None:
        return None
    text_config = config.get_text_config()
    for rope in ropes(getattr(text_config, "rope_parameters", None)):
        if rope.get("rope_type") in _STRETCHED:
            original = rope.get("original_max_position_embeddings") or text_config.max_position_embeddings
            positions = max(positions, int(original * (rope.get("factor") or 1)))
    return positions


def ropes(parameters: Any) -> Iterator[dict[str, Any]]:
    """The rope settings of a configuration: one for all layers, or one for each kind of layer."""
    if isinstance(parameters, dict):
        if "rope_type" in parameters:
            yield parameters
        else:
            for value in parameters.values():
                yield from ropes(value)


def max_conversation(config: PretrainedConfig, max_length: int | None) -> int:
    """Tokens that a conversation may have: as asked for, else the model's positions, at most 8192."""
    return max_length or min(num_positions(config) or DEFAULT_MAX_LENGTH, DEFAULT_MAX_LENGTH)


def first_position(config: PretrainedConfig) -> int:
    """The position of a sequence's first token; RoBERTa and its kin count from padding_idx + 1."""
    text_config = config.get_text_config()
    return text_config.pad_token_id + 1 if text_config.model_type in _OFFSET_MODELS else 0
