"""Heads under the names that people give them: read as their own trainers read them, or refused by name."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from encore_ray.errors import ModelError
from encore_ray.models.loading.checkpoint import load_model, load_rules
from encore_ray.models.loading.reading import plan_readings
from encore_ray.models.spec.load_options import LoadOptions
from encore_ray.models.spec.source import ModelSource
from tests.models import tiny, tiny_families
from tests.models.families.test_families import assert_scores, edit_config, load

D = 32
TURNS = [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Yes."}]


def save(folder, heads, family="llama", *, architecture="LlamaForCausalLM", prefix="model.", **settings):
    return tiny_families.save(folder, family, heads, architecture=architecture, prefix=prefix, **settings)


def randn(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    "name",
    ["score", "classifier", "value_head", "v_head", "v_head.summary", "reward_head", "rm_head", "regression_head"],
)
@pytest.mark.parametrize("bias", [False, True], ids=["without a bias", "with a bias"])
@pytest.mark.parametrize("num_heads", [1, 3])
def test_a_linear_head_of_a_known_name_is_read(tmp_path, name, bias, num_heads):
    weight, shift = randn(num_heads, D), randn(num_heads, seed=2) * bias
    heads = {f"{name}.weight": weight, **({f"{name}.bias": shift} if bias else {})}
    folder = save(tmp_path, {**heads, "lm_head.weight": randn(8, D)}, num_labels=num_heads)
    assert_scores(load(folder, num_heads), lambda hidden_D: weight @ hidden_D + shift)


@pytest.mark.parametrize(("family", "prefix"), [("qwen2", "model."), ("gpt2", "transformer."), ("llama", "")])
def test_it_is_read_on_any_body_of_transformers(tmp_path, family, prefix):
    weight = randn(1, D)
    folder = save(tmp_path, {"value_head.weight": weight}, family, prefix=prefix)
    assert_scores(load(folder, 1), lambda hidden_D: weight @ hidden_D)


def test_a_name_of_ones_own_is_read_where_the_configuration_has_it(tmp_path):
    weight = randn(1, D)
    folder = save(tmp_path, {"my_scores.weight": weight}, value_head_prefix="my_scores")
    assert_scores(load(folder, 1), lambda hidden_D: weight @ hidden_D)


def test_a_value_head_in_a_file_of_its_own_is_read(tmp_path):
    weight, shift = randn(1, D), torch.tensor([0.5])
    folder = save(tmp_path, {"lm_head.weight": randn(8, D)})
    save_file({"v_head.summary.weight": weight, "v_head.summary.bias": shift}, folder / "value_head.safetensors")
    assert_scores(load(folder, 1), lambda hidden_D: weight @ hidden_D + shift)


@pytest.mark.parametrize("name", ["score", "v_head.summary"])
def test_layers_with_relu_between_them_are_read(tmp_path, name):
    first, second = (randn(24, D), randn(24, seed=2)), (randn(1, 24, seed=3), randn(1, seed=4))
    tensors = dict(zip(["0.weight", "0.bias", "2.weight", "2.bias"], (*first, *second), strict=True))
    folder = save(
        tmp_path, {f"{name}.{key}": tensor for key, tensor in tensors.items()}, architecture="Qwen2ForRewardModel"
    )
    assert_scores(load(folder, 1), lambda hidden_D: second[0] @ torch.relu(first[0] @ hidden_D + first[1]) + second[1])


def test_what_stands_between_layers_is_told_since_no_file_says_it(tmp_path):
    shapes = {"v_head.summary.0.weight": (8, D), "v_head.summary.2.weight": (8, 8), "v_head.summary.4.weight": (1, 8)}
    folder = save(tmp_path, {name: randn(*shape) for name, shape in shapes.items()}, architecture="Qwen2ForRewardModel")
    (reading,) = plan_readings(ModelSource(folder), LoadOptions(device="cpu"))
    assert any("its head is 3 layers (v_head.summary) with ReLU between them" in note for note in reading.notes)


@pytest.mark.parametrize("where", ["tensors", "configuration"])
@pytest.mark.parametrize("name", ["score", "value_head"])
def test_rewards_are_normalised_as_the_configuration_says(tmp_path, where, name):
    weight = randn(1, D)
    stored = {"mean": torch.tensor([0.7]), "std": torch.tensor([2.0])} if where == "tensors" else {}
    stated = {} if stored else {"mean": 0.7, "std": 2.0}
    folder = save(tmp_path, {f"{name}.weight": weight, **stored}, normalize_reward=True, num_labels=1, **stated)
    assert_scores(load(folder, 1), lambda hidden_D: (weight @ hidden_D - 0.7) / 2.0)


def test_a_model_that_reads_a_token_of_its_own_gets_it_behind_every_conversation(tmp_path):
    weight, token = randn(1, D), 299
    folder = save(tmp_path, {"v_head.weight": weight}, architecture="InternLM2ForRewardModel", reward_token_id=token)
    model = load(folder, 1)
    pairs = model.conversations.tokenize_pairs([TURNS[:1]], chosen=[TURNS[1:]], rejected=[None])
    ids = pairs.chosen_ids[0].tolist()
    assert ids[-1] == token and ids.count(token) == 1
    assert_scores(model, lambda hidden_D: weight @ hidden_D)


def test_a_model_whose_own_token_is_not_told_is_refused(tmp_path):
    folder = save(tmp_path, {"v_head.weight": randn(1, D)}, architecture="InternLM2ForRewardModel")
    with pytest.raises(ModelError, match=r"reward_token_id in config\.json, the token that is read"):
        load_rules(ModelSource(folder), rules=tiny_families.rules(1))


REFUSED = {
    "a name that nobody knows": ({"judgement.weight": (1, D)}, {}, r"may be a head: judgement.weight \[1, 32\]"),
    "two heads": ({"score.weight": (1, D), "value_head.weight": (1, D)}, {}, "score, value_head"),
    "layers with who knows what between them": (
        {"reward_head.0.weight": (8, D), "reward_head.2.weight": (1, 8)}, {}, r"may be a head: reward_head.0.weight",
    ),
    "three layers of a kind that is known with two": (
        {"score.0.weight": (8, D), "score.2.weight": (8, 8), "score.4.weight": (1, 8)},
        {"architecture": "Qwen2ForRewardModel"},
        r"at most 2 layers of score.*found score\.0\.weight, score\.2\.weight, score\.4\.weight",
    ),
    "a head of another width": ({"value_head.weight": (1, 31)}, {}, "one head on the last token; found none"),
    "a language model": ({"lm_head.weight": (406, D)}, {}, r"let it judge \(--judge"),
    "a process reward model": (
        {"score.0.weight": (8, D), "score.2.weight": (1, 8)},
        {"architecture": "Qwen2ForProcessRewardModel"},
        "rates the steps",
    ),
    "an encoder": ({"v_head.weight": (1, D)}, {"family": "bert", "prefix": "bert."}, "one that looks both ways"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_known_is_named_before_a_corpus_is_read(tmp_path, case):
    shapes, settings, message = REFUSED[case]
    folder = save(tmp_path, {name: randn(*shape) for name, shape in shapes.items()}, **settings)
    with pytest.raises(ModelError, match=message):
        load_rules(ModelSource(folder), rules=tiny_families.rules(1))


def without_labels(folder):
    config = json.loads((folder / "config.json").read_text())
    for key in ("num_labels", "id2label", "label2id"):
        config.pop(key, None)
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize("family", ["llama", "gpt2", "bert", "modernbert"])
def test_outputs_are_counted_from_the_tensor_where_the_configuration_names_no_labels(tmp_path, family):
    folder = tiny.save_classifier(tmp_path, family)
    ids = list(range(10, 30))
    expected = tiny.score_one(tiny.load(folder), ids)
    without_labels(folder)  # transformers assumes two
    assert load_rules(ModelSource(folder)) == tiny.RULES
    assert tiny.score_one(load_model(folder, device="cpu"), ids).tolist() == expected.tolist()


def test_a_head_that_contradicts_the_configuration_is_refused_with_both_numbers(tmp_path):
    folder = tiny.save_classifier(tmp_path, "llama")
    tensors = load_file(folder / "model.safetensors")
    tensors["score.weight"] = tensors["score.weight"][:2].clone()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"score.weight has the shape \[2, 32\], not \[3, 32\].*Write num_labels 2"):
        load_rules(ModelSource(folder))


def test_two_outputs_an_objective_are_not_taken_for_quantiles_unless_that_is_said(tmp_path):
    folder, _ = tiny_families.save_qrm(tmp_path)
    edit_config(folder, num_quantiles=None)
    tensors = load_file(folder / "model.safetensors")
    tensors["regression_layer.weight"] = tensors["regression_layer.weight"][:10].clone()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="maybe mean and spread"):
        load_rules(ModelSource(folder), rules=tiny_families.rules(5))
