"""How far a training is, as it is kept beside its weights."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STATE_FILE = "state.json"  # written last: where it is, all is


@dataclass(frozen=True)
class TrainProgress:
    """What a training did so far.

    Attributes:
        step: optimiser steps.
        evaluations: step and figures of each evaluation.
        best: number of the best of them.
        low, high: smallest and largest output of each head on held-out rows, at the best of them.
    """

    step: int = 0
    evaluations: tuple[Mapping[str, Any], ...] = ()
    best: int = 0
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()

    @property
    def best_step(self) -> int | None:
        return self.evaluations[self.best]["step"] if self.evaluations else None


def newest_state(folder: Path) -> Path | None:
    """The folder of the last state that was written as a whole."""
    return max((file.parent for file in folder.glob(f"step-*/{STATE_FILE}")), default=None)


def read_progress(place: Path) -> TrainProgress:
    """What a kept state says of the training."""
    content = json.loads((place / STATE_FILE).read_text(encoding="utf-8"))
    return TrainProgress(
        step=content["step"],
        evaluations=tuple(content["evaluations"]),
        best=content["best"],
        low=tuple(content["low"]),
        high=tuple(content["high"]),
    )
