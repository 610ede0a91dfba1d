"""Known families of reward models, each against its official forward; and every near miss refused."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from encore_ray.errors import DataError, ModelError
from encore_ray.models.families import families
from encore_ray.models.families.family import Family
from encore_ray.models.families.model_folder import Head, ModelFolder, Opened
from encore_ray.models.forward.attention.prefix import ATTENTION
from encore_ray.models.forward.heads import LinearHeads, PooledHeads
from encore_ray.models.forward.scorer import PairScorer
from encore_ray.models.loading import fetch
from encore_ray.models.loading.checkpoint import load_rules
from encore_ray.models.loading.fetch import wanted_files
from encore_ray.models.loading.identity import identify_model
from encore_ray.models.spec.source import ModelSource
from tests.models import tiny, tiny_families

FAMILIES = ("armorm", "qrm", "qrm_gemma", "ldl", "urm", "beaver")


def build(name: str, folder: Path):
    """(folder, reference, number of rules) of a family."""
    if name == "armorm":
        return *tiny_families.save_armorm(folder), 19
    if name == "qrm":
        return *tiny_families.save_qrm(folder), 5
    if name == "qrm_gemma":
        gemma = "Gemma2ForQuantileSequenceClassification"
        return *tiny_families.save_qrm(folder, "gemma2", transform=False, architecture=gemma), 5
    if name == "ldl":
        return *tiny_families.save_ldl(folder), 3
    if name == "urm":
        return *tiny_families.save_urm(folder), 5
    return *tiny_families.save_beaver(folder), 1


@pytest.fixture(scope="module", params=FAMILIES)
def family(request, tmp_path_factory):
    return build(request.param, tmp_path_factory.mktemp(request.param))


def load(folder, num_rules, **options):
    return tiny.load(folder, rules=tiny_families.rules(num_rules), allow_pickle=True, **options)


@torch.inference_mode()
def last_hidden(model, ids):
    """The hidden state after the last token of one sequence alone, by transformers' own forward."""
    if model.backbone.config._attn_implementation == ATTENTION:
        model.backbone.set_attn_implementation("sdpa")
    return model.backbone(input_ids=torch.tensor([list(map(int, ids))])).last_hidden_state[0, -1].float()


def assert_scores(model, reference, *, tolerance=1e-5):
    pairs = tiny.random_pairs(4, vocab_size=300, seed=5)
    scores = PairScorer(model).score(pairs)
    num_rules = len(model.rules)
    for i, both in enumerate(zip(pairs.chosen_ids, pairs.rejected_ids, strict=True)):
        for side, ids in enumerate(both):
            expected = reference(last_hidden(model, ids))[:num_rules].numpy()
            sd = np.maximum(scores.std(axis=(0, 1)), 1e-3)
            np.testing.assert_array_less(np.abs(scores[i, side] - expected) / sd, tolerance)
    return scores


def edit_config(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))


