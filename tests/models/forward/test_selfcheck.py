"""The check before the first unit: silent for right scorers in every dtype, an error for wrong ones."""

import numpy as np
import pytest
import torch
from transformers import ConvBertConfig, MobileBertConfig

from encore_ray.errors import ModelError
from encore_ray.models.forward.scorer import PairScorer
from encore_ray.models.forward.selfcheck import TOLERANCE_SD, check_scorer
from encore_ray.models.forward.strategy import strategy_of
from tests.models import tiny
from tests.models.architectures import ARCHITECTURES, VOCAB_SIZE, backbone, forked_pairs, with_heads


@pytest.fixture(scope="module")
def llama():
    return backbone(ARCHITECTURES["llama"].config)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", ["llama", "mistral-window", "gpt2", "bert"])
def test_a_right_scorer_passes(name, seed, dtype):
    model = with_heads(backbone(ARCHITECTURES[name].config, seed=seed), dtype=dtype, seed=seed)
    difference = check_scorer(PairScorer(model), forked_pairs(seed=seed), name=name)
    assert difference <= TOLERANCE_SD[str(dtype).removeprefix("torch.")] / 2


FLOAT32, BFLOAT16 = torch.float32, torch.bfloat16


@pytest.mark.parametrize(
    ("name", "strategy", "pooling", "dtype"),
    [
        ("bert", "tree", "last", FLOAT32),
        ("bert", "tree", "cls", BFLOAT16),
        ("modernbert", "tree", "mean", FLOAT32),
        ("qwen2-moe-window", "tree", "last", FLOAT32),
        ("qwen2-moe-window", "tree", "last", BFLOAT16),
        ("phimoe-window", "packed", "last", BFLOAT16),
    ],
)
def test_a_strategy_that_is_not_exact_is_stopped_by_name(name, strategy, pooling, dtype):
    model = with_heads(backbone(ARCHITECTURES[name].config), pooling=pooling, dtype=dtype)
    with pytest.raises(ModelError) as error:
        check_scorer(PairScorer(model, strategy=strategy), forked_pairs(), name="org/the-model")
    message = str(error.value)
    assert message.startswith(f"org/the-model: strategy {strategy} does not give the scores that the model gives one")
    dtype_name = str(dtype).removeprefix("torch.")
    assert f"({TOLERANCE_SD[dtype_name]:g} are allowed in {dtype_name})" in message
    difference = float(message.split("they differ by ")[1].split()[0])
    assert TOLERANCE_SD[dtype_name] < difference < 10
    assert any(f"most under rule {rule}." in message for rule in tiny.RULES.names)
    assert "Score with strategy padded" in message


def test_a_model_that_mixes_neighbouring_embeddings_is_stopped():
    # MobileBERT puts the embeddings of both neighbours beside each token's own, which no dry run shows.
    config = MobileBertConfig(
        vocab_size=VOCAB_SIZE, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
        embedding_size=16, intra_bottleneck_size=16, max_position_embeddings=512,
    )  # fmt: skip
    assert strategy_of(config).strategy == "packed"
    scorer = PairScorer(with_heads(backbone(config)))
    with pytest.raises(ModelError, match=r"strategy packed .* Score with strategy padded"):
        check_scorer(scorer, forked_pairs(), name="mobilebert")


def test_a_model_that_reads_its_padding_is_sent_to_one_by_one():
    # ConvBERT's convolutions reach over the end of a sequence into its padding.
    config = ConvBertConfig(
        vocab_size=VOCAB_SIZE, hidden_size=32, embedding_size=32, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=48, max_position_embeddings=512,
    )  # fmt: skip
    assert strategy_of(config).strategy == "padded"
    model = with_heads(backbone(config))
    with pytest.raises(ModelError, match=r"strategy padded .* Score with strategy one_by_one"):
        check_scorer(PairScorer(model), forked_pairs(), name="convbert")
    assert check_scorer(PairScorer(model, strategy="one_by_one"), forked_pairs(), name="convbert") == 0.0


def test_a_soft_capped_model_cannot_be_run_as_a_tree():
    scorer = PairScorer(with_heads(backbone(ARCHITECTURES["gemma2"].config)), strategy="tree")
    with pytest.raises(ModelError, match="Gemma2Attention wants softcap in its attention, which rows do not have"):
        check_scorer(scorer, forked_pairs(), name="gemma2")


def test_a_model_that_gives_no_number_is_told_from_one_whose_strategy_is_wrong(llama):
    model = with_heads(llama)
    with torch.no_grad():
        model.heads.outputs.weight.fill_(torch.nan)
    with pytest.raises(ModelError, match=r"gives no number .* in float32, .* hold NaN or overflow"):
        check_scorer(PairScorer(model), forked_pairs(), name="llama")


