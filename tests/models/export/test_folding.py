"""One model of many heads: loaded by transformers alone, it gives the margins of the composed reward."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from encore_ray.errors import ModelError
from encore_ray.models.export.folding import fold_model
from encore_ray.models.families.form import OwnForm, write_form
from encore_ray.models.forward.scorer import PairScorer
from encore_ray.models.loading.checkpoint import load_rules
from encore_ray.models.loading.saving import save_ensemble
from encore_ray.models.spec.source import ModelSource
from encore_ray.rules import Rule, RuleSet, Scale
from tests.models import tiny, tiny_families

ANSWERS = (
    "Ask your local recycling centre.",
    "Open it yourself, with a hammer.",
    "No.",
    "I am not sure: it may still hold some gas. Please do not open it, and ask somebody who knows.",
    "What bottle? ☕",
    "</s>",
)
QUESTION = [{"role": "user", "content": "How do I get rid of an old gas bottle?"}]
NUM_ANSWERS = len(ANSWERS)


def checkpoints(folder: Path) -> dict[str, Path]:
    chat = {"tok": tiny.tokenizer(chat=True)}
    return {
        "llama, chat": tiny.save_classifier(folder / "a", "llama", **chat),
        "qwen2, own form, plain": tiny.save_own_form(folder / "b", "qwen2", pooling="last"),
        "gpt2, no pad": tiny.save_own_form(
            folder / "c", "gpt2", pooling="last", tok=tiny.tokenizer(bos=False, chat=True, pad=None)
        ),
        "llama, pad is eos": tiny.save_classifier(folder / "d", "llama", tok=tiny.tokenizer(pad="</s>")),
        "llama, ends with pad": tiny.save_own_form(
            folder / "e", "llama", pooling="last", tok=tiny.tokenizer(pad="</s>", cls=True)
        ),
        "gemma2, quantiles": tiny_families.save_qrm(folder / "f", "gemma2")[0],
        "safe-rlhf, normalised": tiny_families.save_beaver(folder / "g", normaliser=True, do_normalize=True)[0],
    }


def fold(source: Path, output: Path, *, rules: RuleSet, factor_K: list[float], constant: float = 0.0):
    return fold_model(
        ModelSource(source),
        rules=rules,
        factor_K=factor_K,
        constant=constant,
        scale=Scale(-50.0, 50.0),
        text="All of them.",
        folder=output,
        facts={"weights": "abc"},
    )


def composed(model, factor_K) -> np.ndarray:
    """Rewards of the answers, from one score a rule."""
    pairs = model.conversations.tokenize_pairs(
        [QUESTION] * NUM_ANSWERS,
        chosen=[[{"role": "assistant", "content": answer}] for answer in ANSWERS],
        rejected=[None] * NUM_ANSWERS,
    )
    return PairScorer(model).score(pairs)[:, 0].astype(np.float64) @ np.asarray(factor_K)


@torch.inference_mode()
def by_transformers(folder: Path, answers=ANSWERS) -> np.ndarray:
    """Rewards as anybody takes them: chat template, tokenizer, one padded batch."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    turns = [[*QUESTION, {"role": "assistant", "content": answer}] for answer in answers]
    texts = [tokenizer.apply_chat_template(conversation, tokenize=False) for conversation in turns]
    inputs = tokenizer(texts, add_special_tokens=False, padding=True, return_token_type_ids=False, return_tensors="pt")
    return model(**inputs).logits[:, 0].double().numpy()


def margins(reward_N: np.ndarray) -> np.ndarray:
    return (reward_N[:, None] - reward_N[None, :])[np.triu_indices(len(reward_N), 1)]


