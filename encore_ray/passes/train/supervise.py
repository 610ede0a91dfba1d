"""Supervises Ray Train: the workers run beside the main thread, which reads their log, shows it, and stops them.

Ray Train places the workers, joins them into one process group and starts them again when one dies.
"""

import contextlib
import logging
import os
import pickle
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import ray.exceptions
import ray.train
import ray.train.torch
from ray.data import DataContext

from encore_ray import errors
from encore_ray.engine.outcomes import WorkerError
from encore_ray.engine.progress import Progress, Watch
from encore_ray.errors import ClusterError
from encore_ray.models.training.state import newest_state, read_progress
from encore_ray.passes.train.log import LogReader, flat_figures, sentence
from encore_ray.passes.train.plan import TrainPlan
from encore_ray.passes.train.worker import DONE_FILE, ERROR_FILE, LOG_FILE, OWNER_FILE, STOP_FILE, TRAINING_DIR
from encore_ray.storage import Folder

logger = logging.getLogger("encore_ray")

POLL_S = 0.5  # between two looks at the log
STOP_S = 60.0  # for workers to keep their state when the driver is interrupted

# Ray Train gives workers a minute to start, which a busy machine may need for their imports alone. What it tells of
# nodes that are to be taken away, by a process of its own, nobody here asks for: the state is on disk.
_RAY_TRAIN_ENV = {
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "600",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "1",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
}

Tell = Callable[[Mapping[str, float], int], None]


def supervise_workers(
    plan: TrainPlan,
    output: str,
    first: int,
    *,
    retries: int,
    watch: Watch,
    note: Callable[[str], None],
    tell: Tell,
) -> None:
    """Run the workers to their end, and pass on what they log.

    Args:
        plan: what to train on what.
        output: folder for the model, in which the training keeps its state.
        first: steps that the newest state has behind it.
        retries: how often workers are started again after a death.
        watch: told of the progress in rows.
        note: told of each evaluation, in words.
        tell: told of the figures of each step and evaluation, with the step.

    Raises:
        EncoreError: what a worker raised, as it raised it. WorkerError: anything else that it raised.
        ClusterError: workers die again and again, or nothing happens for too long.
    """
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
    with _running(plan, output, retries=retries) as thread:
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


class _TrainerThread(threading.Thread):
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
def _running(plan: TrainPlan, output: str, *, retries: int) -> Iterator[_TrainerThread]:
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
        # Pickled, or Ray Train's controller, which has no use for the plan, imports all that a worker does.
        train_loop_config={"plan": pickle.dumps(plan), "output": output, "owner": owner},
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
    thread = _TrainerThread(trainer)
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
