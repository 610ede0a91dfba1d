"""The ledger of tensors: every one of a checkpoint is used, or the model is refused by that tensor's name."""

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForSequenceClassification

from encore_ray.errors import ModelError
from encore_ray.models.families.model_folder import ModelFolder
from encore_ray.models.loading.checkpoint import load_rules
from encore_ray.models.spec.source import ModelSource
from tests.models import tiny, tiny_families
from tests.models.architectures import ARCHITECTURES, backbone

CLASSIFIED = ("llama", "qwen2", "gpt2", "bert", "roberta", "modernbert")


def edit_tensors(folder, edit):
    tensors = load_file(folder / "model.safetensors")
    edit(tensors)
    save_file({name: each.contiguous() for name, each in tensors.items()}, folder / "model.safetensors")


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_tensor_of_a_saved_body_has_its_place(tmp_path, name):
    backbone(ARCHITECTURES[name].config).save_pretrained(tmp_path)
    assert ModelFolder(ModelSource(tmp_path)).account(AutoModel).is_whole


@pytest.mark.parametrize("family", CLASSIFIED)
def test_every_tensor_of_a_saved_classifier_has_its_place(tmp_path, family):
    tiny.save_classifier(tmp_path, family)
    assert ModelFolder(ModelSource(tmp_path)).account(AutoModelForSequenceClassification).is_whole


def second_last(tensors):
    """A whole layer behind the last one."""
    for name in [name for name in tensors if ".layers.1." in name]:
        tensors[name.replace(".layers.1.", ".layers.2.")] = tensors[name].clone()


STRAYS = {  # what is added to a checkpoint, and the name that the error must have
    "attention bias": (
        lambda t: t.update({"model.layers.0.self_attn.q_proj.bias": torch.ones(32)}),
        "model.layers.0.self_attn.q_proj.bias",
    ),
    "one layer more": (second_last, "model.layers.2.input_layernorm.weight"),
    "adapters that are not merged": (
        lambda t: t.update({"model.layers.0.self_attn.q_proj.lora_A.weight": torch.ones(4, 32)}),
        "merge_and_unload",
    ),
    "a normaliser": (lambda t: t.update({"mean": torch.ones(1), "std": torch.ones(1)}), "mean, std"),
    "a second norm": (lambda t: t.update({"model.norm.bias": torch.ones(32)}), "model.norm.bias"),
    "another head": (lambda t: t.update({"aux_head.weight": torch.ones(1, 32)}), "aux_head.weight"),
}


FOLDERS = {
    "classifier": lambda folder: tiny.save_classifier(folder, "llama"),
    "own form": lambda folder: tiny.save_own_form(folder, "llama", pooling="last"),
    "armorm": lambda folder: tiny_families.save_armorm(folder)[0],
    "qrm": lambda folder: tiny_families.save_qrm(folder)[0],
    "beaver": lambda folder: tiny_families.save_beaver(folder)[0],
}


@pytest.mark.parametrize("kind", FOLDERS)
@pytest.mark.parametrize("stray", STRAYS)
def test_a_tensor_that_nobody_would_use_is_refused_by_name(tmp_path, kind, stray):
    edit, name = STRAYS[stray]
    if kind == "own form" and stray in ("a normaliser", "another head"):
        pytest.skip("its heads are its own, whatever the backbone came with")
    folder = FOLDERS[kind](tmp_path)

    def add(tensors):
        edit(tensors)
        if kind == "own form":  # its body is saved without a prefix
            for name in [name for name in tensors if name.startswith("model.")]:
                tensors[name.removeprefix("model.")] = tensors.pop(name)
            if stray == "one layer more":
                for name in [name for name in tensors if name.startswith("layers.1.")]:
                    tensors[name.replace("layers.1.", "layers.2.")] = tensors[name].clone()

    edit_tensors(folder, add)
    with pytest.raises(ModelError, match=r"would not be used by|may be a head") as caught:
        load_rules(ModelSource(folder), rules=tiny_families.rules(_heads(kind)))
    assert name.removeprefix("model.") in str(caught.value)


def _heads(kind: str) -> int:
    return {"armorm": 19, "qrm": 5, "beaver": 1}.get(kind, 3)


def as_peft_saves_it(*, plain: bool = False, prefix: str = ""):
    """A classifier's tensors with the head that was trained in another's place."""

    def edit(tensors):
        head = tensors["score.weight"] if plain else tensors.pop("score.weight")
        tensors["score.modules_to_save.default.weight"] = head + 1
        tensors["score.original_module.weight"] = head.clone()
        for name in list(tensors):
            tensors[prefix + name] = tensors.pop(name)

    return edit


def without_merging(tensors):
    name = "model.layers.0.self_attn.q_proj"
    tensors[f"{name}.base_layer.weight"] = tensors.pop(f"{name}.weight")
    tensors[f"{name}.lora_A.default.weight"], tensors[f"{name}.lora_B.default.weight"] = (
        torch.ones(4, 32),
        torch.ones(32, 4),
    )


