"""Train: a multi-head model on the rows of a run, by Ray Train's TorchTrainer.

Ray Train places the workers, joins them into one process group and starts them again when one dies. What a training
keeps is its own (`models.training.state`): the same command resumes it after the end of a worker, of the driver or of
the machine. While workers train the driver reads their log, and shows it.
"""

import contextlib
import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray.exceptions
import ray.train
import ray.train.torch
from ray.data import DataContext

from encore_ray import errors
from encore_ray.artifacts import TrainReport
from encore_ray.config import TrainOptions
from encore_ray.engine.outcomes import WorkerError
from encore_ray.engine.progress import Progress, Watch, ignore_progress
from encore_ray.engine.reduce import Reducer
from encore_ray.errors import ClusterError, DataError
from encore_ray.folder.provenance import is_same
from encore_ray.folder.spec import TRAIN
from encore_ray.models.families.form import FORM_FILE
from encore_ray.models.loading.embedding import delete_model
from encore_ray.models.spec.files import TRAIN_FILE
from encore_ray.models.training.state import newest_state, read_progress
from encore_ray.passes.scorers.model.place import make_output, model_paths, require_output
from encore_ray.passes.train.log import LogReader, flat_figures, sentence
from encore_ray.passes.train.plan import TrainPlan, plan_training
from encore_ray.passes.train.worker import (
    DONE_FILE,
    ERROR_FILE,
    LOG_FILE,
    MODEL_DIR,
    OWNER_FILE,
    STOP_FILE,
    TRAINING_DIR,
)
from encore_ray.rules import RuleSet
from encore_ray.run import Record, Run, Step
from encore_ray.schema import PAIRS_DIR, PLAN_FILE, SCHEMA_VERSION
from encore_ray.storage import Folder, fingerprint

logger = logging.getLogger("encore_ray")

POLL_S = 0.5  # between two looks at the log
STOP_S = 60.0  # for workers to keep their state when the driver is interrupted

# Ray Train gives workers a minute to start, which a busy machine may need for their imports alone.
_RAY_TRAIN_ENV = {"RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "600", "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "1"}

Tell = Callable[[Mapping[str, float], int], None]


def require_place(output: str, *, base: str) -> None:
    """Make sure that the model can be saved there, see `require_output`."""
    require_output(output, source=base, marks=(TRAIN_FILE, TRAINING_DIR))


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
        _fit(plan, output, first, retries=retries, watch=watch, note=note, tell=tell)
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


def _fit(
    plan: TrainPlan,
    output: str,
    first: int,
    *,
    retries: int,
    watch: Watch,
    note: Callable[[str], None],
    tell: Tell,
) -> None:
    """Run the workers to their end, and pass on what they log."""
    training = Folder(output).child(TRAINING_DIR)
    total_rows = plan.order.epochs * plan.order.num_rows
    timeout_s = DataContext.get_current().execution_no_progress_timeout_s
    log = LogReader(Path(output) / TRAINING_DIR / LOG_FILE, first)
    started = heard = time.monotonic()
    rows_before = _rows_until(plan, first)

    def show(step: int) -> None:
        rows, seconds = _rows_until(plan, step), time.monotonic() - started
        watch(Progress("train", rows, total_rows, step, plan.order.num_steps, rows_before, seconds))

    show(first)
    with _training(plan, output, retries=retries) as thread:
        while True:
            is_over = training.exists(DONE_FILE) or not thread.is_alive()  # asked before the log is read to its end
            for line in log.read():
                heard = time.monotonic()
                if line["kind"] == "step":
                    show(line["step"])
                    tell({key: line[key] for key in ("loss", "learning_rate", "grad_norm")}, line["step"])
                else:
                    note(sentence(line, objective=plan.recipe.objective, num_steps=plan.order.num_steps))
                    tell(flat_figures(line), line["step"])
            if is_over:
                break
            if time.monotonic() - heard > timeout_s:
                raise ClusterError(
                    f"No step of the training has ended for {timeout_s:g} s (cluster.no_progress_timeout_s). The same "
                    "command resumes it."
                )
            thread.join(POLL_S)
    thread.check(training)


