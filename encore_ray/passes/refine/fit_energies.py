"""Fits energies to the units of a run: one worker trains, the driver watches.

Units are streamed. Of the held-out fifth of the prompts, one half stops the training, the other is never read by it.
After each epoch the state of the training is kept, and a training that did not end goes on from there.
"""

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from encore_ray.engine.base import Engine, Send
from encore_ray.engine.local import LocalEngine
from encore_ray.engine.progress import Progress, Watch, ignore_progress
from encore_ray.errors import ClusterError
from encore_ray.models.energy.pair_blocks import PairBlock, PairBlocks
from encore_ray.models.spec.energy import EnergySettings, FitProgress
from encore_ray.passes.refine.energies import units_fingerprint
from encore_ray.passes.refine.source import EmbeddedUnit, training_blocks
from encore_ray.schema import FIT_PROGRESS_FILE
from encore_ray.storage import Folder, fingerprint

if TYPE_CHECKING:
    from encore_ray.models.energy.refiner import Refiner
    from encore_ray.models.energy.training import EnergyFit

logger = logging.getLogger("encore_ray")

TRAINING_FACTS = ("losses", "heldout_losses", "best_epoch", "device", "num_threads")  # of energies, for their report

LEAVE_EVERY_S = 5.0  # between two notes of how far a training is


def _ignore_note(text: str) -> None:
    """Nobody looks."""


Result = TypeVar("Result")


@dataclass(frozen=True)
class FitMessage:
    """What a fit says as it goes.

    Attributes:
        progress: how far the training is; None from what comes before and after it.
        sentence: for who looks.
        kept: whether a fit that ends now goes on from here.
    """

    progress: FitProgress | None = None
    sentence: str = ""
    kept: bool = False


@dataclass(frozen=True)
class Training:
    """Energies to be trained.

    Attributes:
        units: of the corpus.
        settings: of the training.
        name: of the work, for who looks.
        kept: folder for its state.
        noise: share of the labels that are turned round.
    """

    units: tuple[EmbeddedUnit, ...]
    settings: EnergySettings
    name: str
    kept: Folder
    noise: float = 0.0

    def run(self, send: Send) -> tuple["Refiner", np.ndarray]:
        """Energies of all heads of the units, and weights [K, D] of their plain refit on the same pairs.

        Raises:
            DataError: no pair agrees with its label under any head. ClusterError: memory runs out.
        """
        from encore_ray.models.energy.linear_refit import refit_linear
        from encore_ray.models.energy.refiner import Refiner
        from encore_ray.models.energy.training import fit_energies
        from encore_ray.models.forward.budget import unless_out_of_memory

        corpus = training_blocks(self.units, noise=self.noise, seed=self.settings.seed)
        begun = False

        def read(number: int) -> PairBlock:
            send(FitMessage())  # that there is somebody
            return corpus.read(number)

        def on_progress(progress: FitProgress) -> None:
            nonlocal begun
            goes_on = progress.epochs and not begun
            begun = True
            send(FitMessage(progress, f"{self.name}: goes on after epoch {progress.epochs}" if goes_on else ""))

        def on_epoch(epoch: int, loss: float, heldout: float | None) -> None:
            said = "" if heldout is None else f", held out {heldout:.4f}"
            sentence = f"{self.name}, epoch {epoch} of {self.settings.epochs}: loss {loss:.4f}{said}"
            send(FitMessage(sentence=sentence, kept=True))

        def fit() -> "EnergyFit":
            return fit_energies(
                blocks,
                settings=self.settings,
                kept=self.kept.read_bytes(state) if self.kept.exists(state) else None,
                keep=lambda content: self.kept.write_atomic(state, content),
                on_epoch=on_epoch,
                on_progress=on_progress,
            )

        blocks = PairBlocks(corpus.num_blocks, read)
        state = f"{self._fingerprint}.state"
        found = unless_out_of_memory(fit)
        if found is None:
            raise ClusterError(
                "The worker that fits the energies ran out of memory: let other work on its GPU end, or fit them on "
                "CPUs with --gpus 0."
            )
        return Refiner.of(found), refit_linear(blocks, moments=found.moments, settings=self.settings)

    @property
    def _fingerprint(self) -> str:
        heads = self.units[0].heads if self.units else None
        return fingerprint([units_fingerprint(self.units), repr(heads), asdict(self.settings), self.noise])[:16]


