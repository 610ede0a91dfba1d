"""Every pass on both engines, in one run folder each: in this process and on Ray it makes the same bits."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from encore_ray.config import PrepareOptions, ScoreOptions, WeighOptions
from encore_ray.corpora.files.sources import InputSpec, list_files
from encore_ray.corpora.planted.corpus import planted_text
from encore_ray.engine.on_ray.engine import RayEngine
from encore_ray.folder import spec
from encore_ray.folder.protocol.seal import read_manifest
from encore_ray.folder.spec import FEATURES, PASSES, RELEVANCE, SCORE
from encore_ray.models.spec.energy import EnergySettings
from encore_ray.passes.compare import Compare
from encore_ray.passes.compose import Compose
from encore_ray.passes.evaluate import Evaluate
from encore_ray.passes.heads.features import plan_features
from encore_ray.passes.heads.fit_heads import Features, FitHeads
from encore_ray.passes.prepare import Prepare
from encore_ray.passes.refine.apply import Refine, RefineScores
from encore_ray.passes.refine.fit_reward import FitReward
from encore_ray.passes.refine.fit_rules import FitRules
from encore_ray.passes.score import Score
from encore_ray.passes.scorers.by_model import score_by_model
from encore_ray.passes.scorers.by_ratings import RatingsScorer
from encore_ray.passes.scorers.model.plan import plan_model
from encore_ray.passes.selection.relate import Relate, adapter_scorer
from encore_ray.passes.selection.relevance import plan_adapter
from encore_ray.passes.selection.select import Select, SelectionMethod
from encore_ray.passes.weigh import Weigh
from encore_ray.rules import RuleSet, Veto
from encore_ray.schema import chosen_column, rejected_column
from encore_ray.storage import Folder
from tests.models import tiny
from tests.passes import jobs
from tests.passes.doing import run_in
from tests.passes.selectable import save_adapter

NUM_PAIRS = 400
UNIT_PAIRS = 80
MODEL = ScoreOptions(actors="1", cpus_per_actor=0.4, max_tokens=128)  # their number changes nothing: test_job
ENERGIES = EnergySettings(num_negatives=8, learning_rate=1e-3, batch_responses=64, epochs=1)

pytestmark = pytest.mark.timeout(600)  # of which the passes on Ray take most

# What a pass that has no row in the table of passes, or no table of its own, leaves beside its files.
FURTHER_FILES = {
    "by_ratings": ("bradley_terry.json",),
    "by_model": (
        "observed.json",
        *("refine/energy.safetensors", "refine/energy.json"),
        *("refine/rules/energy.safetensors", "refine/rules/energy.json"),
        *("../heads/heads.safetensors", "../heads/fit.json", "../heads/rules.yaml"),
    ),
}
# Trainings need Ray; the report is no pass of its own yet.
NOT_HERE = {spec.TRAIN.name, spec.REPORT.name}


def write_corpus(path: Path, rules: RuleSet) -> Path:
    """Planted pairs that bring their ratings along."""
    planted = planted_text(NUM_PAIRS, seed=3)
    chosen_NK, rejected_NK = planted.world.chosen_NK, planted.world.rejected_NK
    lines = []
    for number, row in enumerate(planted.rows):
        ratings = {chosen_column(name): float(chosen_NK[number, k]) for k, name in enumerate(rules.names)}
        ratings |= {rejected_column(name): float(rejected_NK[number, k]) for k, name in enumerate(rules.names)}
        lines.append(json.dumps({**row, **ratings}) + "\n")
    path.write_text("".join(lines))
    return path


def work_by_ratings(place: Path, corpus: Path, rules: RuleSet, engine: Literal["local", "ray"]) -> None:
    """The passes of a job whose scores are ratings in the data, and weights of schemes that take further rounds."""
    with run_in(Folder(str(place / "by_ratings")), engine=engine) as run:
        run.do(Prepare(list_files([InputSpec(str(corpus))]), PrepareOptions(unit_pairs=UNIT_PAIRS)))
        run.do(Score(RatingsScorer(rules), 0.0))
        weights = run.do(Weigh(WeighOptions()))
        run.do(Weigh(WeighOptions(scheme="bradley_terry"), output="bradley_terry.json"))
        run.do(Compose(weights))
        run.do(Evaluate())
        run.do(Select(SelectionMethod(3, "declared", "auto")))
        run.do(Compare(WeighOptions()))


def work_by_model(place: Path, corpus: Path, models: Path, engine: Literal["local", "ray"]) -> None:
    """All passes by a model: scores and embeddings, relevances, features and heads, energies and what they refine."""
    with run_in(Folder(str(place / "by_model")), engine=engine) as run:
        run.do(Prepare(list_files([InputSpec(str(corpus))]), PrepareOptions(unit_pairs=UNIT_PAIRS)))
        keeping = MODEL.model_copy(update={"keep_embeddings": True})
        model = plan_model(str(models / "model"), keeping, resources=run.resources_for(SCORE))
        run.do(Score(score_by_model(model), 0.0))
        run.do(Weigh(WeighOptions(edges="observed"), run.path("scores"), output="observed.json"))
        run.do(Compose(run.do(Weigh(WeighOptions()))))
        adapter = plan_adapter(str(models / "adapter"), MODEL, resources=run.resources_for(RELEVANCE))
        run.do(Relate(adapter_scorer(adapter), 0.0))
        run.do(FitReward(ENERGIES, cpus=1, gpus=0))
        run.do(FitRules(ENERGIES, cpus=1, gpus=0))
        run.do(Refine())
        run.do(RefineScores())
        backbone = plan_features(
            str(models / "model"), MODEL, pooling="mean", reads="conversation", resources=run.resources_for(FEATURES)
        )
        run.do(Features(backbone, 0.0))
        run.do(FitHeads(backbone, jobs.CLIPPED, run.path("scores"), str(place / "heads")))


@pytest.fixture(scope="module")
def places(ray_engine: RayEngine, one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder for each engine, with the runs of both kinds."""
    folder = tmp_path_factory.mktemp("engines")
    planted = planted_text(1, seed=0).world.rules
    rules = RuleSet([replace(planted[0], veto=Veto("below", 3.0)), replace(planted[1], points=2.0), *planted.rules[2:]])
    corpus = write_corpus(folder / "corpus.jsonl", rules)
    tiny.save_own_form(folder / "model", "llama", pooling="mean", rules=jobs.CLIPPED)
    save_adapter(folder / "adapter")
    for engine in ("local", "ray"):
        work_by_ratings(folder / engine, corpus, rules, engine)
        work_by_model(folder / engine, corpus, folder, engine)
    return {engine: folder / engine for engine in ("local", "ray")}


