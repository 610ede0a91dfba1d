"""refine/report.json and refine/rules/report.json: what energies buy beside their controls, on pairs they never saw.

refine/label_errors.json: the labels that they find least probable.
"""

from typing import Annotated, ClassVar

from pydantic import Field

from encore_ray.artifacts.artifact import Artifact, Part
from encore_ray.artifacts.figures import Difference
from encore_ray.schema import LABEL_ERRORS_FILE, REFINE_REPORT_FILE, RULE_REFINE_REPORT_FILE


class ControlFigures(Part):
    """One reward on the held-out pairs: the base, its plain refit, or the refined one.

    Attributes:
        noise: share of the labels that were turned round before its fit, in [0, .5).
        accuracy: a tie is half a win; with its 95 % interval.
        difference_to_base: of the accuracies.
    """

    name: str
    noise: float = 0.0
    num_pairs: int
    wins: int
    ties: int
    losses: int
    accuracy: float
    accuracy_low: float | None
    accuracy_high: float | None
    difference_to_base: Difference

    @property
    def key(self) -> str:
        """Its name in MLflow."""
        return self.name.replace(" ", "_")


class ReliabilityCell(Part):
    """Labels whose probability is from `low` to `high`: mean probability, and the share that was right."""

    low: float
    high: float
    num_pairs: int
    confidence: float | None
    right: float | None


class SourceFigures(Part):
    """One way to a label's probability, and how it holds on pairs that it was not fitted to."""

    source: str
    slope: float
    log_loss: float
    brier: float
    ece: float
    bins: list[ReliabilityCell]


class Calibration(Part):
    """The sources of a label's probability, the one that fits best first.

    Attributes:
        used: the one that is read; None where it is no better than a coin.
    """

    used: str | None
    sources: list[SourceFigures]


class FittedPairs(Part):
    """Pairs to learn from, and of those held out the ones that calibrate and the ones that test."""

    trainable: int
    calibration: int
    test: int


class RefinedPairs(FittedPairs):
    """Of the pairs to learn from, those whose base rewards agree with the label, and those that are left out."""

    agreeing: int
    conflicting: int


class DensityWidth(Part):
    """Standard deviations of the reward: of a density on average, and of the noise that training added."""

    mean: float
    beta_sigma: float


class RefineReport(Artifact):
    """What `refine fit` finds of the composed reward."""

    FILE: ClassVar[str] = REFINE_REPORT_FILE
    MADE_BY: ClassVar[str] = "refine fit"

    verdict: str
    pairs: RefinedPairs
    controls: Annotated[list[ControlFigures], Field(min_length=1)]
    calibration: Calibration
    density_width: DensityWidth

    def figures(self) -> dict[str, float | None]:
        """The figures that are worth a curve or a column in MLflow."""
        return {f"accuracy/{each.key}/noise_{each.noise:g}": each.accuracy for each in self.controls}


class RefinedRule(Part):
    """The scores of one rule: base, plain refit, refined."""

    name: str
    controls: Annotated[list[ControlFigures], Field(min_length=3, max_length=3)]


class RuleRefineReport(Artifact):
    """What `refine fit --per-rule` finds of each rule's scores."""

    FILE: ClassVar[str] = RULE_REFINE_REPORT_FILE
    MADE_BY: ClassVar[str] = "refine fit --per-rule"

    verdict: str
    pairs: FittedPairs
    rules: Annotated[list[RefinedRule], Field(min_length=1)]

    def figures(self) -> dict[str, float | None]:
        """The figures that are worth a curve or a column in MLflow."""
        return {
            f"accuracy/{rule.name}/{control.key}": control.accuracy for rule in self.rules for control in rule.controls
        }


class LabelError(Part):
    """A pair, and how probable its label is."""

    pair_id: str
    label_probability: float


class LabelErrors(Artifact):
    """What `refine apply` finds of the labels.

    Attributes:
        below: a less probable label is a likely error. num_pairs: that have one.
        pairs: the least probable labels first; of very many only the first.
    """

    FILE: ClassVar[str] = LABEL_ERRORS_FILE
    MADE_BY: ClassVar[str] = "refine apply"

    below: float
    num_pairs: int
    pairs: list[LabelError]
