"""What a weight scheme is: a class that says its name, its label, what it needs, and turns evidence into weights."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from encore_ray.composition.consensus.consensus import Consensus

Lesson = Literal["accuracies", "bradley_terry"]  # what can be learned from labels


@dataclass(frozen=True)
class Evidence:
    """What is known of K rules: all that a scheme may look at.

    Attributes:
        names: of the rules, in rule order.
        entropy_K: >= 0, in the log base in use.
        max_entropy_K: log of each rule's own number of cells, in the same base.
        variance_K: population variance of d over pairs, in composed units (of scores mapped to [0, 1] where composition
            maps them); None without pairs.
        accuracy_K: of each rule alone on the calibration pairs, polarity applied, a tie as half a win; None where not
            measured or without such pairs.
        bradley_terry: weights fitted on the calibration pairs: free under False, on the simplex under True (left out
            where all are 0); None where not fitted.
        consensus: of the rules; None where it was not measured, or no two responses can be compared.
        points_K: prior factor of each rule, > 0; None where no rule has points. No scheme looks at it: see
            `encore_ray.composition.weigh.points`.
    """

    names: tuple[str, ...]
    entropy_K: tuple[float, ...]
    max_entropy_K: tuple[float, ...]
    variance_K: tuple[float, ...] | None = None
    accuracy_K: tuple[float, ...] | None = None
    bradley_terry: Mapping[bool, tuple[float, ...]] | None = None
    consensus: Consensus | None = None
    points_K: tuple[float, ...] | None = None


class SchemeOptions(Protocol):
    """The options of `weigh` that some scheme takes; None for the scheme's own default."""

    @property
    def temperature(self) -> float: ...

    @property
    def num_rules(self) -> int | None: ...

    @property
    def rule(self) -> str | None: ...

    @property
    def seed(self) -> int: ...

    @property
    def force_consensus(self) -> bool: ...


@dataclass(frozen=True)
class Competition:
    """What a scheme may know of a comparison to say in which instances it takes part.

    Attributes:
        temperature: tau of ENCORE.
        num_rules: of lowest_entropy, where asked for.
        seed: of random weights.
        num_kept: how many rules may have a weight.
        num_selected: how many rules a pair a selection keeps that competes too; None without one.
        force_consensus: whether consensus weights count even where they are not to be trusted.
    """

    temperature: float
    num_rules: int | None
    seed: int
    num_kept: int
    num_selected: int | None
    force_consensus: bool = False


@dataclass(frozen=True)
class Scheme(ABC):
    """A way of weighing rules: a subclass and its row in `encore_ray.composition.weigh.schemes.SCHEMES`.

    Attributes:
        name: as in `weigh.scheme`.
        label: what the report calls it.
        takes: the options of `weigh` that are its own.
        lesson: what it learns from which response was chosen; None where it looks at no labels.
        weighs_by_entropy: whether it looks at entropies only, so that each subset can be weighed by its own.
        needs_consensus: whether it looks at how the rules agree with each other, which takes a longer look at scores.
        why_only_compared: for a scheme whose reward is no one weighted sum, why `weigh` refuses it, after its name.
    """

    name: ClassVar[str]
    label: ClassVar[str]
    takes: ClassVar[tuple[str, ...]] = ()
    lesson: ClassVar[Lesson | None] = None
    weighs_by_entropy: ClassVar[bool] = False
    needs_consensus: ClassVar[bool] = False
    why_only_compared: ClassVar[str | None] = None

    @classmethod
    def of_options(cls, options: SchemeOptions) -> Self:
        """The instance that the options of `weigh` ask for."""
        return cls()

    @classmethod
    def competing(cls, competition: Competition) -> Sequence[Self]:
        """The instances that are one line of `compare`: one, several draws whose mean counts, or none."""
        return (cls(),)

    @property
    def uses_labels(self) -> bool:
        """Whether only held-out pairs can tell how good its weights are."""
        return self.lesson is not None

    @property
    def params(self) -> dict[str, Any]:
        """Its own options, as stored."""
        return asdict(self)

    @property
    def rules_a_pair(self) -> int | None:
        """How many rules count for each pair, those in which its responses differ most; None for all."""
        return None

    @property
    def soft_min_sharpness(self) -> float | None:
        """k of a soft-min of the rules' scores under its weights; None for their sum."""
        return None

    @abstractmethod
    def weigh(self, evidence: Evidence) -> NDArray[np.float64]:
        """Weights [K], float64, each the factor of a polarity-signed score."""
