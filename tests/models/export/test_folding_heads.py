"""Heads of any trainer's name are folded into a classifier with the same margins; what is not linear is refused."""

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from encore_ray.errors import ModelError
from encore_ray.models.export.folding import fold_model
from encore_ray.models.spec.source import ModelSource
from encore_ray.rules import Scale
from tests.models import tiny_families

W = torch.randn(1, 32, generator=torch.Generator().manual_seed(1))
TURNS = [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Yes, the quick brown fox."}]
LINEAR = {
    "value_head": ({"value_head.weight": W}, {}, 1.0, 0.0),
    "v_head.summary": ({"v_head.summary.weight": W, "v_head.summary.bias": torch.tensor([0.5])}, {}, 1.0, 0.5),
    "score with a bias": ({"score.weight": W, "score.bias": torch.tensor([1.5])}, {"num_labels": 1}, 1.0, 1.5),
    "normalised": ({"value_head.weight": W}, {"normalize_reward": True, "mean": 1.0, "std": 2.0}, 0.5, -0.5),
}


def fold(folder, output):
    rules, scale = tiny_families.rules(1), Scale(-9.0, 9.0)
    return fold_model(
        ModelSource(folder), rules=rules, factor_K=[1.0], constant=0.0, scale=scale, text="", folder=output, facts={}
    )


@pytest.mark.parametrize("case", LINEAR)
@torch.inference_mode()
def test_a_folded_head_gives_the_rewards_but_for_the_offset_that_is_told(tmp_path, case):
    heads, settings, factor, offset = LINEAR[case]
    folder = tiny_families.save(tmp_path / "model", "llama", heads, architecture="LlamaForCausalLM", **settings)
    folded = fold(folder, tmp_path / "folded")
    assert folded.offset == pytest.approx(offset)
    tokenizer = AutoTokenizer.from_pretrained(folded.folder)
    ids = tokenizer.apply_chat_template(TURNS, return_dict=True, return_tensors="pt")["input_ids"]
    model = AutoModelForSequenceClassification.from_pretrained(folded.folder).eval()
    hidden_D = model.base_model(ids).last_hidden_state[0, -1]
    assert model(ids).logits.item() == pytest.approx(float(factor * (W[0] @ hidden_D)), abs=1e-4)


@pytest.mark.parametrize(
    ("heads", "settings", "message"),
    [
        ({"score.0.weight": W.repeat(8, 1), "score.2.weight": W[:, :8].clone()}, {}, "more than one linear layer"),
        (
            {"v_head.weight": W},
            {"architecture": "InternLM2ForRewardModel", "reward_token_id": 299},
            "a token of its own",
        ),
    ],
)
def test_what_no_classifier_does_is_refused(tmp_path, heads, settings, message):
    folder = tiny_families.save(tmp_path / "model", "llama", heads, **{"architecture": "LlamaForCausalLM", **settings})
    with pytest.raises(ModelError, match=message):
        fold(folder, tmp_path / "folded")
