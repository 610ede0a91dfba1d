"""Fits energies to the units of a run: one worker trains, the driver watches.

Units are streamed. Of the held-out fifth of the prompts, one half stops the training, the other is never read by it.
After each epoch the state of the training is kept, and a training that did not end goes on from there.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TypeVar

import numpy as np

from encore_ray.models.energy_training import EnergySettings, PairBlock, PairBlocks, fit_energies
from encore_ray.models.linear_refit import refit_linear
from encore_ray.models.refiner import Refiner
from encore_ray.passes.apart import Do, Say, Work
from encore_ray.passes.committed import Progress, Watch
from encore_ray.passes.energies import units_fingerprint
from encore_ray.passes.refine_source import EmbeddedUnit, training_blocks
from encore_ray.storage import Folder, fingerprint

logger = logging.getLogger("encore_ray")

TRAINING_FACTS = ("losses", "heldout_losses", "best_epoch", "device", "num_threads")  # of energies, for their report

Tell = Callable[[str], None]
Result = TypeVar("Result")


@dataclass(frozen=True)
class Told:
    """What a fit says as it goes: pairs that went through, now or before it was resumed, and a sentence."""

    pairs: int = 0
    resumed: bool = False
    sentence: str = ""


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

    @property
    def most_pairs(self) -> int:
        """That can go through, over all epochs."""
        return self.settings.epochs * sum(unit.table.rows for unit in self.units)

    def run(self, say: Say) -> tuple[Refiner, np.ndarray]:
        """Energies of all heads of the units, and weights [K, D] of their plain refit on the same pairs.

        Raises:
            DataError: no pair agrees with its label under any head.
        """
        corpus = training_blocks(self.units, noise=self.noise, seed=self.settings.seed)

        def read(number: int) -> PairBlock:
            say(Told())  # that there is somebody
            return corpus.read(number)

        def tell(epoch: int, loss: float, heldout: float | None) -> None:
            said = "" if heldout is None else f", held out {heldout:.4f}"
            say(Told(sentence=f"{self.name}, epoch {epoch} of {self.settings.epochs}: loss {loss:.4f}{said}"))

        def resume(epoch: int, pairs: int) -> None:
            say(Told(pairs, resumed=True, sentence=f"{self.name}: goes on after epoch {epoch}"))

        blocks = PairBlocks(corpus.num_blocks, read)
        state = f"{self._fingerprint}.state"
        fit = fit_energies(
            blocks,
            settings=self.settings,
            kept=self.kept.read_bytes(state) if self.kept.exists(state) else None,
            keep=lambda content: self.kept.write_atomic(state, content),
            on_epoch=tell,
            on_step=lambda pairs: say(Told(pairs)),
            on_resume=resume,
        )
        return Refiner.of(fit), refit_linear(blocks, standards=fit.standards, settings=self.settings)

    @property
    def _fingerprint(self) -> str:
        heads = self.units[0].heads if self.units else None
        return fingerprint([units_fingerprint(self.units), repr(heads), asdict(self.settings), self.noise])[:16]


def follow(do: Do, work: Work[Result], training: Training, *, watch: Watch, tell: Tell) -> Result:
    """Do work that trains, and show how it gets on.

    Args:
        do: where.
        work: says what it does by `Told`.
        training: that it runs.
        watch: told of the progress in pairs, epoch after epoch.
        tell: told of each epoch.
    """
    started, done, resumed = time.monotonic(), 0, 0

    def hear(told: Told) -> None:
        nonlocal done, resumed
        if told.resumed:
            done = resumed = told.pairs
        else:
            done += told.pairs
        if told.pairs:
            watch(Progress(training.name, done, training.most_pairs, 0, 0, resumed, time.monotonic() - started))
        if told.sentence:
            tell(told.sentence)

    try:
        result = do(work, hear)
    except KeyboardInterrupt:
        logger.warning("Interrupted: the same command goes on after the last whole epoch.")
        raise
    total = training.most_pairs
    watch(Progress(training.name, total, total, 0, 0, resumed, time.monotonic() - started))
    return result
