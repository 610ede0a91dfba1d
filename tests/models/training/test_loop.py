"""The training loop: it learns, ends where it should, and goes on after an end as if there had been none."""

import math
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from encore_ray.errors import ConfigError, DataError
from encore_ray.models.training.loop import cosine_schedule
from encore_ray.models.training.objectives import OBJECTIVES, merit_name
from encore_ray.models.training.recipe import FirstHeads, whole_weights
from encore_ray.models.training.state import newest_state
from encore_ray.rules import RuleSet, Scale
from tests.models import tiny, trainings


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return trainings.recipe(tmp_path_factory.mktemp("trained"))


def bits(trained):
    return {name: weight.numpy().tobytes() for name, weight in whole_weights(trained.model, keep=True).items()}


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_is_learnt(made, objective, tmp_path):
    recipe = trainings.of_objective(made, objective, pooling="mean")
    trained = trainings.run(recipe, tmp_path, num_steps=70, evaluate_every=35, learning_rate=1e-2)
    last = trained.progress.evaluations[-1]
    # Against the loss of heads that know nothing: ln 2, or the variance of what is to be learnt (.25 and .08).
    nothing = 0.165 if objective == "regression" else math.log(2)
    assert last["loss"] < 0.85 * nothing
    assert last[merit_name(objective)] > {"regression": 0.25, "multilabel": 0.4}.get(objective, 0.9)
    assert [figures["step"] for figures in trained.progress.evaluations] == [35, 70]
    assert {report.num_rows for report in trained.steps} == {6}


def test_a_training_that_was_stopped_goes_on_to_the_same_bits(made, tmp_path):
    undisturbed = trainings.run(made, tmp_path / "whole", num_steps=9)
    for stops_at in (2, 3, 7):  # between evaluations, at one, after the second
        folder = tmp_path / str(stops_at)
        part = trainings.run(made, folder, num_steps=9, stop=lambda step, at=stops_at: step == at)
        assert part.progress is None
        rest = trainings.run(made, folder, num_steps=9)
        assert [report.step for report in rest.steps] == list(range(stops_at + 1, 10))
        assert rest.steps == undisturbed.steps[stops_at:]
        assert rest.progress == undisturbed.progress
        assert bits(rest) == bits(undisturbed)
    # A finished one has nothing to do, and still has its best weights.
    again = trainings.run(made, tmp_path / "whole", num_steps=9)
    assert not again.steps
    assert bits(again) == bits(undisturbed)


def test_a_state_that_was_not_finished_does_not_count(made, tmp_path):
    trainings.run(made, tmp_path, stop=lambda step: step == 4)
    newest = newest_state(tmp_path)
    assert newest is not None and newest.name == "step-00000004"
    torn = tmp_path / "step-00000005"
    torn.mkdir()
    (torn / "weights-0.safetensors").write_bytes(b"torn")
    assert newest_state(tmp_path) == newest
    rest = trainings.run(made, tmp_path)
    assert [report.step for report in rest.steps] == [5, 6]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best-00000006", "step-00000006"]


def test_no_better_evaluation_for_a_while_ends_the_training_at_its_best(made, tmp_path):
    how = {"num_steps": 30, "evaluate_every": 1, "patience": 3, "learning_rate": 0.3}  # far too high
    trained = trainings.run(made, tmp_path, **how)
    losses = [figures["loss"] for figures in trained.progress.evaluations]
    best = int(np.argmin(losses))
    assert len(losses) == best + 1 + 3 < 30
    assert trained.progress.best_step == best + 1
    kept = load_file(tmp_path / f"best-{best + 1:08d}" / "weights-0.safetensors")
    weights = whole_weights(trained.model, keep=True)
    assert all(torch.equal(kept[name], weight) for name, weight in weights.items())


def test_a_loss_that_is_not_finite_ends_the_training(made, tmp_path):
    with pytest.raises(DataError, match=r"Step \d+: the loss is .* lower learning_rate"):
        trainings.run(made, tmp_path, num_steps=30, learning_rate=1e30)