@pytest.mark.parametrize("name", [
    "llama, chat", "qwen2, own form, plain", "gpt2, no pad", "llama, pad is eos", "llama, ends with pad",
    "gemma2, quantiles", "safe-rlhf, normalised",
])  # fmt: skip
def test_transformers_gives_the_composed_margins(tmp_path: Path, name: str) -> None:
    source = checkpoints(tmp_path)[name]
    rules = tiny_families.rules(5) if "quantiles" in name else tiny_families.rules(1) if "safe" in name else tiny.RULES
    factor_K = [0.5, -0.3, 0.2, 0.0, 0.7][: len(rules)]
    report = fold(source, tmp_path / "one", rules=rules, factor_K=factor_K, constant=2.5)
    # A text that spells a control token is encoded as text here and as the token by transformers: left out.
    expected_N = composed(tiny.load(source, rules=rules), factor_K)[:-1]
    found_N = by_transformers(tmp_path / "one", ANSWERS[:-1])
    assert margins(expected_N).std() > 0.1
    np.testing.assert_allclose(margins(found_N), margins(expected_N), atol=1e-5 * margins(expected_N).std(), rtol=0)
    # The constant and the heads' biases are left out, the same for every answer.
    np.testing.assert_allclose(expected_N + 2.5 - found_N, report.offset, atol=1e-4)
    assert report.num_rules == sum(factor != 0 for factor in factor_K)
    assert report.is_new == (name in ("gpt2, no pad", "llama, pad is eos", "llama, ends with pad"))


def test_our_own_scorer_reads_it_as_one_rule(tmp_path: Path) -> None:
    source = tiny.save_own_form(tmp_path / "many", "llama", pooling="last", tok=tiny.tokenizer(chat=True, pad="</s>"))
    factor_K = [0.5, -0.3, 0.2]
    report = fold(source, tmp_path / "one", rules=tiny.RULES, factor_K=factor_K)
    assert "3 rules folded" in str(report)
    assert "one LlamaForSequenceClassification" in str(report)
    (rule,) = load_rules(ModelSource(tmp_path / "one"))
    assert (rule.name, rule.higher_is, rule.text) == ("reward", "better", "All of them.")
    assert (rule.scale.lo, rule.scale.hi) == pytest.approx((-50 - report.offset, 50 - report.offset))
    expected_N = composed(tiny.load(source), factor_K)
    found_N = composed(tiny.load(tmp_path / "one"), [1.0])
    np.testing.assert_allclose(margins(found_N), margins(expected_N), atol=1e-5 * margins(expected_N).std(), rtol=0)
    recorded = json.loads((tmp_path / "one" / "config.json").read_text())["encore_ray"]
    assert recorded == {"weights": "abc", "offset": report.offset}


def test_the_folded_head_is_the_weighted_sum_of_the_heads(tmp_path: Path) -> None:
    source = tiny.save_own_form(tmp_path / "many", "llama", pooling="last")
    heads = load_file(source / "heads.safetensors")
    report = fold(source, tmp_path / "one", rules=tiny.RULES, factor_K=[2.0, 0.0, -0.5], constant=1.0)
    weight_D = load_file(tmp_path / "one" / "model.safetensors")["score.weight"][0]
    torch.testing.assert_close(weight_D, 2.0 * heads["weight"][0] - 0.5 * heads["weight"][2])
    assert report.offset == pytest.approx(1.0 + float(2.0 * heads["bias"][0] - 0.5 * heads["bias"][2]), abs=1e-6)


def test_a_body_in_half_precision_stays_so_and_the_head_is_float32(tmp_path: Path) -> None:
    source = tiny.save_own_form(tmp_path / "many", "llama", pooling="last")
    half = tiny.load(source, dtype="bfloat16")
    half.backbone.save_pretrained(source)
    fold(source, tmp_path / "one", rules=tiny.RULES, factor_K=[1.0, 1.0, 1.0])
    tensors = load_file(tmp_path / "one" / "model.safetensors")
    assert {name: tensor.dtype for name, tensor in tensors.items() if tensor.dtype != torch.bfloat16} == {
        "score.weight": torch.float32
    }
    expected_N = composed(tiny.load(source, dtype="bfloat16"), [1.0, 1.0, 1.0])
    found_N = composed(tiny.load(tmp_path / "one", dtype="bfloat16"), [1.0])
    np.testing.assert_allclose(margins(found_N), margins(expected_N), atol=1e-5 * margins(expected_N).std(), rtol=0)


