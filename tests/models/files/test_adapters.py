"""LoRA adapters are read as the models that they make, with peft's own scores; or it is said what to do."""

import json
import shutil

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification

from encore_ray.errors import ModelError
from encore_ray.models.loading.checkpoint import load_model, load_rules
from encore_ray.models.loading.identity import identify_model
from encore_ray.models.spec.source import ModelSource
from tests.models import tiny

IDS = list(range(10, 40))
HEAD = "base_model.model.score.weight"

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning", "ignore::UserWarning:peft")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def make(tmp_path, family="llama", **changes):
    """(adapter folder, base folder) of an adapter whose matrices and head are random."""
    base = tiny.save_classifier(tmp_path / "base", family)
    settings = {
        "target_modules": ["q_proj", "down_proj"],
        "modules_to_save": ["score"],
        "task_type": "SEQ_CLS",
        **changes,
    }
    model = AutoModelForSequenceClassification.from_pretrained(base)
    torch.manual_seed(3)
    adapted = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, **settings))
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_" in name or "modules_to_save" in name:
                parameter.copy_(torch.randn_like(parameter))
    adapter = tmp_path / "adapter"
    adapted.save_pretrained(adapter)
    for name in ("tokenizer.json", "tokenizer_config.json", "rules.yaml"):
        shutil.copyfile(base / name, adapter / name)
    config = json.loads((adapter / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = str(base)
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    return adapter, base


@torch.inference_mode()
def by_peft(adapter, base):
    model = PeftModel.from_pretrained(AutoModelForSequenceClassification.from_pretrained(base), adapter).eval()
    model.config.pad_token_id = None
    return model(input_ids=torch.tensor([IDS])).logits[0]


def alone(adapter, base):
    pass


def beside_the_base(adapter, base):
    shutil.copyfile(base / "model.safetensors", adapter / "model.safetensors")
    shutil.copyfile(base / "config.json", adapter / "config.json")


def with_a_configuration(adapter, base):
    shutil.copyfile(base / "config.json", adapter / "config.json")


def with_the_bases_tokenizer(adapter, base):
    for file in adapter.glob("token*"):
        file.unlink()


@pytest.mark.parametrize("layout", [alone, beside_the_base, with_a_configuration, with_the_bases_tokenizer])
def test_an_adapter_has_the_scores_that_peft_gives_it(tmp_path, layout):
    adapter, base = make(tmp_path)
    layout(adapter, base)
    assert load_rules(ModelSource(adapter)) == tiny.RULES
    found = tiny.score_one(load_model(adapter, device="cpu"), IDS)
    torch.testing.assert_close(torch.from_numpy(found), by_peft(adapter, base), rtol=1e-4, atol=1e-4)
    of_base = tiny.score_one(load_model(base, device="cpu"), IDS)
    assert abs(found - of_base).max() > 0.1
    assert identify_model(ModelSource(adapter)).digest != identify_model(ModelSource(base)).digest


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("llama", {"use_rslora": True}),
        ("llama", {"rank_pattern": {"down_proj": 2}, "alpha_pattern": {"q_proj": 3}}),
        ("llama", {"target_modules": ["q_proj", "embed_tokens"]}),
        ("qwen2", {"target_modules": "all-linear"}),
        ("gpt2", {"target_modules": ["c_attn"], "fan_in_fan_out": True}),
    ],
)
def test_every_setting_of_plain_lora_is_merged_as_peft_does(tmp_path, family, changes):
    adapter, base = make(tmp_path, family, **changes)
    found = tiny.score_one(load_model(adapter, device="cpu"), IDS)
    torch.testing.assert_close(torch.from_numpy(found), by_peft(adapter, base), rtol=1e-4, atol=1e-4)


def edit(adapter, **changes):
    file = adapter / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"peft_type": "PROMPT_TUNING"}, "it is of the kind PROMPT_TUNING"),
        ({"use_dora": True}, "more than plain LoRA"),
        ({"bias": "all"}, r"more than plain LoRA \(bias\)"),
        ({"base_model_name_or_path": "/not/there"}, "its base is not to be had"),
        ({"base_model_name_or_path": None}, "a base that it does not name"),
        ({"r": 8}, "has the rank 4, its configuration says 8"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights is 'pissa', which changes the base's own weights"),
        ({"init_lora_weights": "loftq"}, "init_lora_weights is 'loftq'"),
    ],
)
def test_another_adapter_is_refused_with_what_to_do(tmp_path, changes, message):
    adapter, _ = make(tmp_path)
    edit(adapter, **changes)
    with pytest.raises(ModelError, match=f"is a PEFT adapter of .*{message}.*merge_and_unload"):
        load_rules(ModelSource(adapter))


def edit_tensors(adapter, change):
    file = adapter / "adapter_model.safetensors"
    save_file(change(load_file(file)), file, metadata={"format": "pt"})


def with_the_bases_head_beside_it(tensors):
    """As state_dict() has it."""
    head = tensors.pop(HEAD)
    stem = HEAD.removesuffix("weight")
    beside = {f"{stem}original_module.weight": torch.ones_like(head)}
    return {**tensors, f"{stem}modules_to_save.default.weight": head, **beside}


