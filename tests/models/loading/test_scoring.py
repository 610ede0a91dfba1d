"""What an actor holds: members act as one model, check themselves, and never end for want of memory."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from encore_ray.errors import ConfigError, ModelError
from encore_ray.models.forward.strategy import Strategy
from encore_ray.models.loading.checkpoint import load_rules
from encore_ray.models.loading.choose_strategy import choose_strategies
from encore_ray.models.loading.saving import save_ensemble
from encore_ray.models.loading.scoring import Prepared, Scoring, load_scoring
from encore_ray.models.spec.load_options import LoadOptions
from encore_ray.models.spec.source import ModelSource
from encore_ray.models.text.conversations import TokenizedPairs
from encore_ray.rules import Rule, RuleSet, Scale
from tests.models import tiny
from tests.models.forward.test_budget import limit_memory

CPU = LoadOptions(device="cpu")
MORE = RuleSet(Rule(f"more_{k}", f"More {k}.", "better", Scale(-9.0, 9.0)) for k in range(2))
QUESTION = [{"role": "user", "content": "How do I get rid of an old gas bottle?"}]


def answer(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def prepare(scoring: Scoring, *, num_pairs: int = 12, longest: int = 60) -> Prepared:
    texts = [("ask your local recycling centre " * 9)[: 1 + i * longest // num_pairs] for i in range(num_pairs)]
    return scoring.prepare(
        [QUESTION] * num_pairs,
        chosen=[answer(text) for text in texts],
        rejected=[None if i == 3 else answer(f"{text} never") for i, text in enumerate(texts)],
        pair_ids=[str(i) for i in range(num_pairs)],
    )


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A causal model, an encoder with another tokenizer, and both as one."""
    base = tmp_path_factory.mktemp("members")
    causal = tiny.save_own_form(base / "causal", "llama", pooling="last")
    encoder = tiny.save_own_form(base / "encoder", "bert", pooling="mean", rules=MORE)
    save_ensemble(base / "both", members=[causal, encoder], rules=RuleSet([*tiny.RULES, *MORE]))
    return causal, encoder, base / "both"


def load(folder: Path, **options) -> Scoring:
    strategies: list[Strategy] = [choice.strategy for choice in choose_strategies(ModelSource(folder))]
    return load_scoring(ModelSource(folder), LoadOptions(device="cpu", **options), strategies=strategies)


def test_members_score_as_one_model_each_by_its_own_strategy_and_tokens(folders) -> None:
    causal, encoder, both = folders
    together = load(both)
    assert [scorer.strategy for scorer in together.scorers] == ["tree", "packed"]
    prepared = prepare(together)
    scored = together.score(prepared)
    alone = [load(folder) for folder in (causal, encoder)]
    for member, pairs in zip(alone, prepared.pairs, strict=True):
        of_member = prepare(member).pairs[0]
        for side in ("chosen_ids", "rejected_ids"):
            for found, expected in zip(getattr(pairs, side), getattr(of_member, side), strict=True):
                np.testing.assert_array_equal(found, expected)
    expected = [member.score(prepare(member)) for member in alone]
    np.testing.assert_array_equal(scored.scores_N2K, np.concatenate([one.scores_N2K for one in expected], axis=2))
    assert scored.scores_N2K.shape == (12, 2, len(load_rules(ModelSource(both))))
    assert scored.num_computed == sum(one.num_computed for one in expected)
    assert prepared.num_tokens == sum(plan.num_tokens for plan in prepared.plans)


def test_lengths_are_the_first_members_and_a_pair_is_truncated_if_any_member_truncates_it(folders) -> None:
    lengths = [pairs.rejected_tokens for pairs in prepare(load(folders[2])).pairs]
    assert (lengths[0] < lengths[1]).any()  # the encoder's tokenizer also writes [SEP]
    together = load(folders[2], max_length=int(lengths[0][6]))
    prepared = prepare(together)
    causal, encoder = prepared.pairs
    np.testing.assert_array_equal(prepared.chosen_tokens_N, causal.chosen_tokens)
    np.testing.assert_array_equal(prepared.rejected_tokens_N, causal.rejected_tokens)
    of_each = [pairs.chosen_truncated | pairs.rejected_truncated for pairs in (causal, encoder)]
    assert not np.array_equal(of_each[0], of_each[1])
    np.testing.assert_array_equal(prepared.truncated_N, of_each[0] | of_each[1])
    assert prepared.num_tokens < sum(int(p.chosen_tokens.sum() + p.rejected_tokens.sum()) for p in prepared.pairs)


def test_a_forced_strategy_must_suit_every_member(folders) -> None:
    assert {choice.strategy for choice in choose_strategies(ModelSource(folders[2]), forced="padded")} == {"padded"}
    with pytest.raises(ConfigError, match=r"Strategy tree would change the scores of .*encoder"):
        choose_strategies(ModelSource(folders[2]), forced="tree")