def edit_tensors(folder, edit):
    tensors = load_file(folder / "model.safetensors")
    edit(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def test_the_scores_are_those_of_the_official_forward(family):
    folder, reference, num_rules = family
    scores = assert_scores(load(folder, num_rules), reference)
    assert scores.std() > 1e-2


def test_heads_stay_in_float32_beside_a_half_precision_body(family):
    folder, reference, num_rules = family
    model = load(folder, num_rules, dtype="bfloat16")
    assert {parameter.dtype for parameter in model.heads.parameters()} == {torch.float32}
    assert {parameter.dtype for parameter in model.backbone.parameters()} == {torch.bfloat16}
    ids = list(range(10, 30))
    scores = tiny.score_one(model, ids)
    # Heads rounded to bfloat16 are off by about 4e-3 of their size; the float32 ones only by the order of a sum.
    np.testing.assert_allclose(scores, reference(last_hidden(model, ids))[:num_rules], rtol=1e-4, atol=1e-4)


def test_the_expected_levels_of_ldl_make_up_its_own_score_under_its_gate(tmp_path):
    folder, official = tiny_families.save_ldl(tmp_path)
    model = load(folder, 3)
    ids = [7, 8, 9, 10]
    score = official(last_hidden(model, ids))[3]
    gate = np.array([0.5, -1.0, 2.0])
    assert gate @ tiny.score_one(model, ids) == pytest.approx(float(score), abs=1e-6)


@pytest.mark.parametrize(
    ("settings", "normalise"),
    [
        ({"do_normalize": False, "normaliser": True}, lambda score: score),
        ({"do_normalize": True, "normaliser": True}, lambda score: (score - 2.0) / 3.0),
        ({"do_normalize": True, "normaliser": True, "score_type": "cost"}, lambda score: score / 3.0),
        ({"do_normalize": True, "normaliser": True, "score_type": "critic"}, lambda score: score),
        ({"do_normalize": True, "mean": [1.0], "var": [4.0]}, lambda score: (score - 1.0) / 2.0),
        ({"do_normalize": True, "bias": False}, lambda score: score),
    ],
)
def test_a_safe_rlhf_score_is_normalised_as_its_configuration_says(tmp_path, settings, normalise):
    folder, reference = tiny_families.save_beaver(tmp_path, **settings)
    assert_scores(load(folder, 1), lambda hidden_D: normalise(reference(hidden_D)))


def test_a_safe_rlhf_head_is_found_on_any_backbone(tmp_path):
    weight = torch.randn(2, 32, generator=torch.Generator().manual_seed(1))
    folder = tiny_families.save(
        tmp_path, "gpt2", {"score_head.weight": weight}, architecture="GPT2ForScore", prefix="transformer."
    )
    assert_scores(load(folder, 2), lambda hidden_D: weight @ hidden_D)


def test_safe_rlhf_conversations_are_written_as_in_its_training(tmp_path):
    folder, _ = tiny_families.save_beaver(tmp_path)
    conversations = load(folder, 1).conversations
    turns = [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Yes."}] * 2
    pairs = conversations.tokenize_pairs([turns[:3]], chosen=[turns[3:]], rejected=[None])
    text = "BEGINNING OF CONVERSATION: " + "USER: Hello? ASSISTANT:Yes.</s>" * 2
    assert pairs.chosen_ids[0].tolist() == conversations.tokenizer(text)["input_ids"]
    assert pairs.chosen_ids[0].tolist().count(0) == 1  # one BOS
    with pytest.raises(DataError, match="turns must alternate between user and assistant"):
        conversations.tokenize_pairs([turns[:1]], chosen=[turns[:1]], rejected=[None])


def test_a_safe_rlhf_tokenizer_with_a_chat_template_keeps_it(tmp_path):
    folder, _ = tiny_families.save_beaver(tmp_path, tok=tiny.tokenizer(chat=True))
    assert load(folder, 1).conversations.tokenizer.chat_template == tiny.TEMPLATE


SAVES = [tiny_families.save_armorm, tiny_families.save_qrm, tiny_families.save_ldl, tiny_families.save_urm]


@pytest.mark.parametrize("save", SAVES)
def test_a_family_that_reads_chats_is_refused_without_a_chat_template(tmp_path, save):
    folder, _ = save(tmp_path, tok=tiny.tokenizer())
    with pytest.raises(ModelError, match="chat template, but its tokenizer has none"):
        load(folder, {"save_armorm": 19, "save_qrm": 5, "save_ldl": 3, "save_urm": 5}[save.__name__])


def test_the_models_own_code_is_not_needed_and_not_run(tmp_path):
    auto_map = {"AutoModelForSequenceClassification": "modeling_custom.LlamaForRewardModelWithGating"}
    folder, reference = tiny_families.save_armorm(tmp_path, auto_map=auto_map)
    (folder / "modeling_custom.py").write_text("raise SystemExit('foreign code was run')\n")
    assert_scores(load(folder, 19), reference)


def test_heads_that_are_no_part_of_the_body_are_not_reported_as_unexpected(tmp_path, caplog):
    folder, _ = tiny_families.save_armorm(tmp_path)
    logger = logging.getLogger("transformers")  # passes nothing on to the root logger
    logger.addHandler(caplog.handler)
    load(folder, 19)
    logger.removeHandler(caplog.handler)
    assert not caplog.records


def test_a_head_is_found_in_whichever_shard_it_lies(tmp_path):
    folder, reference = tiny_families.save_armorm(tmp_path, shards=3)
    assert_scores(load(folder, 19), reference)


def test_pickled_heads_are_read_only_if_asked_for(tmp_path):
    folder, reference = tiny_families.save_beaver(tmp_path)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"has no tensor score_head\.weight.*--allow-pickle"):
        load_rules(ModelSource(folder), rules=tiny_families.rules(1))
    assert_scores(load(folder, 1), reference)


def test_the_pickled_network_of_ldl_is_read_only_if_asked_for(tmp_path):
    folder, _ = tiny_families.save_ldl(tmp_path)
    with pytest.raises(ModelError, match=r"regression_layer\.pt is a pickle.*--allow-pickle"):
        tiny.load(folder, rules=tiny_families.rules(3))


def test_a_pickle_that_runs_code_is_refused_even_if_pickles_are_allowed(tmp_path):
    folder, _ = tiny_families.save_ldl(tmp_path)
    torch.save({"network.0.weight": Path("/")}, folder / "regression_layer.pt")
    with pytest.raises(ModelError, match="is no file of tensors"):
        load(folder, 3)


@pytest.mark.parametrize(
    ("name", "first", "last", "count"),
    [
        ("armorm", "helpsteer-helpfulness", "code-readability", 19),
        ("qrm", "helpsteer-helpfulness", "helpsteer-verbosity", 5),
        ("ldl", "objective_1", "objective_3", 3),
        ("urm", "helpfulness", "verbosity", 5),
        ("beaver", "reward", "reward", 1),
    ],
)
def test_missing_rules_are_answered_with_the_names_that_the_authors_give(tmp_path, name, first, last, count):
    folder, _, _ = build(name, tmp_path)
    with pytest.raises(ModelError, match=rf"its {count} heads mean is not known") as caught:
        load_rules(ModelSource(folder, allow_pickle=True))
    lines = str(caught.value).splitlines()
    names = [json.loads(line.removeprefix("- name: ")) for line in lines if line.startswith("- name: ")]
    assert (names[0], names[-1], len(names)) == (first, last, count)
    assert lines.count("  scale: {lo: 0, hi: 1}") == (3 if name == "ldl" else 0)  # only LDL's code states its scale


@pytest.mark.parametrize(("kind", "direction"), [("reward", "better"), ("cost", "worse"), ("critic", "?")])
def test_the_direction_of_a_safe_rlhf_score_is_prefilled(tmp_path, kind, direction):
    folder, _ = tiny_families.save_beaver(tmp_path, score_type=kind)
    with pytest.raises(ModelError, match=f'name: "{kind}"') as caught:
        load_rules(ModelSource(folder))
    assert f"higher_is: {direction}" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_quantiles": 3}, r"5 objectives \* 3 quantiles, 32\]; found \[20, 32\]"),
        ({"num_objectives": 6}, r"as gating.layers.11.weight has outputs, 5; found num_objectives 6"),
        ({"hidden_size": 64}, r"n quantiles, 64\]|4 quantiles, 64\]"),
    ],
)
def test_a_regression_layer_that_contradicts_its_configuration_is_refused(tmp_path, changes, message):
    folder, _ = tiny_families.save_qrm(tmp_path)
    edit_config(folder, **changes)
    with pytest.raises(ModelError, match=message):
        load_rules(ModelSource(folder), rules=tiny_families.rules(5))