@pytest.mark.parametrize("strategy", ["tree", "one_by_one"])
def test_a_model_whose_own_forward_fails_is_at_fault_and_not_we(strategy):
    model = with_heads(backbone(ARCHITECTURES["llama"].config))
    model.backbone.layers[1].mlp.up_proj = torch.nn.Linear(31, 48)
    with pytest.raises(ModelError, match=r"org/m: the model cannot read this job's.*RuntimeError: .*does not fit its"):
        check_scorer(PairScorer(model, strategy=strategy), forked_pairs(), name="org/m")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_rules_that_never_fire_raise_no_alarm_beside_one_that_does(llama, dtype):
    model = with_heads(llama, dtype=dtype)
    with torch.no_grad():
        model.heads.outputs.weight[1:] = 0.0
        model.heads.outputs.bias.fill_(5.0)
    assert (
        check_scorer(PairScorer(model), forked_pairs(), name="llama") <= TOLERANCE_SD[str(dtype).removeprefix("torch.")]
    )


def test_a_model_of_which_no_rule_ever_fires_is_stopped(llama):
    model = with_heads(llama)
    with torch.no_grad():
        model.heads.outputs.weight.zero_()
    with pytest.raises(ModelError, match=r"different texts of this job the same scores.*heads of zeros"):
        check_scorer(PairScorer(model), forked_pairs(), name="llama")
    assert check_scorer(PairScorer(model), tiny.tokenized([[9]], [None]), name="llama") == 0.0  # too little to tell


def seen_by_none(rules):
    """GPT-2 with heads for which all states are alike: a layer norm makes their sum 0, but for rounding."""
    model = with_heads(backbone(ARCHITECTURES["gpt2"].config), dtype=torch.bfloat16 if rules == [1] else torch.float32)
    with torch.no_grad():
        model.heads.outputs.weight[rules] = 1.0
        model.heads.outputs.bias[rules] = 5.0
    return model


def test_scores_that_deviate_by_rounding_alone_raise_no_alarm():
    scorer = PairScorer(seen_by_none([0, 1, 2]))
    sd_K = scorer.score(forked_pairs()).std(axis=(0, 1))
    assert (sd_K > 0).all() and (sd_K < 1e-5).all()  # 5 and an error in its seventh digit
    assert check_scorer(scorer, forked_pairs(), name="gpt2") <= 1e-3


def test_one_rule_of_noise_raises_no_alarm():
    # In bfloat16 the states of GPT-2 sum up to .01 by chance, differently in each way of scoring.
    assert check_scorer(PairScorer(seen_by_none([1])), forked_pairs(), name="gpt2") <= 0.05


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("seed", range(5))
def test_a_single_response_is_enough(llama, seed, dtype):
    # Its one score has no deviation; its beginnings give it one.
    ids = np.random.default_rng(seed).integers(6, VOCAB_SIZE, 90).tolist()
    pairs = tiny.tokenized([ids], [None])
    scorer = PairScorer(with_heads(llama, dtype=dtype, seed=seed))
    assert check_scorer(scorer, pairs, name="llama") <= TOLERANCE_SD[str(dtype).removeprefix("torch.")] / 2


@pytest.mark.parametrize("num_pairs", [1, 2])
def test_a_wrong_scorer_is_found_with_one_pair(num_pairs):
    scorer = PairScorer(with_heads(backbone(ARCHITECTURES["bert"].config), pooling="cls"), strategy="tree")
    pairs = tiny.tokenized([[9, 8, 7, 6, 5, 4, 10]] * num_pairs, [[9, 8, 7, 6, 5, 4, 11]] * num_pairs)
    with pytest.raises(ModelError, match=f"On {num_pairs} pair"):
        check_scorer(scorer, pairs, name="bert")


def test_responses_of_one_token_raise_no_alarm(llama):
    assert check_scorer(PairScorer(with_heads(llama)), tiny.tokenized([[9], [10]], [[11], None]), name="llama") <= 1e-3


def test_a_score_that_is_never_finite_is_left_to_the_data(llama):
    # It is the model's own; the pass sets such a pair aside with its reason.
    model = with_heads(llama)
    with torch.no_grad():
        model.heads.outputs.weight[1, 0] = torch.nan
    assert check_scorer(PairScorer(model), forked_pairs(), name="llama") <= 1e-5


def test_a_score_that_is_finite_one_way_only_is_a_mismatch(llama):
    class Hiding(PairScorer):
        def run(self, plan):
            return np.nan_to_num(super().run(plan))

    model = with_heads(llama)
    with torch.no_grad():
        model.heads.outputs.weight[1, 0] = torch.nan
    with pytest.raises(ModelError, match="differ by inf standard deviations"):
        check_scorer(Hiding(model), forked_pairs(), name="llama")


def test_no_pairs_are_no_mismatch(llama):
    assert check_scorer(PairScorer(with_heads(llama)), tiny.tokenized([], []), name="llama") == 0.0