def advice(facts: Mapping[str, Any]) -> str:
    """What to do about energies that were still getting better when their training ended; else nothing.

    Args:
        facts: of a Refiner.
    """
    losses, num_epochs = facts["heldout_losses"], facts["settings"]["epochs"]
    if not len(losses) == facts["best_epoch"] == num_epochs:
        return ""
    return (
        f" The held-out loss was lowest after the last of {num_epochs} epochs: train longer (--epochs), or, on a small "
        "corpus, with a higher --learning-rate and fewer --batch-responses."
    )


@dataclass(frozen=True)
class Trainer:
    """Where energies are fitted, and who looks.

    Attributes:
        engine: that holds the worker. cpus, gpus: that it holds, see `Engine.call`.
        watch: told of the progress in pairs, epoch after epoch; its units are epochs.
        note: told of each epoch.
    """

    engine: Engine = field(default_factory=LocalEngine)
    cpus: float | None = None
    gpus: float | None = None
    watch: Watch = ignore_progress
    note: Callable[[str], None] = _ignore_note


def supervise(trainer: Trainer, work: Callable[[Send], Result], training: Training) -> Result:
    """Do work that trains, show how it gets on, and leave that for `run_status`.

    Args:
        work: says what it does by `FitMessage`.
        training: that it runs.
    """
    supervisor = _Supervisor(training, trainer.watch, trainer.note)
    try:
        result = trainer.engine.call(work, supervisor.receive, cpus=trainer.cpus, gpus=trainer.gpus)
    except KeyboardInterrupt:
        logger.warning("Interrupted: the same command goes on after the last whole epoch.")
        raise
    supervisor.end()
    return result


class _Supervisor:
    """What the driver hears of a training."""

    def __init__(self, training: Training, watch: Watch, note: Callable[[str], None]):
        self._training, self._watch, self._note = training, watch, note
        self._started = time.monotonic()
        self._left_at = -math.inf
        self._last: FitProgress | None = None
        self._resumed_pairs = 0

    def receive(self, told: FitMessage) -> bool:
        """Pass on what is told; whether it is kept."""
        if told.progress and told.progress != self._last:  # the same is said after each of many forward passes
            if self._last is None:
                self._resumed_pairs = told.progress.pairs
            self._last = told.progress
            self._show(self._last, num_epochs=self._training.settings.epochs)
            self._leave(self._last)
        if told.sentence:
            self._note(told.sentence)
        return told.kept

    def end(self) -> None:
        """Show that the training is over, where that is before its last epoch."""
        if self._last and self._last.epochs < self._training.settings.epochs:
            over = replace(self._last, total_pairs=self._last.pairs)
            self._show(over, num_epochs=over.epochs)

    def _show(self, progress: FitProgress, *, num_epochs: int) -> None:
        self._watch(
            Progress(
                self._training.name,
                done_rows=progress.pairs,
                total_rows=progress.total_pairs,
                done_units=progress.epochs,
                total_units=num_epochs,
                resumed_rows=self._resumed_pairs,
                seconds=time.monotonic() - self._started,
            )
        )

    def _leave(self, progress: FitProgress) -> None:
        """Leave for other processes how far the training is."""
        now = time.monotonic()
        if now - self._left_at < LEAVE_EVERY_S:
            return
        self._left_at = now
        rate = (progress.pairs - self._resumed_pairs) / max(now - self._started, 1e-9)
        content = {
            **asdict(progress),
            "num_epochs": self._training.settings.epochs,
            "rate": rate,
            "at": time.time(),
        }
        self._training.kept.write_json(FIT_PROGRESS_FILE, content)