def test_the_check_stops_a_strategy_that_does_not_suit_the_model(folders) -> None:
    encoder = load_scoring(ModelSource(folders[1]), CPU, strategies=["tree"])  # its prompt sees the response
    with pytest.raises(ModelError, match=r"reward-model: strategy tree does not give the scores"):
        encoder.check(prepare(encoder), name="reward-model")


def test_the_check_is_nobodys_waiting(folders) -> None:
    causal = load(folders[0], batch_tokens=4096)
    prepared = prepare(causal)
    assert len(prepared.plans[0].batches) == 1
    causal.check(prepared, name="m")
    assert causal.score(prepared).occupied.idle_s == 0.0  # else the seconds of the check would stand before it
    assert causal.score(prepared).occupied.idle_s > 0.0


def test_where_memory_does_not_do_for_long_pairs_shorter_ones_are_checked(folders) -> None:
    causal = load(folders[0])
    prepared = prepare(causal)
    lengths = [len(ids) for ids in prepared.pairs[0].chosen_ids]
    most = -(-int(np.median(lengths)) // 32) * 32  # as rows are filled up
    slots = limit_memory(causal.scorers[0].model, most)
    causal.check(prepared, name="m")
    assert [size for size in slots if size <= most]  # something has been checked
    wrong = load_scoring(ModelSource(folders[1]), CPU, strategies=["tree"])
    limit_memory(wrong.scorers[0].model, 75)
    with pytest.raises(ModelError, match="does not give the scores"):
        wrong.check(prepare(wrong), name="m")


def test_a_lack_of_memory_costs_a_smaller_budget_or_the_long_pair_never_the_others(folders) -> None:
    causal = load(folders[0], batch_tokens=1000)
    prepared = prepare(causal)
    undisturbed = causal.score(prepared)
    assert (undisturbed.batch_tokens, undisturbed.too_long) == (None, ())
    sizes = [max(len(ids), len(other or ())) for ids, other in zip(*_sides(prepared.pairs[0]), strict=True)]
    limit_memory(causal.scorers[0].model, sorted(sizes)[-2])
    scored = causal.score(prepared)
    assert scored.too_long == (int(np.argmax(sizes)),)
    assert scored.batch_tokens == 1
    left = np.delete(np.arange(12), scored.too_long)
    np.testing.assert_allclose(scored.scores_N2K[left], undisturbed.scores_N2K[left], rtol=0, atol=1e-4)


def _sides(pairs: TokenizedPairs) -> tuple[list, list]:
    return pairs.chosen_ids, [None if ids is None else ids.tolist() for ids in pairs.rejected_ids]


def test_a_search_finds_a_budget_for_members_together(folders, monkeypatch: pytest.MonkeyPatch) -> None:
    together = load(folders[2])
    monkeypatch.setattr("encore_ray.models.forward.budget.LAST_BUDGET", {"cpu": 1024})
    found = together.find_budget(prepare(together), name="two")
    assert found.batch_tokens in (512, 1024)
    assert [trial.batch_tokens for trial in found.trials] == [512, 1024]
    assert all(trial.tokens_per_s for trial in found.trials)


def test_a_model_placed_by_its_device_map_scores_the_same(folders) -> None:
    expected, split = (load(folders[0], split=split) for split in (False, True))
    np.testing.assert_array_equal(split.score(prepare(split)).scores_N2K, expected.score(prepare(expected)).scores_N2K)


def test_a_model_over_several_gpus_asks_for_accelerate_by_name(folders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("encore_ray.models.families.loaders.find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"needs the package accelerate: install encore-ray\[multi-gpu\]"):
        load(folders[0], split=True)


def test_a_compiled_model_scores_the_same_tree(folders, monkeypatch: pytest.MonkeyPatch) -> None:
    # Everything of torch.compile but the C++ compiler, which takes most of a minute.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    plain, compiled = (load(folders[0], compile=compiled) for compiled in (False, True))
    prepared = prepare(compiled)
    compiled.check(prepared, name="m")
    expected = plain.score(prepared).scores_N2K
    difference = np.nanmax(np.abs(compiled.score(prepared).scores_N2K - expected)) / np.nanstd(expected)
    assert difference < 1e-5
    assert compiled.scorers[0].model.backbone._compiled_call_impl is not None
    torch._dynamo.reset()


def test_a_model_that_cannot_be_compiled_is_named(folders) -> None:
    def refuse(graph, inputs):
        raise OSError("no compiler here")

    causal = load(folders[0])
    causal.scorers[0].model.backbone.compile(backend=refuse)
    with pytest.raises(ModelError, match=r"m cannot be compiled here.*Score without compile"):
        causal.check(prepare(causal), name="m")
    torch._dynamo.reset()
