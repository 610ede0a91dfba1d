"""weights.json as it is shown and reported.

`composition.weigh.weights.Weights` is what composes: it takes only a file that is whole, of this version and unchanged
since it was written. The view here also tells of files that must not compose any more.
"""

from typing import Any, ClassVar, Literal, Self

from encore_ray.artifacts.artifact import Artifact, Part
from encore_ray.artifacts.figures import ConsensusFigures, Correlations, RuleFigures, entropy_unit
from encore_ray.composition.consensus.verdict import IMPOSSIBLE
from encore_ray.composition.inference.agreement import Interval
from encore_ray.composition.weigh.weights import Weights
from encore_ray.schema import WEIGHTS_FILE
from encore_ray.storage import Folder


def read_weights(folder: Folder, name: str = WEIGHTS_FILE) -> Weights:
    """The weights of a folder, to compose with; DataError where the file is missing, damaged or changed."""
    return Weights.from_dict(folder.read_json(name), where=folder.path(name))


class Cells(Part):
    """What a rule's scores were counted in: equal bins from `lo` to `hi`, or a cell a level."""

    kind: Literal["bins", "levels"]
    lo: float
    hi: float
    num_bins: int | None = None
    levels: list[float] | None = None


class WeighedRule(RuleFigures):
    """One rule in weights.json."""

    binning: Cells


class ByScores(Part):
    """What the scores' own entropies are, and the weights that these would give."""

    entropies: dict[str, float]
    weights: dict[str, float]


class RatedBy(Part):
    """The table of ratings whose entropies weigh."""

    table: str
    num_responses: int
    by_scores: ByScores


class WeightsFile(Artifact):
    """The weights of all rules, and how they were made.

    Attributes:
        params: the scheme's options, and those of every scheme.
        temperature: of scheme encore, else None.
        num_keys: distinct prompts: the sample size of every interval of an accuracy; older versions do not tell it.
        uses_labels: whether the weights were learned from labels.
        ratings: whose entropies weigh, where it is not the scores'.
        consensus: of the rules, where the scheme looks at it, or there is no pair.
        fingerprint: of what decides a composed reward.
    """

    FILE: ClassVar[str] = WEIGHTS_FILE
    MADE_BY: ClassVar[str] = "weigh"

    scheme: str
    params: dict[str, Any]
    temperature: float | None
    log_base: str
    num_pairs: int
    num_responses: int
    counts_sha256: str
    effective_num_rules: float
    rules: list[WeighedRule]
    entropy_accuracy: Correlations | None
    warnings: list[str]
    num_keys: int | None = None
    uses_labels: bool = False
    consensus: ConsensusFigures | None = None
    ratings: RatedBy | None = None
    fingerprint: str

    @classmethod
    def of_weights(cls, weights: Weights) -> Self:
        return cls.of(weights.to_dict())

    @property
    def unit(self) -> str:
        """Of the entropies."""
        return entropy_unit(self.log_base)

    @property
    def by_weight(self) -> list[WeighedRule]:
        """The rules, the heaviest first, whatever the sign."""
        return sorted(self.rules, key=lambda rule: -abs(rule.weight))

    def interval(self, rule: RuleFigures) -> Interval | None:
        """95 % interval of a rule's accuracy; None where it has none."""
        return rule.interval(num_keys=self.num_keys)

    def figures(self) -> dict[str, float | None]:
        """The figures that are worth a curve or a column in MLflow."""
        flat: dict[str, float | None] = {"effective_num_rules": self.effective_num_rules}
        for rule in self.rules:
            flat |= {f"entropy/{rule.name}": rule.entropy, f"weight/{rule.name}": rule.weight}
            flat[f"accuracy/{rule.name}"] = rule.accuracy
        if self.consensus:
            flat |= self.consensus.figures()
        return flat

    @property
    def label_free_verdict(self) -> str | None:
        """What can be said without labels, in words; None where pairs are there to say more, and it was not asked."""
        if self.consensus:
            return self.consensus.verdict
        return None if self.num_pairs else IMPOSSIBLE