@pytest.mark.parametrize("output", [math.nan, math.inf])
def test_held_out_rows_whose_outputs_are_not_finite_end_the_training_before_they_count(made, tmp_path, output):
    trainings.run(made, tmp_path, stop=lambda step: step == 3)
    said = rf"Step 6: the loss of the 52 held-out targets is {output} \(kind\).* lower learning_rate"
    with pytest.raises(DataError, match=said):
        trainings.run(made, tmp_path, on_step=lambda model, step: step < 6 or spoil(model, output))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best-00000003", "step-00000003"]


def test_a_disk_without_room_is_the_users_to_mend_and_the_training_goes_on(made, tmp_path):
    undisturbed = trainings.run(made, tmp_path / "whole", num_steps=4)
    with file_size(4096), pytest.raises(ConfigError, match=r"Cannot write .*best-00000003: .* 32 bytes of disk"):
        trainings.run(made, tmp_path / "full", num_steps=4)
    assert not [path for path in tmp_path.glob("full/*/*") if path.is_file()]
    again = trainings.run(made, tmp_path / "full", num_steps=4)
    assert bits(again) == bits(undisturbed)
    with file_size(4096), pytest.raises(ConfigError, match=r"Cannot write .*saved: .* 32 bytes of disk"):
        made.save(tmp_path / "saved", whole_weights(again.model, keep=True), scale=[])