def test_a_regression_layer_of_another_build_is_refused(tmp_path):
    folder, _ = tiny_families.save_armorm(tmp_path)
    edit_tensors(folder, lambda tensors: tensors.update({"regression_layer.bias": torch.zeros(19)}))
    with pytest.raises(ModelError, match=r"expected regression_layer.weight alone; found regression_layer.bias"):
        load_rules(ModelSource(folder), rules=tiny_families.rules(19))


def test_a_gate_is_not_needed_where_the_configuration_counts_the_objectives(tmp_path):
    folder, reference = tiny_families.save_qrm(tmp_path)

    def drop_gate(tensors):
        for name in [name for name in tensors if name.startswith("gating.")]:
            del tensors[name]

    edit_tensors(folder, drop_gate)
    assert_scores(load(folder, 5), reference)
    edit_config(folder, num_objectives=None)
    with pytest.raises(ModelError, match=r"num_objectives in config\.json; found neither"):
        load_rules(ModelSource(folder), rules=tiny_families.rules(5))


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ({"network.0.weight": torch.zeros(30, 32)}, "linear layers network.0"),
        ({"network.0.weight": torch.zeros(30, 31), "network.0.bias": torch.zeros(30)}, r"\[30, 32\]; found \[30, 31\]"),
        ({"network.0.weight": torch.zeros(20, 32), "network.0.bias": torch.zeros(20)}, "expected 30 outputs; found 20"),
    ],
)
def test_a_level_network_of_another_build_is_refused(tmp_path, network, message):
    folder, _ = tiny_families.save_ldl(tmp_path)
    torch.save(network, folder / "regression_layer.pt")
    with pytest.raises(ModelError, match=message):
        load(folder, 3)


