"""Models that we save mean the same to transformers 4.57, which trainers pin, as to transformers 5.

pip install --target /tmp/tf4 --no-deps transformers==4.57.6 tokenizers==0.22.2 "huggingface_hub<1"
ENCORE_TRANSFORMERS_4=/tmp/tf4 python -m pytest tests/models/files/test_legible.py
"""

import json
import os
import subprocess
import sys

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from encore_ray.models.export.folding import fold_model
from encore_ray.models.files.legible import make_legible
from encore_ray.models.loading.checkpoint import load_model
from encore_ray.models.spec.source import ModelSource
from encore_ray.rules import Scale
from tests.models import tiny

OLDER = os.environ.get("ENCORE_TRANSFORMERS_4")
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32, "rope_theta": 5e5}
LLAMA3 = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32, "rope_theta": 5e5,
}  # fmt: skip
ROPES = {
    "plain": {"rope_type": "default", "rope_theta": 1e6},
    "linear": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4},
    "yarn": YARN,
    "llama3": LLAMA3,
}
TEXT = "How do I get rid of an old gas bottle? Please ask your local recycling centre."

SCORE = """
import sys, torch
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer, __version__
assert __version__.startswith("4."), __version__
path, kind = sys.argv[1:3]
tokenizer = AutoTokenizer.from_pretrained(path)
auto = AutoModelForSequenceClassification if kind == "classifier" else AutoModel
model = auto.from_pretrained(path, dtype=torch.float32).eval()
ids = tokenizer(sys.argv[3], return_tensors="pt")["input_ids"]
with torch.inference_mode():
    out = model(ids)
values = out.logits[0] if kind == "classifier" else out.last_hidden_state[0, -1]
print("IDS", *ids[0].tolist())
print("VALUES", *values.tolist())
"""


def by_transformers_4(folder, kind):
    """(ids, values) of the text by the older version, in a process of its own."""
    env = {**os.environ, "PYTHONPATH": str(OLDER)}
    done = subprocess.run(
        [sys.executable, "-c", SCORE, str(folder), kind, TEXT], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = dict(line.split(" ", 1) for line in done.stdout.splitlines() if line.startswith(("IDS", "VALUES")))
    return [int(each) for each in lines["IDS"].split()], [float(each) for each in lines["VALUES"].split()]


def folded(tmp_path, rope):
    """The one-label checkpoint that `export --as-model` makes of a classifier with these positions."""
    tok = tiny.tokenizer(chat=True)
    config = tiny.config("llama", vocab_size=len(tok), rope_parameters=rope)
    source = tiny.save_classifier(tmp_path / "model", config, tok=tok)
    fold_model(
        ModelSource(source), rules=tiny.RULES, factor_K=[0.5, 0.25, 0.25], constant=0.0, scale=Scale(-9.0, 9.0),
        text="", folder=tmp_path / "folded", facts={},
    )  # fmt: skip
    return tmp_path / "folded"


@pytest.mark.parametrize("rope", ROPES)
def test_positions_are_written_in_both_ways_and_read_as_before(tmp_path, rope):
    folder = folded(tmp_path, ROPES[rope])
    written = json.loads((folder / "config.json").read_text())
    assert written["rope_theta"] == ROPES[rope]["rope_theta"]
    assert written.get("rope_scaling", {}).get("rope_type", "default") == ROPES[rope]["rope_type"]
    read = AutoConfig.from_pretrained(folder).rope_parameters
    assert {key: read[key] for key in ROPES[rope]} == ROPES[rope]


@pytest.mark.parametrize("save", [folded, lambda tmp_path, _: tiny.save_own_form(tmp_path, "llama", pooling="last")])
def test_no_tokenizer_class_is_named_that_the_older_one_lacks(tmp_path, save):
    folder = save(tmp_path, ROPES["plain"])
    config = json.loads((folder / "tokenizer_config.json").read_text())
    assert config["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert "extra_special_tokens" not in config
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert "<|im_start|>" in tokenizer.all_special_tokens


@pytest.mark.parametrize(
    ("written", "older"),
    [
        ({"model_type": "gpt_neox", "rope_parameters": {"rope_theta": 7.0, "partial_rotary_factor": 0.25}},
         {"rotary_emb_base": 7.0, "rotary_pct": 0.25}),
        ({"model_type": "phi3", "rope_parameters": {"rope_theta": 7.0, "partial_rotary_factor": 0.5}},
         {"rope_theta": 7.0, "partial_rotary_factor": 0.5}),
        ({"model_type": "gemma3_text", "rope_parameters": {
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
            "sliding_attention": {"rope_type": "default", "rope_theta": 1e4}}},
         {"rope_theta": 1e6, "rope_local_base_freq": 1e4, "rope_scaling": {"rope_type": "linear", "factor": 8.0}}),
        ({"model_type": "bert"}, {}),
    ],
)  # fmt: skip
def test_the_older_keys_are_those_of_the_model_type(tmp_path, written, older):
    (tmp_path / "config.json").write_text(json.dumps(written))
    make_legible(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text()) == {**written, **older}


@pytest.mark.skipif(not OLDER, reason="ENCORE_TRANSFORMERS_4 names no transformers 4.57")
@pytest.mark.parametrize("rope", ROPES)
@torch.inference_mode()
def test_an_exported_model_has_the_same_score_in_both(tmp_path, rope):
    folder = folded(tmp_path, ROPES[rope])
    ids = AutoTokenizer.from_pretrained(folder)(TEXT)["input_ids"]
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    expected = model(torch.tensor([ids])).logits[0].tolist()
    found_ids, found = by_transformers_4(folder, "classifier")
    assert found_ids == ids
    assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.skipif(not OLDER, reason="ENCORE_TRANSFORMERS_4 names no transformers 4.57")
@pytest.mark.parametrize("family", ["llama", "qwen2", "gpt2", "bert", "roberta", "modernbert"])
@torch.inference_mode()
def test_the_body_of_our_own_form_is_the_same_in_both(tmp_path, family):
    folder = tiny.save_own_form(tmp_path, family, pooling="last")
    model = load_model(folder, device="cpu")
    ids = model.conversations.tokenizer(TEXT)["input_ids"]
    expected = model.backbone(torch.tensor([ids])).last_hidden_state[0, -1].tolist()
    found_ids, found = by_transformers_4(folder, "body")
    assert found_ids == ids
    assert found == pytest.approx(expected, abs=1e-4)