@contextmanager
def file_size(most: int) -> Iterator[None]:
    """No larger file can be written."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def spoil(model, output):
    with torch.no_grad():
        model.heads.outputs.bias[0] = output


def test_the_learning_rate_rises_then_falls_along_a_cosine(made, tmp_path):
    shares = [cosine_schedule(step, warmup_steps=4, num_steps=12) for step in range(12)]
    assert shares[:4] == [0.25, 0.5, 0.75, 1.0]
    assert shares[4] == 1.0 and shares[8] == pytest.approx(0.5)
    assert shares[11] == pytest.approx(0.5 * (1 + math.cos(math.pi * 7 / 8)))
    trained = trainings.run(made, tmp_path, num_steps=12, warmup_steps=4, evaluate_every=12)
    assert [report.learning_rate for report in trained.steps] == pytest.approx([3e-3 * share for share in shares])


def test_a_step_does_not_depend_on_how_its_rows_are_cut(made, tmp_path):
    whole, cut = (
        trainings.run(made, tmp_path / str(budget), batch_tokens=budget, num_steps=3) for budget in (10_000, 60)
    )
    for one, other in zip(whole.steps, cut.steps, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-4)
        assert one.grad_norm == pytest.approx(other.grad_norm, rel=1e-3)


@pytest.mark.parametrize(("num_workers", "dtype"), [(2, "float32"), (1, "bfloat16")])
def test_workers_that_share_a_model_train_as_one_does(made, tmp_path, num_workers, dtype):
    recipe = trainings.of_objective(made, "bradley-terry", pooling="mean")
    alone = trainings.run(recipe, tmp_path / "alone", num_steps=4)
    reports = trainings.run_workers(
        replace(recipe, dtype=dtype), tmp_path / "shared", num_workers=num_workers, num_steps=4, batch_tokens=60
    )
    tolerance = 1e-4 if dtype == "float32" else 0.05
    assert [len(steps) for steps, _ in reports] == [4] * num_workers
    for steps, _ in reports:
        assert [step["loss"] for step in steps] == pytest.approx([r.loss for r in alone.steps], rel=tolerance)
        assert [step["grad_norm"] for step in steps] == pytest.approx(
            [r.grad_norm for r in alone.steps], rel=max(tolerance, 1e-3)
        )
    weights = whole_weights(alone.model, keep=True)
    shared = load_file(tmp_path / "shared.safetensors")
    assert shared.keys() == weights.keys()
    for name, weight in weights.items():
        # Adam divides by the size of a gradient: where that is nothing but rounding, a step may go either way.
        close = (shared[name] - weight).abs() <= (1e-4 if dtype == "float32" else 2e-2)
        assert close.float().mean() > 0.99, name
    assert {progress["best_step"] for _, progress in reports} == {alone.progress.best_step}


def test_adapters_are_trained_alone_and_merged_into_what_is_saved(made, tmp_path):
    recipe = replace(made, lora_rank=4, pooling="mean")
    trained = trainings.run(recipe, tmp_path / "state", num_steps=10, learning_rate=1e-2)
    weights = whole_weights(trained.model, keep=True)
    assert all("lora_" in name or name.startswith("heads.") for name in weights)
    recipe.save(tmp_path / "saved", weights, scale=[])
    model = tiny.load(tmp_path / "saved")
    assert not [name for name, _ in model.named_parameters() if "lora" in name]
    assert_same_scores(model, trained.model, made.base.path)


def test_adapters_begin_as_the_seed_says_and_draw_no_other_random_numbers(made):
    torch.manual_seed(5)
    first, second, other = (dict(replace(made, lora_rank=4, seed=seed).load().named_parameters()) for seed in (3, 3, 4))
    drawn = torch.rand(3)
    assert torch.equal(drawn, torch.rand(3, generator=torch.Generator().manual_seed(5)))
    random = [name for name in first if "lora_A" in name]
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert random and not any(torch.equal(first[name], other[name]) for name in random)


def test_a_saved_model_gives_ratings_in_the_units_of_its_rules(made, tmp_path):
    recipe = replace(made, pooling="mean")
    trained = trainings.run(recipe, tmp_path / "state")
    recipe.save(tmp_path / "saved", whole_weights(trained.model, keep=True), scale=[])
    model = tiny.load(tmp_path / "saved")
    assert [(rule.name, rule.link, rule.out_of_range) for rule in model.rules] == [
        ("kind", "identity", "clip"),
        ("long", "identity", "clip"),
    ]
    assert_same_scores(model, trained.model, made.base.path)
    # It goes on from its own heads, whatever the range of the new ratings is.
    after = recipe.at(tmp_path / "saved")
    wider = RuleSet(replace(rule, scale=Scale(-5, 15)) for rule in recipe.rules)
    for warm in (after.load(), replace(after, rules=wider).load()):
        assert torch.allclose(warm.heads.outputs.weight, trained.model.heads.outputs.weight, atol=1e-6)
        assert torch.allclose(warm.heads.outputs.bias, trained.model.heads.outputs.bias, atol=1e-6)


def test_heads_say_why_they_do_not_go_on_from_those_of_the_base(made, tmp_path):
    same = replace(made, rules=tiny.RULES, bias=(0.0,) * 3)  # the base is in our own form, and reads the last token
    assert same.first_heads == FirstHeads(tiny.RULES, "going on from the heads of the base model")
    assert same.load().heads.outputs.weight.abs().sum() > 0
    others = {
        "are of other rules": made,
        "read pooling last, these mean": replace(same, pooling="mean"),
        "have the link sigmoid": replace(same, objective="multilabel"),
        "fresh heads": same.at(tiny.save_classifier(tmp_path, "llama")),
    }
    for said, recipe in others.items():
        assert recipe.first_heads.rules is None and recipe.first_heads.said.endswith(said)
        assert recipe.load().heads.outputs.weight.abs().sum() == 0


def assert_same_scores(saved, trained, base):
    """Those of the rules, of range 4 from 0 and 2 from -1, against outputs in [0, 1]; and not those of the start."""
    ids = torch.arange(7, 20)[None]
    mask = torch.ones_like(ids)
    with torch.no_grad():
        raw_1K = trained(ids, mask)
        scores_1K = saved(ids, mask)
    torch.testing.assert_close(
        scores_1K, raw_1K * torch.tensor([4.0, 2.0]) + torch.tensor([0.0, -1.0]), atol=1e-4, rtol=0
    )
    before, after = (load_file(Path(folder) / "model.safetensors") for folder in (base, saved.backbone.name_or_path))
    assert before.keys() == after.keys()
    assert any(not torch.equal(before[name], after[name]) for name in before)