def drop(name):
    return lambda tensors: tensors.pop(name)


def head_as(name):
    return lambda tensors: tensors.update({f"{name}.weight": tensors.pop("score.weight")})


def whole_numbers(tensors):
    name = "model.layers.0.self_attn.q_proj.weight"
    tensors[name] = (100 * tensors[name]).to(torch.int8)


OF_ANOTHER = r"config\.json and the weight files are not of the same model"


@pytest.mark.parametrize(
    ("edit", "settings", "message"),
    [
        (as_peft_saves_it(), {}, r"score\.modules_to_save\.default\.weight, score\.original.*take \.modules_to_save"),
        (as_peft_saves_it(plain=True), {}, r"as peft saved them: score\.modules_to_save"),
        (
            as_peft_saves_it(prefix="base_model.model."),
            {},
            r"as peft saved them: base_model\.model\.score\.modules_to_save",
        ),
        (without_merging, {}, r"q_proj\.base_layer\.weight.*not merged.*merge_and_unload"),
        (whole_numbers, {}, r"1 of its weights are whole numbers \(model\.layers\.0\.self_attn\.q_proj\.weight\)"),
        (drop("score.weight"), {}, "Give a checkpoint with trained heads"),
        (drop("score.weight"), {"architectures": ["LlamaForCausalLM"]}, "let it judge"),
        (head_as("lm_head"), {}, r"may be a head: lm_head\.weight \[3, 32\]"),
        (head_as("lm_head"), {"architectures": ["LlamaForCausalLM"]}, r"may be a head: lm_head\.weight \[3, 32\]"),
        (
            lambda tensors: None,
            {"architectures": ["LlamaForTokenClassification"]},
            "write LlamaForSequenceClassification",
        ),
        (lambda tensors: None, {"architectures": ["Qwen2ForProcessRewardModel"]}, "is a process reward model"),
        (drop("model.norm.weight"), {}, OF_ANOTHER),
        (lambda tensors: None, {"num_hidden_layers": 3}, OF_ANOTHER),
        (lambda tensors: None, {"num_hidden_layers": 3, "architectures": ["LlamaForCausalLM"]}, OF_ANOTHER),
        (lambda tensors: None, {"vocab_size": 500}, OF_ANOTHER),
    ],
    ids=[
        *(
            "modules_to_save",
            "beside a head",
            "in wrappers",
            "not merged",
            "whole numbers",
            "no head",
            "language model",
        ),
        *("head as lm_head", "head as lm_head, language model", "tokens", "steps"),
        *("no norm", "a layer less", "a layer less, language model", "vocabulary"),
    ],
)
def test_what_a_checkpoint_lacks_is_said_with_what_to_do(tmp_path, edit, settings, message):
    folder = tiny.save_classifier(tmp_path, "llama")
    edit_tensors(folder, edit)
    config = folder / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), **settings}))
    with pytest.raises(ModelError, match=message):
        load_rules(ModelSource(folder))


IDLE = {
    "the vocabulary of a language model": ("llama", {"lm_head.weight": (406, 32)}),
    "an old table of rotations": ("llama", {"model.layers.0.self_attn.rotary_emb.inv_freq": (4,)}),
    "a causal mask": ("gpt2", {"transformer.h.0.attn.bias": (1, 1, 128, 128)}),
    "a head of the pre-training": ("bert", {"cls.predictions.bias": (300,)}),
    "a pooler that the class lacks": ("roberta", {"roberta.pooler.dense.weight": (32, 32)}),
}


@pytest.mark.parametrize("case", IDLE)
def test_what_decides_no_score_is_left_out(tmp_path, case):
    family, shapes = IDLE[case]
    folder = tiny.save_classifier(tmp_path, family)
    edit_tensors(folder, lambda tensors: tensors.update({name: torch.ones(shape) for name, shape in shapes.items()}))
    assert load_rules(ModelSource(folder)) == tiny.RULES


def damaged(edit):
    def make(folder: Path) -> None:
        file = folder / "model.safetensors"
        edit(folder, file)

    return make


def sharded(folder: Path, file: Path) -> Path:
    """The same weights in two files with an index."""
    tensors = load_file(file)
    names = sorted(tensors)
    files = {name: f"model-0000{1 + i % 2}-of-00002.safetensors" for i, name in enumerate(names)}
    for shard in set(files.values()):
        save_file({name: tensors[name] for name in names if files[name] == shard}, folder / shard)
    file.unlink()
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": files}))
    return index


def lacking(folder, file):
    sharded(folder, file)
    (folder / "model-00002-of-00002.safetensors").unlink()


def cut_shard(folder, file):
    sharded(folder, file)
    shard = folder / "model-00002-of-00002.safetensors"
    shard.write_bytes(shard.read_bytes()[:-100])


