"""Training: the heads learn what the ratings say, and the checkpoint is one that anybody can score with."""

import numpy as np
import pytest

from encore_ray.corpora.planted.corpus import planted_text
from encore_ray.errors import ConfigError
from encore_ray.models.forward.scorer import PairScorer
from encore_ray.models.training.demo_model import CHAT_TEMPLATE, build_tokenizer, train_regression
from encore_ray.rules import Rule, RuleSet, Scale
from tests.models import tiny

RULES = RuleSet(
    [
        Rule("kind", "Kind.", "better", Scale(0, 4, (0.0, 1.0, 2.0, 3.0, 4.0))),
        Rule("rude", "Rude.", "worse", Scale(-1, 1)),
    ]
)
KIND = ("Go away.", "No.", "Maybe.", "With pleasure.", "Thank you, with all my heart.")
RUDE = ("You are wise.", "You are there.", "You are a fool.")


def corpus(num_conversations, *, seed):
    """Answers whose two sentences say their two ratings."""
    rng = np.random.default_rng(seed)
    kind, rude = rng.integers(0, 5, num_conversations), rng.integers(0, 3, num_conversations)
    conversations = [
        [{"role": "user", "content": f"Question {i % 7}?"}, {"role": "assistant", "content": f"{KIND[k]} {RUDE[r]}"}]
        for i, (k, r) in enumerate(zip(kind, rude, strict=True))
    ]
    return conversations, np.stack([kind, rude - 1], axis=1).astype(np.float32)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    conversations, ratings_NK = corpus(1500, seed=1)
    folder = tmp_path_factory.mktemp("trained")
    steps = []
    report = train_regression(
        conversations,
        ratings_NK=ratings_NK,
        rules=RULES,
        folder=folder,
        epochs=8,
        on_step=lambda *step: steps.append(step),
    )
    return report, steps


def test_trained_heads_give_the_ratings_of_texts_they_have_not_seen(trained):
    report, _ = trained
    conversations, ratings_NK = corpus(200, seed=2)
    model = tiny.load(report.folder)
    pairs = model.conversations.tokenize_pairs(
        [turns[:1] for turns in conversations], chosen=[turns[1:] for turns in conversations], rejected=[None] * 200
    )
    scores_NK = PairScorer(model).score(pairs)[:, 0]
    # In each rule's own units (range 4 and 2): a head in [0, 1] units would be off by more than 1.
    assert np.abs(scores_NK - ratings_NK).mean(axis=0) == pytest.approx([0, 0], abs=0.15)


def test_the_report_counts_what_was_done(trained):
    report, steps = trained
    assert report.num_conversations == 1500
    assert [step for step, _, _ in steps] == list(range(1, report.steps + 1))
    assert {total for _, total, _ in steps} == {report.steps}
    assert report.loss < 0.1 * steps[0][2]


def test_the_saved_rules_are_continuous_and_clip(trained):
    rules = tiny.load(trained[0].folder).rules
    assert [rule.to_dict()["scale"] for rule in rules] == [{"lo": 0.0, "hi": 4.0}, {"lo": -1.0, "hi": 1.0}]
    assert {rule.out_of_range for rule in rules} == {"clip"}
    assert [(rule.name, rule.text, rule.higher_is) for rule in rules] == [(r.name, r.text, r.higher_is) for r in RULES]


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tmp_path):
    conversations, ratings_NK = corpus(40, seed=3)
    heads = [
        train_regression(
            conversations, ratings_NK=ratings_NK, rules=RULES, folder=tmp_path / str(i), seed=seed, epochs=1
        )
        .folder.joinpath("heads.safetensors")
        .read_bytes()
        for i, seed in enumerate([5, 5, 6])
    ]
    assert heads[0] == heads[1] != heads[2]


def test_ratings_that_cannot_be_learnt_are_refused(tmp_path):
    conversations, ratings_NK = corpus(10, seed=4)
    for bad in (np.nan, np.inf, 4.5):
        wrong_NK = ratings_NK.copy()
        wrong_NK[3, 0] = bad
        with pytest.raises(ConfigError, match=r"out of scale or not finite \(kind: 1\)"):
            train_regression(conversations, ratings_NK=wrong_NK, rules=RULES, folder=tmp_path)
    with pytest.raises(ConfigError, match=r"shape \(9, 2\).*found \(10, 2\)"):
        train_regression(conversations[:9], ratings_NK=ratings_NK, rules=RULES, folder=tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_tokenizer_reads_the_planted_corpus_in_few_tokens():
    texts = [row["chosen"] for row in planted_text(200, seed=0).rows]
    tokenizer = build_tokenizer(iter(texts))
    assert tokenizer.chat_template == CHAT_TEMPLATE
    num_words = sum(len(text.split()) for text in texts)
    assert sum(map(len, tokenizer(texts)["input_ids"])) < 1.5 * num_words