@pytest.mark.parametrize(
    "change",
    [
        with_the_bases_head_beside_it,
        lambda tensors: {f"base_model.model.{name}": tensor for name, tensor in tensors.items()},  # wrapped twice
        lambda tensors: {f"module.{name}": tensor for name, tensor in tensors.items()},  # by DDP
    ],
    ids=["original_module", "nested", "module"],
)
def test_whatever_stood_around_an_adapter_when_it_was_saved_it_is_the_same(tmp_path, change):
    adapter, _ = make(tmp_path)
    expected = tiny.score_one(load_model(adapter, device="cpu"), IDS)
    edit_tensors(adapter, change)
    assert tiny.score_one(load_model(adapter, device="cpu"), IDS).tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: {}, "its weights file holds no tensor"),
        (lambda tensors: dict.fromkeys(tensors, torch.zeros(0)), r"weights are empty .*ZeRO-3.*zero_to_fp32"),
        (
            lambda tensors: {name: 0 * tensor if "lora_B" in name else tensor for name, tensor in tensors.items()},
            "all of its B matrices are 0.*Save it again",
        ),
        (
            lambda tensors: {name: tensor for name, tensor in tensors.items() if name != HEAD},
            "score, which was trained beside its matrices .modules_to_save., is not in its file",
        ),
        (
            lambda tensors: {name: tensor for name, tensor in tensors.items() if "layers.1." not in name},
            "2 of 4 weights that it was trained for have no matrices in its file",
        ),
    ],
    ids=["nothing", "ZeRO-3", "untrained", "no head", "half of the matrices"],
)
def test_an_adapter_that_would_leave_its_base_as_it_was_is_refused(tmp_path, change, message):
    adapter, _ = make(tmp_path)
    edit_tensors(adapter, change)
    with pytest.raises(ModelError, match=message):
        load_rules(ModelSource(adapter))


def test_a_value_head_in_a_file_of_its_own_beside_an_adapter_is_its_head(tmp_path):
    adapter, base = make(tmp_path)
    expected = tiny.score_one(load_model(adapter, device="cpu"), IDS)
    edit_tensors(adapter, lambda tensors: {name: tensor for name, tensor in tensors.items() if name != HEAD})
    edit(adapter, modules_to_save=None, task_type="CAUSAL_LM")
    save_value_head(adapter, torch.ones(3, 32))
    with pytest.raises(ModelError, match="expected one head on the last token; found score, v_head"):
        load_rules(ModelSource(adapter))
    tensors = load_file(base / "model.safetensors")
    head = tensors.pop("score.weight")  # a language model, as LLaMA-Factory's bases are
    save_file(tensors, base / "model.safetensors", metadata={"format": "pt"})
    save_value_head(adapter, head)
    found = load_model(adapter, device="cpu")
    assert found.heads.outputs.weight.tolist() == head.tolist()
    assert tiny.score_one(found, IDS).tolist() != expected.tolist()


def save_value_head(adapter, weight):
    tensors = {"v_head.summary.weight": weight.clone(), "v_head.summary.bias": torch.zeros(len(weight))}
    save_file(tensors, adapter / "value_head.safetensors", metadata={"format": "pt"})


def test_an_adapter_that_brings_embeddings_of_further_tokens_has_them(tmp_path):
    adapter, base = make(tmp_path)
    expected = by_peft(adapter, base)
    embeddings = load_file(base / "model.safetensors")["model.embed_tokens.weight"]
    tensors = load_file(adapter / "adapter_model.safetensors")
    longer = torch.cat([embeddings, torch.ones(3, embeddings.shape[1])])
    tensors["base_model.model.model.embed_tokens.weight"] = longer
    save_file(tensors, adapter / "adapter_model.safetensors", metadata={"format": "pt"})
    model = load_model(adapter, device="cpu")
    assert model.backbone.get_input_embeddings().weight.shape == longer.shape
    assert model.conversations.num_embeddings == len(longer)
    torch.testing.assert_close(torch.tensor(tiny.score_one(model, IDS)), expected, atol=1e-4, rtol=1e-4)


def test_an_adapter_of_another_base_is_refused(tmp_path):
    adapter, base = make(tmp_path)
    shutil.rmtree(base)
    tiny.save_classifier(base, "gpt2")
    with pytest.raises(ModelError, match="of its tensors have no place in it"):
        load_rules(ModelSource(adapter))


def test_an_adapter_without_its_weights_is_refused(tmp_path):
    adapter, _ = make(tmp_path)
    (adapter / "adapter_model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"adapter_model\.safetensors is missing"):
        load_rules(ModelSource(adapter))


def test_a_changed_adapter_is_merged_anew(tmp_path):
    adapter, _ = make(tmp_path)
    before = identify_model(ModelSource(adapter)).digest
    assert identify_model(ModelSource(adapter)).digest == before
    edit(adapter, lora_alpha=16)
    assert identify_model(ModelSource(adapter)).digest != before
