"""comparison.json: every scheme on the same pairs, every rule, and how far to trust both."""

import itertools
import re
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from encore_ray.artifacts.artifact import Artifact, Part
from encore_ray.artifacts.figures import (
    ConsensusFigures,
    Correlations,
    DecidedByVeto,
    Difference,
    ListOrNull,
    RuleFigures,
    Stats,
    entropy_unit,
)
from encore_ray.schema import COMPARISON_FILE

_SENTENCES = re.compile(r"(?<=[.!?]) (?=[A-Z])")


class HeldOut(Part):
    """How many pairs, of how many distinct prompts, are held out."""

    num_pairs: int
    num_keys: int


class Line(Part):
    """What one scheme, rewards made elsewhere, or a trivial baseline gets right; None for what no pair tells.

    Attributes:
        weights: of each rule; None where a pair decides them, or several draws.
        all: on all pairs; None where it has learned from their labels. heldout: on the pairs held out.
        subsets: on all pairs of each, for what learns from labels on those held out.
        difference_to_uniform: on the held-out pairs; `_all`: on all.
    """

    name: str
    params: dict[str, Any] | None = None
    uses_labels: bool
    all: Stats | None = None
    heldout: Stats
    subsets: dict[str, Stats] | None = None
    difference_to_uniform: Difference
    difference_to_uniform_all: Difference | None = None
    weights: dict[str, float] | None = None
    reward_sd: float | None = None
    effective_num_rules: float | None = None


class SweepCell(Part):
    """ENCORE at one temperature and number of bins; None for the bins of the run."""

    temperature: float
    num_bins: int | None
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    largest_weight_change: float | None


class Sweep(Part):
    temperatures: list[float]
    num_bins: list[int | None]
    cells: list[SweepCell]


class Histogram(Part):
    """Counts of responses by a rule's score: a cell a level, or a bin between each two edges."""

    kind: Literal["bins", "levels"]
    levels: list[float] | None = None
    edges: list[float] | None = None
    chosen: list[int]
    rejected: list[int]
    single: list[int]

    @model_validator(mode="after")
    def _counts_fit_the_cells(self) -> Self:
        if (self.levels if self.kind == "levels" else self.edges) is None:
            raise ValueError(f"a histogram of {self.kind} that does not tell them")
        if any(len(counts) != len(self.cells) for counts in (self.chosen, self.rejected, self.single)):
            raise ValueError(f"a histogram of {len(self.cells)} cells with another number of counts")
        return self

    @property
    def cells(self) -> list[tuple[float, float]]:
        """Low and high end of each cell, ascending; of a level both are the level."""
        if self.kind == "levels":
            return [(level, level) for level in self.levels or ()]
        return list(itertools.pairwise(self.edges or ()))


class ComparedRule(RuleFigures):
    """One rule in comparison.json, under ENCORE's weights.

    Attributes:
        bradley_terry_weight: fitted to the labels without constraint; None where it was not, or the rule was dropped.
    """

    accuracy_low: float | None = None
    accuracy_high: float | None = None
    bradley_terry_weight: float | None = None
    histogram: Histogram | None = None


class RulePair(Part):
    """Two rules, and the correlation of their score differences."""

    a: str
    b: str
    r: float


class RuleCorrelations(Part):
    """Correlations of the rules.

    Attributes:
        matrix: of every two of the first rules, in rule order; None where a rule never varies.
        closest: of all rules, the pairs that correlate most, the closest first; none in files of before.
        redundant: those of them that say nearly the same. num_redundant: how many of all pairs do.
    """

    of: str
    matrix: list[list[float | None]]
    closest: list[RulePair] = Field(default_factory=list)
    redundant: list[RulePair]
    num_redundant: int | None = None


class Decision(Part):
    """Which weights to use, in short; the verdict begins with it in full.

    Attributes:
        is_clear: whether they are above uniform weights by more than chance. beats_coin: above a coin.
    """

    scheme: str
    is_clear: bool
    title: str
    beats_coin: bool = True


class SampleSize(Part):
    """Whether the pairs are enough: how far off weights may be, and the pairs needed for the target."""

    weight_error: float | None
    target: float
    needed_pairs: int | None


class Comparison(Artifact):
    """What `compare` finds.

    Attributes:
        beside: rewards made elsewhere. baselines: trivial rules.
        theory_check: entropy against fitted weights.
        world: what entropy says of accuracy, by name.
        consensus: what the rules have in common; older versions do not tell it.
        decision: which weights to use; older versions do not tell it.
        decided_by_veto: of all pairs, the same under every scheme; None where no rule has a veto.
    """

    FILE: ClassVar[str] = COMPARISON_FILE
    MADE_BY: ClassVar[str] = "compare"

    num_pairs: int
    heldout: HeldOut
    temperature: float
    log_base: str = "e"
    rule_names: list[str]
    schemes: list[Line]
    beside: ListOrNull[Line] = Field(default_factory=list)
    baselines: ListOrNull[Line]
    sweep: Sweep | None
    rules: list[ComparedRule]
    correlations: RuleCorrelations | None
    entropy_accuracy: Correlations
    theory_check: Correlations | None = None
    sample_size: SampleSize | None = None
    consensus: ConsensusFigures | None = None
    decision: Decision | None = None
    decided_by_veto: DecidedByVeto | None = None
    world: str
    verdict: str
    warnings: list[str]

    @property
    def reasons(self) -> list[str]:
        """The verdict sentence by sentence."""
        return [each for each in _SENTENCES.split(self.verdict) if each]

    @property
    def lines(self) -> list[Line]:
        """All that is compared: schemes, other rewards, baselines."""
        return [*self.schemes, *self.beside, *self.baselines]

    @property
    def unit(self) -> str:
        """Of the entropies."""
        return entropy_unit(self.log_base)

    @property
    def by_temperature(self) -> list[tuple[int, float]]:
        """A hundred times the temperature, and ENCORE's accuracy on all pairs there, in the bins of the run."""
        cells = [cell for cell in (self.sweep.cells if self.sweep else ()) if cell.num_bins is None]
        return sorted((round(100 * cell.temperature), cell.accuracy) for cell in cells)

    def figures_of(self, scheme: str) -> dict[str, float | None]:
        """Of one scheme and of uniform weights: what tells runs apart in a table of them."""
        lines = {line.name: line for line in self.schemes}
        uniform, own = lines["uniform"], lines.get(scheme)
        difference = own.difference_to_uniform_all if own else None
        return {
            "accuracy_uniform": uniform.all.accuracy if uniform.all else None,
            "difference_to_uniform": difference.value if difference else None,
        }

    def figures(self) -> dict[str, float | None]:
        """The figures that are worth a curve or a column in MLflow: on held-out pairs, which judge all alike."""
        flat: dict[str, float | None] = {"heldout_pairs": self.heldout.num_pairs}
        for line in self.lines:
            flat[f"accuracy/{line.name}"] = line.heldout.accuracy
            flat[f"difference_to_uniform/{line.name}"] = line.difference_to_uniform.value
        flat["entropy_accuracy_pearson"] = self.entropy_accuracy.pearson
        if self.consensus:
            flat |= self.consensus.figures()
        flat["weight_error"] = self.sample_size.weight_error if self.sample_size else None
        return flat
