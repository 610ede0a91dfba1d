"""train.json: what a model was trained on, and how it does on held-out prompts. It lies beside the model."""

from typing import ClassVar, Self

from pydantic import model_validator

from encore_ray.artifacts.artifact import Artifact, Part
from encore_ray.models.spec.files import TRAIN_FILE

MERITS = ("r2", "f1", "accuracy")


class RowFigures(Part):
    """Rows = trained + held out + left out; ties of each rule have nothing to learn for it."""

    rows: int
    trained: int
    heldout: int
    left_out: int
    ties: dict[str, int]


class HeldOutFigures(Part):
    """Loss over some held-out targets, and the one figure of merit that the objective has; None where not known."""

    num: int
    loss: float
    r2: float | None = None
    f1: float | None = None
    accuracy: float | None = None

    @model_validator(mode="after")
    def _has_a_merit(self) -> Self:
        if not self.model_fields_set.intersection(MERITS):
            raise ValueError(f"none of {', '.join(MERITS)}")
        return self

    @property
    def merit_name(self) -> str:
        return next(name for name in MERITS if name in self.model_fields_set)

    @property
    def merit(self) -> float | None:
        return getattr(self, self.merit_name)


class TrainEvaluation(HeldOutFigures):
    """The figures after a step, of all targets and of each rule's."""

    step: int
    rules: dict[str, HeldOutFigures]


class TrainReport(Artifact):
    """What `train` did.

    Attributes:
        steps: done, of `num_steps`. best: the evaluation whose model was kept.
    """

    FILE: ClassVar[str] = TRAIN_FILE
    MADE_BY: ClassVar[str] = "train"

    objective: str
    rows: RowFigures
    steps: int
    num_steps: int
    best: TrainEvaluation
