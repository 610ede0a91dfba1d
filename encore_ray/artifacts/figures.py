"""Figures that stand in more than one contract file: agreement with the labels, differences, correlations."""

from typing import Annotated, Self, TypeVar

from pydantic import BeforeValidator, model_validator

from encore_ray.artifacts.artifact import Part
from encore_ray.composition.compare.verdict import name_world
from encore_ray.composition.inference.agreement import Interval, Tally

Item = TypeVar("Item")
ListOrNull = Annotated[list[Item], BeforeValidator(lambda value: [] if value is None else value)]

_ENTROPY_UNITS = {"e": "nats", "2": "bits"}


def entropy_unit(log_base: str) -> str:
    """Unit of entropies to a base of the logarithm."""
    return _ENTROPY_UNITS.get(log_base, "nats")


class Stats(Part):
    """How often a reward agrees with the labels of some pairs, a tie counting as half; None for what no pair tells.

    Attributes:
        wins, ties, losses: None also for the mean of several draws.
        accuracy_strict: a tie counts as a loss.
        accuracy_low, accuracy_high: 95 % interval over distinct prompts.
    """

    num_pairs: int
    wins: int | None
    ties: int | None
    losses: int | None
    accuracy: float | None
    accuracy_strict: float | None
    accuracy_low: float | None
    accuracy_high: float | None

    @model_validator(mode="after")
    def _pairs_have_an_accuracy(self) -> Self:
        if self.num_pairs and None in (self.accuracy, self.accuracy_strict, self.accuracy_low, self.accuracy_high):
            raise ValueError(f"{self.num_pairs} pairs without an accuracy")
        return self


class Difference(Part):
    """How much more accurate than another reward on the same pairs, with its 95 % interval; None without pairs."""

    value: float | None
    low: float | None
    high: float | None


class Correlations(Part):
    """Two correlations over rules with their p-values, which are over rules.

    Attributes:
        pearson_noise_free: from comparison.json, without the noise of the pairs; None where rules differ by no more.
        pearson_low, pearson_high: its 95 % interval, over prompts.
    """

    pearson: float | None
    pearson_p: float | None
    spearman: float | None
    spearman_p: float | None
    num_rules: int
    pearson_noise_free: float | None = None
    pearson_low: float | None = None
    pearson_high: float | None = None

    @property
    def world(self) -> str:
        """What entropy says of accuracy, see `encore_ray.composition.compare.verdict.name_world`."""
        return name_world(self.model_dump(exclude_unset=True))  # an interval that is null is another thing than none


class LengthCorrelations(Part):
    """How the verdicts by consensus go with those by the length of responses; None where none is decided."""

    num_pairs: int
    shorter_wins: float | None
    longer_wins: float | None


class ConsensusFigures(Part):
    """What all rules have in common, told without a label.

    Attributes:
        num_pairs: pairs of responses that it is told by.
        explained: share of the squared correlations that one factor explains. trusted: whether that is enough.
        groups: near-duplicates, by name; a rule that says something of its own is alone.
        loadings: correlation of each rule with what all have in common; None for a rule that never varies.
        world: what entropy says of signal and noise, by name. verdict: the same in words.
        length: None where no length is known, or the consensus is not trusted.
        matrix: correlations of every two rules about zero. residuals: what the factor leaves of them. In rule order,
            None where a rule never varies; in comparison.json only.
    """

    num_pairs: int
    explained: float | None
    trusted: bool
    num_groups: int
    groups: list[list[str]]
    loadings: dict[str, float | None]
    clipped: list[str]
    entropy_loading: Correlations
    world: str
    verdict: str
    length: LengthCorrelations | None = None
    matrix: list[list[float | None]] | None = None
    residuals: list[list[float | None]] | None = None

    def figures(self) -> dict[str, float | None]:
        """The figures that are worth a curve or a column in MLflow."""
        loadings = {f"loading/{name}": loading for name, loading in self.loadings.items()}
        return {
            "consensus_explained": self.explained,
            "consensus_trusted": float(self.trusted),
            "entropy_loading_pearson": self.entropy_loading.pearson,
            **loadings,
        }


class Broken(Part):
    """How many chosen and rejected responses break a hard rule."""

    chosen: int
    rejected: int


class DecidedByVeto(Part):
    """What hard rules decide.

    Attributes:
        num_pairs: of which one response breaks a rule and the other none. right: where that is the rejected one.
        both_break: pairs of which both responses break one; their rewards decide.
        rules: of each hard rule.
    """

    num_pairs: int
    right: int
    both_break: int
    rules: dict[str, Broken]


class RuleFigures(Part):
    """What is known of one rule under a weighting; None for what no pair tells.

    Attributes:
        higher_is: "better" or "worse".
        entropy: in the unit of the log base, with its 95 % interval.
        weight: multiplies the polarity-signed score.
        mode_share: share of responses in the fullest cell.
        active_pair_share: share of pairs whose two scores differ by a step or more.
        contribution_share: share of the margin's spread.
        flags: see `encore_ray.composition.weigh.flags`; a later version may know others.
        veto: ``{below: x}`` or ``{above: x}`` of a hard rule. points: prior factor on the weight; None for 1.
    """

    name: str
    higher_is: str
    entropy: float
    entropy_low: float
    entropy_high: float
    weight: float
    mode_share: float
    active_pair_share: float | None
    contribution_share: float | None
    wins: int | None
    ties: int | None
    losses: int | None
    accuracy: float | None
    flags: list[str]
    veto: dict[str, float] | None = None
    points: float | None = None

    @model_validator(mode="after")
    def _an_accuracy_is_of_pairs(self) -> Self:
        counts = (self.wins, self.ties, self.losses)
        if self.accuracy is not None and (None in counts or not any(counts)):
            raise ValueError("an accuracy without wins, ties and losses")
        return self

    @property
    def _tally(self) -> Tally:
        return Tally(self.wins or 0, self.ties or 0, self.losses or 0)

    @property
    def entropy_error(self) -> float:
        """Half the width of the entropy's interval."""
        return (self.entropy_high - self.entropy_low) / 2

    def interval(self, *, num_keys: int | None) -> Interval | None:
        """95 % interval of the accuracy over so many distinct prompts; where None tells their number, over pairs."""
        return self._tally.interval(num_keys=num_keys or self._tally.num_pairs) if self.accuracy is not None else None
