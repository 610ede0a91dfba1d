"""fit.json: how well fitted heads do on responses that they have not seen. It lies beside the model of the heads."""

from typing import ClassVar

from encore_ray.artifacts.artifact import Artifact, Part
from encore_ray.models.spec.files import FIT_FILE


class MeanAuc(Part):
    """Mean AUC of the rules with so many yes labels or more; None where there is no such rule."""

    value: float | None
    num_rules: int
    min_yes: int


class LogisticFigures(Part):
    """Of all logistic regressions: passes over the data, and whether each found its minimum."""

    num_passes: int
    is_exact: bool


class FittedHead(Part):
    """One head: its fit, and its figures on held-out responses with their 95 % intervals; None where not known.

    Attributes:
        fit: "logistic" or "ridge".
        num_yes: None where labels are ratings.
    """

    name: str
    fit: str
    penalty: float
    num_labels: int
    num_yes: int | None
    auc: float | None
    auc_low: float | None
    auc_high: float | None
    r2: float | None
    r2_low: float | None
    r2_high: float | None


class FitReport(Artifact):
    """What `fit-heads` finds."""

    FILE: ClassVar[str] = FIT_FILE
    MADE_BY: ClassVar[str] = "fit-heads"

    num_responses: int
    num_folds: int
    mean_auc: MeanAuc
    logistic: LogisticFigures | None
    rules: list[FittedHead]

    def figures(self) -> dict[str, float | None]:
        """The figures that are worth a curve or a column in MLflow, by rule, on held-out responses."""
        flat: dict[str, float | None] = {"mean_auc": self.mean_auc.value, "responses": self.num_responses}
        for head in self.rules:
            flat |= {f"auc/{head.name}": head.auc, f"r2/{head.name}": head.r2, f"penalty/{head.name}": head.penalty}
        return flat