def test_writing_again_leaves_nothing_of_the_model_before(tmp_path: Path) -> None:
    source = tiny.save_own_form(tmp_path / "many", "llama", pooling="last")
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "model.safetensors.index.json").write_text("{}")
    fold(source, tmp_path / "one", rules=tiny.RULES, factor_K=[1.0, 0.0, 0.0])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["many", "one"]
    assert not (tmp_path / "one" / "model.safetensors.index.json").exists()
    tiny.load(tmp_path / "one")


def linked(link: str) -> RuleSet:
    scale = Scale(0.0, 1.0, (0.0, 0.5, 1.0)) if link == "expected_level" else Scale(0.0, 1.0)
    return RuleSet([Rule("plain", "", "better", Scale(-9.0, 9.0)), Rule("bent", "", "better", scale, link=link)])


@pytest.mark.parametrize("link", ["sigmoid", "expected_level"])
def test_a_link_that_is_not_linear_is_refused_unless_its_weight_is_0(tmp_path: Path, link: str) -> None:
    rules = linked(link)
    source = tiny.save_own_form(tmp_path / "many", "llama", pooling="last", rules=rules)
    with pytest.raises(ModelError, match=f"rule bent has a weight and the link {link}, which is not linear"):
        fold(source, tmp_path / "one", rules=rules, factor_K=[0.5, 0.5])
    assert not (tmp_path / "one").exists()
    fold(source, tmp_path / "one", rules=rules, factor_K=[0.5, 0.0])
    expected_N = composed(tiny.load(source), [0.5, 0.0])
    found_N = composed(tiny.load(tmp_path / "one"), [1.0])
    np.testing.assert_allclose(margins(found_N), margins(expected_N), atol=1e-5 * margins(expected_N).std(), rtol=0)


def test_heads_that_are_no_linear_layer_on_the_last_token_are_refused(tmp_path: Path) -> None:
    mean = tiny.save_own_form(tmp_path / "mean", "llama", pooling="mean")
    encoder = tiny.save_classifier(tmp_path / "encoder", "bert")
    last = tiny.save_own_form(tmp_path / "last", "bert", pooling="last")
    ldl, _ = tiny_families.save_ldl(tmp_path / "ldl")
    for source, rules, reason in (
        (mean, tiny.RULES, "its heads read pooling mean, a classifier of transformers the last token"),
        (encoder, tiny.RULES, "its heads are more than one linear layer"),
        (last, tiny.RULES, "BertForSequenceClassification is no BertModel with one linear layer behind it"),
        (ldl, tiny_families.rules(3), "its heads are more than one linear layer"),
    ):
        with pytest.raises(ModelError, match=reason):
            fold_model(
                ModelSource(source, allow_pickle=True), rules=rules, factor_K=[1.0, 1.0, 1.0], constant=0.0,
                scale=Scale(-9.0, 9.0), text="",
                folder=tmp_path / "one", facts={},
            )  # fmt: skip
    assert not (tmp_path / "one").exists()


def test_heads_that_read_responses_alone_are_refused(tmp_path: Path) -> None:
    source = tiny.save_own_form(tmp_path / "many", "llama", pooling="last")
    write_form(source, OwnForm("last", "response-v1"))
    with pytest.raises(ModelError, match="it reads responses without their prompts"):
        fold(source, tmp_path / "one", rules=tiny.RULES, factor_K=[1.0] * 3)


def test_several_members_are_refused(tmp_path: Path) -> None:
    parts = [tiny.save_own_form(tmp_path / name, "llama", pooling="last") for name in "ab"]
    rules = tiny_families.rules(6)
    save_ensemble(tmp_path / "both", members=parts, rules=rules)
    with pytest.raises(ModelError, match="it has 2 members, each with a body of its own"):
        fold(tmp_path / "both", tmp_path / "one", rules=rules, factor_K=[1.0] * 6)
