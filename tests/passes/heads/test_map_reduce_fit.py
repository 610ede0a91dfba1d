"""The fit of heads over units: what is known of a rule, where there is little to know it from."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from encore_ray.composition.hashing.keys import folds_of, hash_keys
from encore_ray.engine.local import LocalEngine
from encore_ray.engine.work.reduce import Reducer
from encore_ray.passes.heads.labels import LabelledResponses
from encore_ray.passes.heads.map_reduce_fit import fit_heads
from encore_ray.rules import Rule, RuleSet, Scale

RATED = [Rule(f"rule_{k}", f"Rule {k}.", "better", Scale(-9.0, 9.0), out_of_range="clip") for k in range(2)]
RULES = RuleSet([*RATED, Rule("rule_2", "Rule 2.", "worse", Scale(0.0, 1.0), link="sigmoid")])


def figures_of(responses: LabelledResponses, rules: RuleSet, patch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What fit.json says of rules whose labels are these, in one unit."""
    unit = SimpleNamespace(labels=None, rows=len(responses.label_NK))
    fakes: dict[str, Any] = {"labelled_units": lambda *_: [unit], "find_labels": lambda *_: {}}
    for name, fake in {**fakes, "read_responses": lambda *_: responses}.items():
        patch.setattr(f"encore_ray.passes.heads.map_reduce_fit.{name}", fake)
    return fit_heads("", "", rules, Reducer(LocalEngine())).figures["rules"]


def test_of_one_prompt_alone_nothing_is_known_of_unseen_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    rng, keys = np.random.default_rng(0), ["p"] * 40
    label_NK = np.column_stack([rng.uniform(-9, 9, (40, 2)), rng.integers(0, 2, 40)])
    marks = hash_keys([str(i) for i in range(40)])
    found = LabelledResponses(rng.normal(size=(40, 3)), label_NK, folds_of(keys), hash_keys(keys), marks)
    assert [(rule["auc"], rule["r2"]) for rule in figures_of(found, RULES, monkeypatch)] == [(None, None)] * 3


def test_heads_that_know_nothing_have_an_auc_of_a_half(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = RuleSet([Rule("yes", "", "better", Scale(0.0, 1.0))])
    aucs = []
    for seed in range(20):
        rng, keys = np.random.default_rng(seed), [f"{seed}-{i}" for i in range(300)]
        label_NK = (rng.random((300, 1)) < 0.2).astype(float)
        found = LabelledResponses(rng.normal(size=(300, 8)), label_NK, folds_of(keys), hash_keys(keys), hash_keys(keys))
        aucs.append(figures_of(found, rules, monkeypatch)[0]["auc"])
    # One AUC of 60 yes and 240 no has a standard error of .042, the mean of twenty .0095.
    assert np.mean(aucs) == pytest.approx(0.5, abs=0.025)
