"""The scorer against one-by-one scoring, and what must never change a score."""

import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification

from encore_ray.errors import ConfigError
from encore_ray.models.forward import scorer as scorer_module
from encore_ray.models.forward.attention.layouts import RowLayout
from encore_ray.models.forward.scorer import PairScorer, pack
from encore_ray.models.text.conversations import ConversationTokenizer
from tests.models import tiny
from tests.models.architectures import ARCHITECTURES, backbone, forked_pairs, in_sd, reference, with_heads

TOLERANCE_SD = 1e-5


@pytest.fixture(scope="module", params=tiny.FAMILIES)
def classifier(request, tmp_path_factory):
    """Each family as a sequence classifier; the decoders without a pad token, as they come."""
    return tiny.save_classifier(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return tiny.load(tiny.save_classifier(tmp_path_factory.mktemp("llama"), "llama"))


def one_by_one(model, pairs):
    return np.stack(
        [
            [tiny.score_one(model, chosen), tiny.score_one(model, rejected)]
            for chosen, rejected in zip(pairs.chosen_ids, pairs.rejected_ids, strict=True)
        ]
    )


def assert_equal_within_sd(scores_N2K, expected_N2K):
    sd_K = expected_N2K.std(axis=(0, 1))
    assert (sd_K > 1e-3).all()  # a model whose scores hardly vary would pass anything
    assert (np.abs(scores_N2K - expected_N2K) <= TOLERANCE_SD * sd_K).all()


def test_batched_scores_equal_the_models_own_forward_one_by_one(classifier):
    model = tiny.load(classifier)
    pairs = forked_pairs(12, seed=1)
    own = AutoModelForSequenceClassification.from_pretrained(classifier).eval()
    with torch.inference_mode():
        expected = np.stack(
            [
                [own(torch.tensor([ids.tolist()])).logits[0].numpy() for ids in (chosen, rejected)]
                for chosen, rejected in zip(pairs.chosen_ids, pairs.rejected_ids, strict=True)
            ]
        )
    assert_equal_within_sd(PairScorer(model, batch_tokens=200).score(pairs), expected)


@pytest.mark.parametrize(
    ("family", "pooling"),  # not cls of a causal model, whose first token has seen nothing
    [("llama", "last"), ("llama", "mean"), ("bert", "last"), ("bert", "mean"), ("bert", "cls")],
)
def test_each_pooling_of_our_own_form_equals_one_by_one(family, pooling, tmp_path):
    model = tiny.load(tiny.save_own_form(tmp_path, family, pooling=pooling))
    pairs = forked_pairs(12, seed=2)
    assert_equal_within_sd(PairScorer(model, batch_tokens=200).score(pairs), one_by_one(model, pairs))


@pytest.mark.parametrize("budget", [1, 64, 500, 100_000])
def test_the_batch_a_response_is_in_does_not_change_its_score(llama, budget):
    pairs = forked_pairs(20, seed=3)
    assert_equal_within_sd(PairScorer(llama, batch_tokens=budget).score(pairs), one_by_one(llama, pairs))


def test_a_response_that_ends_with_the_pad_token_is_scored_at_its_last_token(tmp_path):
    # pad = eos: a search for the pad token would score the token before the last, or the first.
    tok = tiny.tokenizer(pad="</s>")
    model = tiny.load(tiny.save_classifier(tmp_path, "llama", tok=tok, pad_token_id=tok.eos_token_id))
    eos = tok.eos_token_id
    pairs = tiny.tokenized([[9, 8, eos], [7, eos, eos, eos], [eos]], [[9, 8], [7], [11, eos, 12, eos, 13, 14]])
    assert_equal_within_sd(PairScorer(model).score(pairs), one_by_one(model, pairs))
    ended, not_ended = PairScorer(model).score(pairs)[0]
    assert np.abs(ended - not_ended).max() > 0.01  # the token does count


def test_a_model_without_a_pad_token_is_scored_in_batches(tmp_path):
    model = tiny.load(tiny.save_classifier(tmp_path, "gpt2", tok=tiny.tokenizer(pad=None)))
    assert model.backbone.config.pad_token_id is None
    pairs = tiny.random_pairs(6, vocab_size=300, seed=4)
    assert_equal_within_sd(PairScorer(model).score(pairs), one_by_one(model, pairs))


def test_the_tokenizers_padding_side_does_not_matter(tmp_path):
    scores = []
    for side in ("left", "right"):
        tok = tiny.tokenizer()
        tok.padding_side = side
        model = tiny.load(tiny.save_classifier(tmp_path / side, "gpt2", tok=tok))
        scores.append(PairScorer(model).score(tiny.random_pairs(8, vocab_size=300, seed=5)))
    np.testing.assert_array_equal(scores[0], scores[1])


def test_the_same_pairs_give_the_same_bits(llama):
    pairs = tiny.random_pairs(30, vocab_size=300, seed=6)
    scorer = PairScorer(llama)
    np.testing.assert_array_equal(scorer.score(pairs), scorer.score(pairs))


@pytest.mark.parametrize("strategy", ["tree", "packed", "padded", "one_by_one"])
def test_permuting_pairs_permutes_scores_to_the_bit(llama, strategy):
    # Short random responses have many equal lengths, forked pairs many equal prefixes.
    for pairs in (tiny.random_pairs(30, vocab_size=300, seed=7, longest=6), forked_pairs(30, longest=6)):
        order = np.random.default_rng(0).permutation(30)
        scorer = PairScorer(llama, strategy=strategy, batch_tokens=40)
        np.testing.assert_array_equal(scorer.score(pairs.take(order.tolist())), scorer.score(pairs)[order])


def test_exchanging_the_sides_exchanges_the_scores_to_the_bit(llama):
    pairs = forked_pairs(20)
    exchanged = replace(pairs, chosen_ids=pairs.rejected_ids, rejected_ids=pairs.chosen_ids)
    scorer = PairScorer(llama, batch_tokens=100)
    np.testing.assert_array_equal(scorer.score(exchanged), scorer.score(pairs)[:, ::-1])


@pytest.mark.parametrize("name", ["llama", "mistral-window", "gpt2", "bert", "gemma2"])
@pytest.mark.parametrize("budget", [100, 100_000])
def test_changing_chosen_never_moves_rejected(name, budget):
    # The prompt and the row are theirs together; chosen gets longer, shorter, or another beginning.
    scorer = PairScorer(with_heads(backbone(ARCHITECTURES[name].config)), batch_tokens=budget)
    pairs = forked_pairs(10, seed=8)
    before = scorer.score(pairs)
    sd_K = before.std(axis=(0, 1))
    for change in (lambda ids: [*ids, 17, 18, 19], lambda ids: [*ids[:-1], 20], lambda ids: [21, *ids]):
        other = tiny.tokenized([change(ids.tolist()) for ids in pairs.chosen_ids], pairs.rejected_ids)
        after = scorer.score(other)
        assert (np.abs(after[:, 1] - before[:, 1]) <= TOLERANCE_SD * sd_K).all()
        assert (np.abs(after[:, 0] - before[:, 0]).max(axis=0) > 0.1 * sd_K).all()


def test_changing_a_token_moves_what_follows_it_and_nothing_else(llama):
    # 12 3 4 | 5 and 12 3 4 | 6 7: the token 4 belongs to both sides, 6 to one.
    one, same, both = (
        PairScorer(llama).score(tiny.tokenized([[12, 3, last, 5]], [[12, 3, last, first, 7]]))[0]
        for last, first in ((4, 8), (4, 6), (9, 6))
    )
    assert np.abs(one[0] - same[0]).max() < 1e-5 < 0.01 < np.abs(one[1] - same[1]).min()
    assert np.abs(same - both).min() > 0.01


def test_identical_one_token_and_prefix_responses_are_scored(llama):
    pairs = tiny.tokenized([[9, 8, 7], [9], [9, 8, 7, 6], [9], [5]], [[9, 8, 7], [10], [9, 8], [9, 9], [5]])
    scores = PairScorer(llama).score(pairs)
    assert_equal_within_sd(scores, one_by_one(llama, pairs))
    np.testing.assert_array_equal(scores[[0, 4], 0], scores[[0, 4], 1])  # computed once: the same bits


def test_equal_conversations_have_equal_scores_wherever_they_stand(llama):
    ids = [[9, 8, 7, 20, 21], [9, 8, 7, 22]]
    pairs = forked_pairs(12)
    pairs = tiny.tokenized([ids[0], *pairs.chosen_ids, ids[1]], [ids[1], *pairs.rejected_ids, ids[0]])
    scores = PairScorer(llama, batch_tokens=60).score(pairs)
    np.testing.assert_array_equal(scores[0], scores[-1, ::-1])


@pytest.mark.parametrize("chat", [True, False])
def test_truncated_conversations_share_what_is_left_of_their_prompt(llama, chat):
    # The sides are cut at different places of one prompt: behind the BOS they begin with different tokens.
    tok = tiny.tokenizer(chat=chat)
    conversations = ConversationTokenizer(tok, llama.backbone.config, max_length=40)
    prompt = [{"role": "user", "content": "How do I get rid of an old gas bottle? " * 3}]
    texts = (
        "Ask.",
        "Open it, then see whether it burns.",
        "NEVER! 112, 911, 999 are at your service, 24/7?",
    )
    sides = [[{"role": "assistant", "content": text}] for text in texts]
    pairs = conversations.tokenize_pairs([prompt] * 2, chosen=[sides[0]] * 2, rejected=sides[1:])
    assert pairs.chosen_truncated.all() and pairs.rejected_truncated.all()
    chosen, rejected = pairs.chosen_ids[0], pairs.rejected_ids[0]
    assert len(chosen) == len(rejected) == 40
    assert chosen[0] == rejected[0] == tok.bos_token_id
    assert (chosen[:5] != rejected[:5]).any()
    assert_equal_within_sd(PairScorer(llama).score(pairs), one_by_one(llama, pairs))


def test_a_second_bos_is_a_token_like_any_other(llama):
    bos = tiny.tokenizer().bos_token_id
    pairs = tiny.tokenized([[bos, 9, 8], [bos, bos, 9, 8]], [[bos, bos, 9, 8], [bos, bos, bos]])
    scores = PairScorer(llama).score(pairs)
    assert_equal_within_sd(scores, one_by_one(llama, pairs))
    assert np.abs(scores[0, 0] - scores[0, 1]).min() > 0.01


@pytest.mark.parametrize("name", ["bert", "roberta", "data2vec-text", "albert", "gpt2"])
def test_a_row_may_be_longer_than_the_models_positions(name):
    # Position ids and token type ids that a model makes itself are as long as one sequence may be.
    architecture = ARCHITECTURES[name]
    config = type(architecture.config).from_dict(
        {**architecture.config.to_dict(), "max_position_embeddings": 64, "n_positions": 64, "num_labels": 3}
    )
    body = backbone(config)
    model = with_heads(body)
    pairs = forked_pairs(12, longest=18)
    scorer = PairScorer(model, batch_tokens=1000)
    plan = scorer.plan(pairs)
    assert [batch.inputs["input_ids"].numel() > 200 for batch in plan.batches] == [True]
    assert in_sd(scorer.run(plan), reference(body, model, pairs)) <= TOLERANCE_SD


def test_a_row_says_itself_which_segments_its_tokens_are_of():
    # As early transformers 5 would otherwise take a buffer that is as long as one sequence.
    for name, expected in (("bert", True), ("gpt2", False)):
        (batch,) = PairScorer(with_heads(backbone(ARCHITECTURES[name].config))).plan(forked_pairs()).batches
        assert ("token_type_ids" in batch.inputs) == expected
        if expected:
            assert batch.inputs["token_type_ids"].shape == batch.inputs["input_ids"].shape
            assert not batch.inputs["token_type_ids"].any()


def test_a_plan_counts_the_tokens_that_it_has_and_computes():
    # Prompt of 3; branches of 1, 2 and 2 tokens of which two are equal, and one more prompt: 4 + 5 + 4 + 2 = 15.
    pairs = tiny.tokenized([[1, 2, 3, 4], [1, 2, 3, 4]], [[1, 2, 3, 5, 6], [9, 9]])
    expected = {
        "tree": 32,  # 3 + 1 + 2 + 2, filled up to a multiple of 32
        "packed": 32,  # 4 + 5 + 2
        "padded": 3 * 5,  # three different sequences, as long as the longest
        "one_by_one": 4 + 5 + 2,
    }
    model = with_heads(backbone(ARCHITECTURES["llama"].config))
    for strategy, num_computed in expected.items():
        plan = PairScorer(model, strategy=strategy).plan(pairs)
        assert (plan.num_tokens, plan.num_computed) == (15, num_computed)
        assert [len(batch.paths.length_S) for batch in plan.batches] == ([3] if strategy != "one_by_one" else [1] * 3)


def test_no_model_of_ours_makes_logits_over_its_vocabulary(tmp_path):
    model = tiny.load(tiny.save_own_form(tmp_path, "llama", pooling="last"))
    assert model.backbone.get_output_embeddings() is None
    widths = set()
    for module in model.modules():
        module.register_forward_hook(
            lambda _module, _inputs, output: widths.add(output.shape[-1]) if isinstance(output, torch.Tensor) else None
        )
    PairScorer(model).score(forked_pairs(8))
    assert {32, 48, 3} <= widths  # hidden, MLP and heads
    assert model.backbone.config.vocab_size not in widths


@pytest.mark.parametrize("strategy", ["tree", "padded", "one_by_one"])
def test_no_cache_of_keys_is_kept(llama, strategy):
    caches = []
    hook = llama.backbone.register_forward_hook(lambda _module, _inputs, output: caches.append(output.past_key_values))
    PairScorer(llama, strategy=strategy).score(forked_pairs(8))
    hook.remove()
    assert caches and all(cache is None for cache in caches)


def test_the_keys_of_a_layer_are_gone_when_the_next_one_runs(monkeypatch):
    seen, alive = [], []

    class Watched(RowLayout):
        def attend(self, query_1HTD, key_1GTD, value_1GTD, sight):
            alive.append(sum(key() is not None for key in seen))
            seen.append(weakref.ref(key_1GTD))
            return super().attend(query_1HTD, key_1GTD, value_1GTD, sight)

    monkeypatch.setattr(scorer_module, "RowLayout", Watched)
    model = with_heads(backbone(ARCHITECTURES["llama"].config), pooling="mean")  # reads all tokens of the last layer
    PairScorer(model).score(forked_pairs(8))
    assert alive == [0, 0]  # two layers


def test_a_single_response_has_no_rejected_score(llama):
    scores = PairScorer(llama).score(tiny.tokenized([[9, 8, 7], [9, 8]], [None, [10, 11]]))
    assert scores.shape == (2, 2, 3)
    assert scores.dtype == np.float32
    assert np.isnan(scores[0, 1]).all()
    assert np.isfinite(scores[[0, 1, 1], [0, 0, 1]]).all()


def test_no_pairs_give_no_scores(llama):
    assert PairScorer(llama).score(tiny.tokenized([], [])).shape == (0, 2, 3)


def test_heads_stay_float32_beside_a_bfloat16_body(tmp_path):
    # 1 + 2^-12 is 1 in bfloat16, which has 8 bits: the scores of two bfloat16 heads would be exactly equal.
    folder = tiny.save_own_form(tmp_path / "own", "llama", pooling="last")
    model = tiny.load(folder, dtype="bfloat16")
    assert model.backbone.dtype == torch.bfloat16
    with torch.no_grad():
        model.heads.outputs.weight[1] = model.heads.outputs.weight[0].sign()
        model.heads.outputs.weight[2] = model.heads.outputs.weight[1] * (1 + 2**-12)
        model.heads.outputs.bias.zero_()
    pairs = tiny.random_pairs(8, vocab_size=300, seed=9)
    with torch.autocast("cpu", dtype=torch.bfloat16):  # a caller's autocast must not reach the heads
        scores = PairScorer(model).score(pairs)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores[..., 2] / scores[..., 1], 1 + 2**-12, rtol=2e-6)


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_a_classifiers_head_keeps_the_float32_weights_of_its_file(family, tmp_path):
    model = tiny.load(tiny.save_classifier(tmp_path, family), dtype="bfloat16")
    stored = AutoModelForSequenceClassification.from_pretrained(tmp_path, dtype=torch.float32)
    name = "score" if hasattr(stored, "score") else "classifier"
    ours = getattr(model.heads, "outputs", None) or getattr(model.heads.module, name)
    for (_, mine), (_, theirs) in zip(
        sorted(ours.named_parameters()), sorted(getattr(stored, name).named_parameters()), strict=True
    ):
        assert torch.equal(mine, theirs)
    pairs = tiny.random_pairs(16, vocab_size=300, seed=10)
    scores = PairScorer(model).score(pairs)
    exact = PairScorer(tiny.load(tmp_path, dtype="float32")).score(pairs)
    assert np.sqrt(((scores - exact) ** 2).mean()) <= 0.1 * exact.std()


@pytest.mark.parametrize("seed", range(5))
def test_padded_batches_keep_the_budget_and_every_sequence_once(seed):
    rng = np.random.default_rng(seed)
    sequences = [np.zeros(rng.integers(1, 50), np.int32) for _ in range(100)]
    batches = pack(sequences, batch_tokens=60)
    assert sorted(i for batch in batches for i in batch) == list(range(100))
    for batch in batches:
        assert len(batch) * max(len(sequences[i]) for i in batch) <= 60


def test_a_sequence_over_the_budget_is_a_batch_of_its_own():
    assert pack([np.zeros(9, np.int32), np.zeros(4, np.int32), np.zeros(3, np.int32)], batch_tokens=8) == [[0], [1, 2]]


def test_a_budget_of_no_tokens_is_refused(llama):
    with pytest.raises(ConfigError, match="batch_tokens must be 1 or more, found 0"):
        PairScorer(llama, batch_tokens=0)