class _Fit(threading.Thread):
    """TorchTrainer.fit beside the main thread, which keeps Ctrl-C."""

    def __init__(self, trainer: ray.train.torch.TorchTrainer):
        super().__init__(name="encore-ray-train", daemon=True)
        self._trainer = trainer
        self._error: Exception | None = None

    def run(self) -> None:
        try:
            self._trainer.fit()
        except Exception as error:
            self._error = error

    def check(self, training: Folder) -> None:
        """Raise what ended the training before it was done."""
        if training.exists(ERROR_FILE):
            error = training.read_json(ERROR_FILE)
            raise getattr(errors, error["kind"])(error["message"])
        if training.exists(DONE_FILE):
            return
        death = death_among(getattr(self._error, "worker_failures", {}))
        if death is not None:
            raise ClusterError(
                f"Workers of the training died again and again, at last: {_first_line(death)} "
                "Give them more memory, by fewer batch_tokens or more workers; the same command resumes."
            ) from self._error
        raise WorkerError(str(self._error or "the training ended without a result")) from self._error


def death_among(failures: Mapping[int, Exception]) -> Exception | None:
    """What Ray says of the first worker that died, None where none did.

    The others fail too, as they can no longer talk to it.

    Args:
        failures: of each worker, as Ray Train tells them; it wraps a death as the failure of a health check.
    """
    causes = [getattr(failures[rank], "health_check_failure", failures[rank]) for rank in sorted(failures)]
    return next((cause for cause in causes if isinstance(cause, ray.exceptions.RayError)), None)


@contextlib.contextmanager
def _training(plan: TrainPlan, output: str, *, retries: int) -> Iterator[_Fit]:
    """Workers that train while the block runs; if it is left early they keep their state and end."""
    from encore_ray.passes.train.worker import train_worker

    for name, value in _RAY_TRAIN_ENV.items():
        os.environ.setdefault(name, value)
    logging.getLogger("ray.train").setLevel(logging.ERROR)
    training = Folder(output).child(TRAINING_DIR)
    timeout_s = int(DataContext.get_current().execution_no_progress_timeout_s)
    resources = {"CPU": plan.crew.cpus, **({"GPU": plan.crew.gpus} if plan.crew.gpus else {})}
    owner = uuid.uuid4().hex
    training.write_atomic(OWNER_FILE, owner.encode())
    trainer = ray.train.torch.TorchTrainer(
        train_worker,
        train_loop_config={"plan": plan, "output": output, "owner": owner},
        torch_config=ray.train.torch.TorchConfig(timeout_s=timeout_s),
        scaling_config=ray.train.ScalingConfig(
            num_workers=plan.crew.num, use_gpu=bool(plan.crew.gpus), resources_per_worker=resources
        ),
        run_config=ray.train.RunConfig(
            name=owner,  # Ray Train would go on with a run of the same name
            storage_path=training.path("ray"),
            failure_config=ray.train.FailureConfig(max_failures=retries),
        ),
    )
    thread = _Fit(trainer)
    thread.start()
    try:
        yield thread
    except KeyboardInterrupt:
        _stop(thread, training)
        newest = newest_state(Path(output) / TRAINING_DIR)
        logger.warning(
            "Interrupted: %d of %d steps are kept in %s. The same command resumes the training.",
            read_progress(newest).step if newest else 0,
            plan.order.num_steps,
            output,
        )
        raise
    finally:
        _stop(thread, training)


def _stop(thread: threading.Thread, training: Folder) -> None:
    """Let workers that still train keep their state and end, and wait for them."""
    if thread.is_alive() and not training.exists(DONE_FILE):
        training.write_atomic(STOP_FILE, b"")
    thread.join(STOP_S)


def _rows_until(plan: TrainPlan, step: int) -> int:
    """Rows that have been seen after a step."""
    epochs, steps = divmod(step, plan.order.steps_per_epoch)
    return epochs * plan.order.num_rows + min(steps * plan.order.batch_rows, plan.order.num_rows)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0] or type(error).__name__
