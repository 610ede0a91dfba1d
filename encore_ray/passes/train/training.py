"""Train: a multi-head model on the rows of a run, by Ray Train's TorchTrainer.

What a training keeps is its own (`models.training.state`): the same command resumes it after the end of a worker, of
the driver or of the machine.
"""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from encore_ray.artifacts import TrainReport
from encore_ray.composition.measure.vetoes import hard_rules
from encore_ray.config import TrainOptions
from encore_ray.engine.progress import Watch, ignore_progress
from encore_ray.engine.work.reduce import Reducer
from encore_ray.errors import DataError
from encore_ray.folder.provenance import is_same
from encore_ray.folder.spec import TRAIN
from encore_ray.models.families.form import FORM_FILE
from encore_ray.models.loading.embedding import delete_model
from encore_ray.models.spec.files import TRAIN_FILE
from encore_ray.models.training.state import newest_state, read_progress
from encore_ray.passes.scorers.model.place import make_output, model_paths
from encore_ray.passes.train.plan import TrainPlan, plan_training
from encore_ray.passes.train.supervise import Tell, supervise_workers
from encore_ray.passes.train.worker import DONE_FILE, ERROR_FILE, MODEL_DIR, STOP_FILE, TRAINING_DIR
from encore_ray.rules import RuleSet
from encore_ray.run import Run
from encore_ray.schema import PAIRS_DIR, PLAN_FILE, SCHEMA_VERSION
from encore_ray.step import Record, Step
from encore_ray.storage import Folder, fingerprint


@dataclass(frozen=True)
class Train(Step[TrainReport]):
    """Train a model on the rows of the run and save it, where it is not there already.

    Attributes:
        base: folder, hub id, or URL of a folder on an object store.
        options: how to train.
        rules: of the ratings, see `check_rules`.
        labels: table of the same pairs with ratings or a selection; None: the pairs themselves.
        output: folder for the model, see `require_place`.
    """

    spec = TRAIN
    base: str
    options: TrainOptions
    output: str
    rules: RuleSet | None = None
    labels: str | None = None

    @property
    def paths(self) -> Sequence[str]:
        make_output(self.output)
        return [*model_paths(self.base), self.output]

    def __call__(self, run: Run) -> TrainReport:
        options = self.options
        plan = plan_training(
            self.base,
            options,
            rules=self.rules,
            pairs=run.path(PAIRS_DIR),
            labels=self.labels,
            reducer=Reducer(run.engines.ray(self.paths), run.display),
        )
        run.tracked.log_params(plan.facts)
        rows = plan.counts
        run.note(
            f"train on {plan.crew}, {options.dtype}, {plan.strategy}: {rows['trained']:,} rows, "
            f"{rows['heldout']:,} held out, {rows['left_out']:,} with nothing to learn; "
            f"{plan.order.num_steps:,} steps; {plan.first_heads}"
        )
        vetoed = hard_rules(plan.recipe.rules.rules)
        if vetoed and options.objective == "multihead-bradley-terry":
            run.note(
                f"train: the vetoes of {', '.join(vetoed)} are left out of the model's rules.yaml: its scores will not "
                "be on the scales of the ratings"
            )
        made = run_training(
            plan,
            self.output,
            overwrite=run.overwrite,
            retries=options.retries,
            watch=run.display,
            note=run.note,
            tell=lambda figures, step: run.tracked.log_metrics(figures, step=step),
        )
        return TrainReport.of(made, where=Folder(self.output).path(TRAIN_FILE))

    def record(self, made: TrainReport) -> Record:
        return Record(artifacts={made.FILE: made.to_json()})


def run_training(
    plan: TrainPlan,
    output: str,
    *,
    overwrite: bool = False,
    retries: int = 3,
    watch: Watch = ignore_progress,
    note: Callable[[str], None] = lambda text: None,
    tell: Tell = lambda figures, step: None,
) -> dict[str, Any]:
    """Train and save the model, or go on with it, or find it done; returns the content of train.json.

    Args:
        plan: what to train on what.
        output: folder for the model, see `require_place`.
        overwrite: start over where the model there was made from other facts, instead of refusing.
        retries: how often a training whose worker dies goes on without a new command.
        watch: told of the progress in rows.
        note: told of each evaluation, in words.
        tell: told of the figures of each step and evaluation, with the step.

    Raises:
        ResumeRefused: the folder holds a training on other rows or by other options.
        ClusterError: workers die again and again, or nothing happens for too long.
        DataError: as of `models.training.loop.train`.
    """
    facts = dict(plan.facts)
    folder = Folder(output)
    training = folder.child(TRAINING_DIR)
    standing = _standing_facts(folder, training)
    if not is_same(output, standing, facts, overwrite=overwrite) and standing is not None:
        delete_model(Path(output), _standing_files(folder, training))
        training.delete_tree()
    if folder.exists(TRAIN_FILE):
        training.delete_tree()  # of a driver that was killed before it did so
        note(f"train: {output} holds the model already")
        return folder.read_json(TRAIN_FILE)
    training.write_json(PLAN_FILE, {"fingerprint": fingerprint(facts), "facts": facts})
    for name in (STOP_FILE, ERROR_FILE):
        training.delete(name)
    if not training.exists(DONE_FILE):
        newest = newest_state(Path(output) / TRAINING_DIR)
        first = read_progress(newest).step if newest else 0
        supervise_workers(plan, output, first, retries=retries, watch=watch, note=note, tell=tell)
    done = training.read_json(DONE_FILE)
    move_model(Path(output) / TRAINING_DIR / MODEL_DIR, Path(output), done["files"])
    progress = done["progress"]
    content = {
        "schema_version": SCHEMA_VERSION,
        "objective": plan.recipe.objective,
        "base": plan.recipe.base.path,
        "rows": dict(plan.counts),
        "steps": progress["step"],
        "num_steps": plan.order.num_steps,
        "best": progress["evaluations"][progress["best"]],
        "evaluations": progress["evaluations"],
        "files": done["files"],
        "made_from": facts,
    }
    folder.write_json(TRAIN_FILE, content)
    training.delete_tree()
    return content


def _standing_facts(folder: Folder, training: Folder) -> dict[str, Any] | None:
    """What the model or the training in a folder is made from; None where there is neither."""
    for place, name, key in ((folder, TRAIN_FILE, "made_from"), (training, PLAN_FILE, "facts")):
        if place.exists(name):
            with contextlib.suppress(DataError, KeyError, TypeError):  # a damaged one is of nothing that is known
                return dict(place.read_json(name)[key])
            return {}
    return None


def _standing_files(folder: Folder, training: Folder) -> list[str]:
    """The files of the model in a folder, also of one that is only partly there; none where that is not known."""
    for place, name in ((folder, TRAIN_FILE), (training, DONE_FILE)):
        with contextlib.suppress(DataError, KeyError, TypeError):
            return list(place.read_json(name)["files"])
    return []


def move_model(source: Path, target: Path, names: Sequence[str]) -> None:
    """Move a model's files, encore.json last; those that are not there any more were moved before."""
    for name in sorted(names, key=lambda name: name == FORM_FILE):
        if (source / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).replace(target / name)
