"""The strategy of a model, seen in its configuration alone."""

from typing import Any

import pytest
from transformers import (
    ConvBertConfig,
    GptOssConfig,
    Llama4TextConfig,
    LlamaConfig,
    MiniMaxConfig,
    NemotronConfig,
    Phi3Config,
    PhimoeConfig,
    StableLmConfig,
)

from encore_ray.errors import ConfigError, ModelError
from encore_ray.models.forward.strategy import STRATEGIES, strategy_of
from encore_ray.models.loading.choose_strategy import choose_strategy
from encore_ray.models.spec.source import ModelSource
from tests.models.architectures import ARCHITECTURES

SIZES: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 48, "vocab_size": 100,
}  # fmt: skip
LONG: dict[str, Any] = {"short_factor": [1.0] * 4, "long_factor": [2.0] * 4}


def rope(kind, **options):
    return {"rope_type": kind, "rope_theta": 10_000.0, **options}


@pytest.fixture
def saved(tmp_path):
    """A model folder with a configuration and no weight."""

    def save(name):
        ARCHITECTURES[name].config.save_pretrained(tmp_path)
        return tmp_path

    return save


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (ARCHITECTURES["gemma2"].config, "Gemma2Attention wants softcap in its attention, which rows do not have"),
        (GptOssConfig(**SIZES, head_dim=8, num_local_experts=4), "GptOssAttention wants s_aux in its attention"),
        (Llama4TextConfig(**SIZES, head_dim=8, num_local_experts=2), "layers of the kind chunked_attention"),
        (MiniMaxConfig(**SIZES, head_dim=8, num_local_experts=4), "only 1 of its 2 layers use exchangeable attention"),
        (ARCHITECTURES["mamba"].config, "MambaModel carries a state from token to token besides its attention"),
        (ARCHITECTURES["falcon-h1"].config, "FalconH1Model carries a state from token to token"),
        (
            ConvBertConfig(hidden_size=32, num_attention_heads=4, intermediate_size=48),
            "ConvBertModel carries a state from token to token",
        ),
        (ARCHITECTURES["deberta-v2"].config, "deberta-v2 has no exchangeable attention"),
        (StableLmConfig(**SIZES), "StableLmAttention does not hand the keywords of a forward to its attention"),
        (NemotronConfig(**SIZES), "NemotronAttention does not hand the keywords of a forward to its attention"),
        (ARCHITECTURES["qwen2-moe-window"].config, "the windows of its layers are in its masks alone"),
        (ARCHITECTURES["phimoe-window"].config, "the windows of its layers are in its masks alone"),
    ],
    ids=lambda value: getattr(value, "model_type", None),
)
def test_what_rows_do_not_have_is_scored_in_padded_batches(config, reason):
    choice = strategy_of(config)
    assert choice.strategy == "padded"
    assert reason in choice.reason


def test_a_window_that_no_conversation_fills_is_none():
    # Phi-3.5-MoE declares one of all its positions.
    config = PhimoeConfig(**SIZES, num_local_experts=4, max_position_embeddings=64, sliding_window=64)
    assert strategy_of(config).strategy == "tree"
    config.sliding_window = 32
    assert strategy_of(config).strategy == "padded"
    assert strategy_of(config, max_length=32).strategy == "tree"


@pytest.mark.parametrize(
    ("config", "limit"),
    [
        (LlamaConfig(**SIZES, max_position_embeddings=64, rope_parameters=rope("dynamic", factor=2.0)), 64),
        (
            Phi3Config(
                **SIZES, pad_token_id=0, max_position_embeddings=64, original_max_position_embeddings=32,
                rope_parameters=rope("longrope", original_max_position_embeddings=32, **LONG),
            ),
            32,
        ),
    ],
    ids=["dynamic", "longrope"],
)  # fmt: skip
def test_positions_that_depend_on_the_longest_sequence_are_scored_one_by_one(config, limit):
    config.max_position_embeddings = 64
    choice = strategy_of(config, max_length=limit + 1)
    assert choice.strategy == "one_by_one"
    assert f"change with the longest sequence of a forward beyond {limit} tokens" in choice.reason
    assert strategy_of(config, max_length=limit).strategy == "tree"


def test_position_embeddings_of_one_kind_of_layer_count_too():
    config = ARCHITECTURES["gemma3"].config
    kinds = {"sliding_attention": rope("default"), "full_attention": rope("dynamic", factor=2.0)}
    changed = type(config).from_dict({**config.to_dict(), "rope_parameters": kinds})
    assert strategy_of(changed, max_length=513).strategy == "one_by_one"
    assert strategy_of(config, max_length=513).strategy == "tree"


@pytest.mark.parametrize("forced", STRATEGIES)
@pytest.mark.parametrize("name", ["llama", "bert", "gemma2"])
def test_a_strategy_that_is_not_exact_cannot_be_forced(name, forced, saved):
    folder = saved(name)
    exact = choose_strategy(ModelSource(folder))
    if STRATEGIES.index(forced) >= STRATEGIES.index(exact.strategy):
        assert choose_strategy(ModelSource(folder), forced=forced).strategy == forced
        return
    with pytest.raises(ConfigError) as error:
        choose_strategy(ModelSource(folder), forced=forced)
    assert str(error.value) == (
        f"Strategy {forced} would change the scores of {folder}: {exact.reason}. Use {exact.strategy} or auto."
    )


def test_an_encoder_never_shares():
    choice = strategy_of(ARCHITECTURES["modernbert"].config)
    assert choice.strategy == "packed"
    assert choice.reason == "its attention looks both ways: a prompt sees the response"


def test_a_choice_leaves_the_configuration_as_it_is():
    config = LlamaConfig(**SIZES)
    before, attention = config.to_dict(), config._attn_implementation
    strategy_of(config)
    assert (config.to_dict(), config._attn_implementation) == (before, attention)


def test_a_folder_without_a_configuration_is_refused(tmp_path):
    with pytest.raises(ModelError, match="Cannot load the configuration"):
        choose_strategy(ModelSource(tmp_path))