def cut_index(folder, file):
    index = sharded(folder, file)
    index.write_text(index.read_text()[:-40])


def no_map(folder, file):
    sharded(folder, file).write_text("{}")


def named_only(folder, file):
    index = sharded(folder, file)
    content = json.loads(index.read_text())
    content["weight_map"]["model.more.weight"] = "model-00001-of-00002.safetensors"
    index.write_text(json.dumps(content))


DAMAGE = {
    "a file that is cut": (lambda folder, file: file.write_bytes(file.read_bytes()[:-100]), "model.safetensors"),
    "an empty file": (lambda folder, file: file.write_bytes(b""), "model.safetensors"),
    "a pointer of git-lfs": (lambda folder, file: file.write_text("version https://git-lfs\n"), "model.safetensors"),
    "a shard that is not there": (lacking, "model-00002-of-00002.safetensors"),
    "a shard that is cut": (cut_shard, "model-00002-of-00002.safetensors"),
    "an index that is cut": (cut_index, "index.json is damaged"),
    "an index without a map": (no_map, "index.json is damaged"),
    "an index with more than the shards": (named_only, "model.more.weight"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_weights_are_told_by_their_file_before_anything_is_loaded(tmp_path, case):
    folder = tiny.save_classifier(tmp_path, "llama")
    damage, message = DAMAGE[case]
    damage(folder, folder / "model.safetensors")
    with pytest.raises(ModelError, match="Fetch or save the model again") as caught:
        load_rules(ModelSource(folder))
    assert message in str(caught.value)


def test_a_second_saving_of_a_model_is_refused_and_an_index_without_its_shards_is_not(tmp_path):
    folder = tiny.save_classifier(tmp_path, "llama")
    file = folder / "model.safetensors"
    single, scores = file.read_bytes(), load_rules(ModelSource(folder))
    sharded(folder, file)
    file.write_bytes(single)
    with pytest.raises(ModelError, match=r"model\.safetensors lies beside 2 shards of .*Delete the older one"):
        load_rules(ModelSource(folder))
    for shard in folder.glob("model-*.safetensors"):
        shard.unlink()
    assert load_rules(ModelSource(folder)) == scores


def test_weights_that_are_only_names_are_refused_with_what_makes_them_whole(tmp_path):
    folder = tiny.save_classifier(tmp_path, "llama")
    edit_tensors(folder, lambda tensors: tensors.update({n: torch.zeros(0) for n in tensors if "mlp" in n}))
    with pytest.raises(ModelError, match=r"weights are empty .*mlp.*ZeRO-3.*zero_to_fp32\.py"):
        load_rules(ModelSource(folder))


@pytest.mark.parametrize("around", ["module.", "_orig_mod.module.", "rwtransformer."])
@pytest.mark.parametrize("head", ["score", "v_head"])
def test_what_stood_around_a_model_when_it_was_saved_is_named(tmp_path, around, head):
    own = "" if around == "rwtransformer." else around

    def wrap(tensors):
        for name in list(tensors):
            inside = f"{own}{head}.weight" if name == "score.weight" else around + name.removeprefix("model.")
            tensors[inside] = tensors.pop(name)

    folder = tiny.save_classifier(tmp_path, "llama")
    edit_tensors(folder, wrap)
    with pytest.raises(ModelError, match=rf"the names of its weights begin with {re.escape(around)}, .* Take "):
        load_rules(ModelSource(folder))


CONFIGS = {
    "a rope type that nobody knows": ({"rope_parameters": {"rope_type": "spiral", "rope_theta": 1e4}}, "spiral"),
    "an activation that nobody knows": ({"hidden_act": "wavelu"}, "wavelu"),
    "a model type that nobody knows": ({"model_type": "llama9"}, "llama9"),
    "8 bits": ({"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}}, "package bitsandbytes"),
    "gptq": ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "package gptqmodel"),
    "awq": ({"quantization_config": {"quant_method": "awq", "bits": 4}}, "package gptqmodel"),
    "a number that is none": ({"num_hidden_layers": "two"}, "num_hidden_layers"),
}


@pytest.mark.parametrize("case", CONFIGS)
def test_a_configuration_that_cannot_be_used_is_one_sentence_for_the_user(tmp_path, case):
    folder = tiny.save_classifier(tmp_path, "llama")
    changes, message = CONFIGS[case]
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))
    with pytest.raises(ModelError) as caught:
        load_rules(ModelSource(folder))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_package_that_the_models_own_code_lacks_is_named(tmp_path):
    folder = tiny.save_classifier(tmp_path, "llama")
    (folder / "modeling_own.py").write_text(
        "import surely_not_there\nfrom transformers import LlamaForSequenceClassification\n\n\n"
        "class Own(LlamaForSequenceClassification):\n    pass\n"
    )
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModelForSequenceClassification": "modeling_own.Own"}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="needs the package surely_not_there, which is not installed"):
        load_rules(ModelSource(folder, trust_remote_code=True))