def test_the_means_of_urm_and_no_spreads_make_up_its_own_reward_under_its_mixture(tmp_path):
    """Of three attributes, so that no name is known; the mixture's weights depend on the text, and are asked for."""
    folder, official = tiny_families.save_urm(tmp_path, num_attributes=3)
    model = load(folder, 3)
    hidden_D = last_hidden(model, [7, 8, 9, 10])
    *means, reward = official(hidden_D).tolist()
    tensors = load_file(folder / "model.safetensors")
    weigh_H = hidden_D
    for layer in (0, 2, 4):
        weigh_H = tensors[f"weights.fc.{layer}.weight"] @ weigh_H + tensors[f"weights.fc.{layer}.bias"]
        weigh_H = torch.nn.functional.selu(weigh_H) if layer < 4 else weigh_H
    scores = tiny.score_one(model, [7, 8, 9, 10])
    assert weigh_H.numpy() @ scores == pytest.approx(reward, abs=1e-5)
    np.testing.assert_allclose(scores, means, atol=1e-5)


@pytest.mark.parametrize(
    ("edit", "found"),
    [
        (lambda tensors: tensors.update({"score.weight": torch.zeros(9, 32)}), r"\[9, 32\]"),
        (lambda tensors: tensors.update({"score.weight": torch.zeros(5, 32)}), r"\[5, 32\]"),
        (lambda tensors: tensors.pop("weights.fc.4.weight"), r"has no tensor weights\.fc\.4\.weight"),
    ],
)
def test_a_mean_and_a_spread_are_there_for_each_output_of_the_mixture(tmp_path, edit, found):
    folder, _ = tiny_families.save_urm(tmp_path)
    edit_tensors(folder, edit)
    with pytest.raises(ModelError, match=found):
        load_rules(ModelSource(folder), rules=tiny_families.rules(5))


def test_levels_that_are_not_ten_each_are_refused(tmp_path):
    folder, _ = tiny_families.save_ldl(tmp_path, num_objectives=25)
    with pytest.raises(ModelError, match="a multiple of 10 levels; found num_objectives 25"):
        load_rules(ModelSource(folder), rules=tiny_families.rules(2))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"score_type": "regret"}, "score_type reward, cost or critic; found 'regret'"),
        ({"mean": [0.0, 1.0]}, r"a normaliser with 1 values of mean; found \[2\]"),
    ],
)
def test_an_unknown_normaliser_is_refused(tmp_path, settings, message):
    folder, _ = tiny_families.save_beaver(tmp_path, do_normalize=True, **settings)
    with pytest.raises(ModelError, match=message):
        load_rules(ModelSource(folder), rules=tiny_families.rules(1))


class OneNumberModels(Family):
    """A family of one rule whose only weight is a number in a file of its own: more than any real one needs."""

    architectures = ("BertForOneNumber",)

    def has(self, folder: ModelFolder) -> bool:
        return (folder.path / "one_number.bin2").exists()

    def open(self, folder: ModelFolder) -> Opened:
        number = float((folder.path / "one_number.bin2").read_text())
        heads = LinearHeads(torch.ones(1, folder.hidden_size), torch.tensor([number]))
        return Opened(
            (Head("One number", "worse", (0, 9)),),
            lambda dtype: (folder.load_body(dtype), PooledHeads(heads, pooling="last")),
            template="plain-v1",
        )


def test_a_new_family_is_one_class_in_the_table_and_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tiny_families.save(tmp_path / "model", "gpt2", {}, architecture="BertForOneNumber", prefix="transformer.")
    source = ModelSource(folder)
    before = identify_model(source).digest
    (folder / "one_number.bin2").write_text("0.5")
    assert identify_model(source).digest == before  # a file that nobody knows decides nothing
    monkeypatch.setattr(families, "FAMILIES", (*families.FAMILIES, OneNumberModels()))
    monkeypatch.setattr(fetch, "FAMILY_FILES", (*fetch.FAMILY_FILES, "one_number.bin2"))
    # Planned: it is fetched and copied with its file, which is a part of what it is, and asks for its rules.
    assert "one_number.bin2" in wanted_files(allow_pickle=False)
    identified = identify_model(source).digest
    assert identified != before
    with pytest.raises(ModelError, match=r'text: "One number"\n  higher_is: worse\n  scale: {lo: 0, hi: 9}'):
        load_rules(source)
    assert load_rules(source, rules=tiny_families.rules(1)) == tiny_families.rules(1)
    # Scored by its heads.
    model = load(folder, 1)
    (scores_2K,) = PairScorer(model).score(tiny.random_pairs(1, vocab_size=300, seed=5))
    ids = tiny.random_pairs(1, vocab_size=300, seed=5).chosen_ids[0]
    assert scores_2K[0, 0] == pytest.approx(float(last_hidden(model, ids).sum()) + 0.5, abs=1e-4)
    # Told by its architecture alone, its own error says what is missing.
    (folder / "one_number.bin2").unlink()
    with pytest.raises(FileNotFoundError, match="one_number"):
        load_rules(source)