def made(place: Path, kind: str) -> dict[str, Any]:
    """What every pass has left: digests of the units of its table, and the bytes of its files, but for paths."""
    found: dict[str, Any] = {}
    run = place / kind
    for one in PASSES:
        if one.table and (run / one.table / "_SUCCESS").exists():
            files = read_manifest(Folder(str(run / one.table)))
            found[one.table] = [(file.unit, file.rows, file.digest) for file in files]
    names = [name for one in PASSES for name in one.files if (run / name).exists()]
    for name in [*names, *FURTHER_FILES[kind]]:
        found[name] = (run / name).read_bytes().replace(str(place).encode(), b"")
    return found


@pytest.mark.parametrize("kind", ["by_ratings", "by_model"])
def test_both_engines_make_the_same_bits(places: dict[str, Path], kind: str) -> None:
    local, on_ray = (made(places[engine], kind) for engine in ("local", "ray"))
    assert local.keys() == on_ray.keys()
    assert [name for name in local if local[name] != on_ray[name]] == []


def test_every_pass_was_compared(places: dict[str, Path]) -> None:
    compared = {name for kind in FURTHER_FILES for name in made(places["local"], kind)}
    left = {one.name for one in PASSES if not compared.intersection([one.table, *one.files])}
    assert left - {spec.FIT_HEADS.name} == NOT_HERE
    assert "../heads/heads.safetensors" in compared  # of the fit of heads, which writes to a folder of its own
