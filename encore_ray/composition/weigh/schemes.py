"""The weight schemes, one class each, and the table of them: what is known of K rules in, K weights out.

All but the free Bradley-Terry fit give weights >= 0 that sum to 1. A new scheme is one class and one row of SCHEMES:
the values of `weigh.scheme` with their help and refusals, the line-up of `compare` and the report's labels follow.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from encore_ray.composition.weigh.formulas import encore, normalise, one_minus_entropy, share_equally, uniform
from encore_ray.composition.weigh.scheme import Competition, Evidence, Scheme, SchemeOptions
from encore_ray.errors import ConfigError, DataError

NUM_DRAWS = 100  # of random weights, in a comparison
NUM_TOP_RULES = 5  # of lowest_entropy and max_discrepancy, where there are as many


@dataclass(frozen=True)
class Encore(Scheme):
    """`encore` of the entropies."""

    temperature: float = 2.0

    name = "encore"
    label = "ENCORE"
    takes = ("temperature", "ratings")
    weighs_by_entropy = True

    @classmethod
    def of_options(cls, options: SchemeOptions) -> Self:
        return cls(options.temperature)

    @classmethod
    def competing(cls, competition: Competition) -> Sequence[Self]:
        return (cls(competition.temperature),)

    @property
    def params(self) -> dict[str, Any]:
        return {"temperature": float(self.temperature)}

    def weigh(self, evidence: Evidence) -> NDArray[np.float64]:
        return encore(evidence.entropy_K, temperature=self.temperature)


@dataclass(frozen=True)
class OneMinusEntropy(Scheme):
    """`one_minus_entropy` of the entropies."""

    name = "one_minus_entropy"
    label = "1 − H / log B"
    takes = ("ratings",)
    weighs_by_entropy = True

    def weigh(self, evidence: Evidence) -> NDArray[np.float64]:
        return one_minus_entropy(evidence.entropy_K, max_entropy_K=evidence.max_entropy_K)


@dataclass(frozen=True)
class LowestEntropy(Scheme):
    """The n rules of lowest entropy weigh 1 / n each, all others 0; equal entropies go by rule order.

    Source: the hard variant of ENCORE, arXiv 2503.20995, where n = 5.
    """

    num_rules: int = NUM_TOP_RULES

    name = "lowest_entropy"
    label = "Lowest entropy"
    takes = ("num_rules", "ratings")
    weighs_by_entropy = True

    @classmethod
    def of_options(cls, options: SchemeOptions) -> Self:
        return cls() if options.num_rules is None else cls(options.num_rules)

    @classmethod
    def competing(cls, competition: Competition) -> Sequence[Self]:
        return (cls(competition.num_rules or min(NUM_TOP_RULES, competition.num_kept)),)

    def weigh(self, evidence: Evidence) -> NDArray[np.float64]:
        if not 1 <= self.num_rules <= len(evidence.names):
            raise ConfigError(
                f"lowest_entropy keeps {self.num_rules} rules, of {len(evidence.names)} that can have a weight. Set "
                f"weigh.num_rules from 1 to {len(evidence.names)}."
            )
        order = sorted(range(len(evidence.names)), key=lambda k: evidence.entropy_K[k])
        return share_equally(order[: self.num_rules], len(evidence.names))


@dataclass(frozen=True)
class Uniform(Scheme):
    """Every rule weighs 1 / K."""

    name = "uniform"
    label = "Uniform"

    def weigh(self, evidence: Evidence) -> NDArray[np.float64]:
        return uniform(len(evidence.names))


@dataclass(frozen=True)
class Random(Scheme):
    """Draw number `draw` >= 0 from the flat Dirichlet distribution, the stream of one seed >= 0.

    K exponential variates over their sum. Each is -log(1 - u) of one 64-bit output of PCG64, whose stream numpy
    guarantees, so that a draw is found again by itself and under any version.
    """

    seed: int = 0
    draw: int = 0

    name = "random"
    label = "Random"
    takes = ("seed",)

    @classmethod
    def of_options(cls, options: SchemeOptions) -> Self:
        return cls(options.seed)

    @classmethod
    def competing(cls, competition: Competition) -> Sequence[Self]:
        return tuple(cls(competition.seed, draw) for draw in range(NUM_DRAWS))

    def weigh(self, evidence: Evidence) -> NDArray[np.float64]:
        num_rules = len(evidence.names)
        bits_K = np.random.PCG64(self.seed).advance(self.draw * num_rules).random_raw(num_rules)
        uniform_K = (bits_K >> np.uint64(11)) * 2.0**-53
        return normalise([-math.log1p(-u) for u in uniform_K.tolist()])


@dataclass(frozen=True)
class Single(Scheme):
    """One rule has all the weight."""

    rule: str

    name = "single"
    label = "Single rule"
    takes = ("rule",)

    @classmethod
    def of_options(cls, options: SchemeOptions) -> Self:
        assert options.rule is not None, "checked by WeighOptions"
        return cls(options.rule)

    @classmethod
    def competing(cls, competition: Competition) -> Sequence[Self]:
        return ()

    def weigh(self, evidence: Evidence) -> NDArray[np.float64]:
        if self.rule not in evidence.names:
            raise ConfigError(
                f"weigh.rule names {self.rule!r}; rules that can have a weight: {', '.join(evidence.names)}."
            )
        return share_equally([evidence.names.index(self.rule)], len(evidence.names))


@dataclass(frozen=True)
class BestSingle(Scheme):
    """The rule that is right most often on the calibration pairs has all the weight; equal ones go by rule order."""

    name = "best_single"
    label = "Best single rule"
    lesson = "accuracies"

    def weigh(self, evidence: Evidence) -> NDArray[np.float64]:
        if evidence.accuracy_K is None:
            raise DataError(_needs_pairs("best_single", "calibration pairs, to see which rule is right most often"))
        return share_equally([evidence.accuracy_K.index(max(evidence.accuracy_K))], len(evidence.names))


@dataclass(frozen=True)
class InverseVariance(Scheme):
    """w_k proportional to 1 / var(d_k); a rule whose scores never differ weighs 0.

    Labels enter through the mean of d alone: it does not count as learned.
    """

    name = "inverse_variance"
    label = "Inverse variance"

    def weigh(self, evidence: Evidence) -> NDArray[np.float64]:
        if evidence.variance_K is None:
            raise DataError(_needs_pairs("inverse_variance", "pairs, whose score differences vary"))
        lowest = min((variance for variance in evidence.variance_K if variance > 0), default=None)
        if lowest is None:
            raise DataError(
                "No rule's score difference varies over the pairs, so 1 / var(d) gives no weights. Use scheme encore "
                "or uniform."
            )
        # Over the smallest variance: the largest share is 1, whatever the unit of the scores.
        return normalise([lowest / variance if variance > 0 else 0.0 for variance in evidence.variance_K])


@dataclass(frozen=True)
class Consensus(Scheme):
    """Weights by how far each rule goes with what all have in common; equal ones where that is not to be trusted.

    See `encore_ray.composition.consensus.consensus`.
    """

    force_consensus: bool = False

    name = "consensus"
    label = "Consensus"
    takes = ("force_consensus",)
    needs_consensus = True

    @classmethod
    def of_options(cls, options: SchemeOptions) -> Self:
        return cls(force_consensus=options.force_consensus)

    @classmethod
    def competing(cls, competition: Competition) -> Sequence[Self]:
        return (cls(force_consensus=competition.force_consensus),)

    def weigh(self, evidence: Evidence) -> NDArray[np.float64]:
        if evidence.consensus is None:
            needed = "pairs, or several responses to one prompt, to see how the rules agree with each other"
            raise DataError(_needs_pairs(self.name, needed))
        return evidence.consensus.weigh(force=self.force_consensus)


@dataclass(frozen=True)
class ConsensusEncore(Consensus):
    """Consensus weights times ENCORE's, divided by their sum."""

    temperature: float = 2.0

    name = "consensus_encore"
    label = "Consensus × ENCORE"
    takes = ("force_consensus", "temperature", "ratings")

    @classmethod
    def of_options(cls, options: SchemeOptions) -> Self:
        return cls(options.force_consensus, options.temperature)

    @classmethod
    def competing(cls, competition: Competition) -> Sequence[Self]:
        return (cls(competition.force_consensus, competition.temperature),)

    @property
    def params(self) -> dict[str, Any]:
        return {"temperature": float(self.temperature), "force_consensus": self.force_consensus}

    def weigh(self, evidence: Evidence) -> NDArray[np.float64]:
        weight_K = super().weigh(evidence)
        kept = np.flatnonzero(weight_K)  # among these the lowest entropy has a weight, however small the temperature
        entropies = [evidence.entropy_K[k] for k in kept]
        weight_K[kept] = normalise((weight_K[kept] * encore(entropies, temperature=self.temperature)).tolist())
        return weight_K


@dataclass(frozen=True)
class BradleyTerry(Scheme):
    """The weights of any sign that are fitted to the calibration pairs.

    See `encore_ray.composition.weigh.bradley_terry`.
    """

    name = "bradley_terry"
    label = "Bradley–Terry"
    lesson = "bradley_terry"
    simplex: ClassVar[bool] = False

    def weigh(self, evidence: Evidence) -> NDArray[np.float64]:
        if evidence.bradley_terry is None:
            raise DataError(_needs_pairs(self.name, "calibration pairs, to fit the weights to"))
        weight_K = evidence.bradley_terry.get(self.simplex)
        if weight_K is None or not any(weight_K):
            raise DataError(
                f"Scheme {self.name} gives every rule weight 0: no rule agrees with the labels of the calibration "
                "pairs, alone or beside others. Use scheme encore or uniform."
            )
        return np.asarray(weight_K, dtype=np.float64)


@dataclass(frozen=True)
class BradleyTerrySimplex(BradleyTerry):
    """The same fit with weights >= 0, divided by their sum."""

    name = "bradley_terry_simplex"
    label = "Bradley–Terry, w ≥ 0"
    simplex = True


@dataclass(frozen=True)
class SoftMin(Scheme):
    """Equal weights inside a soft-min of the rules' standardised scores: the worst rule of a response decides most.

    See `encore_ray.composition.compare.soft_min`.
    """

    sharpness: float = 1.0

    name = "soft_min"
    label = "Soft-min (RVPO)"
    why_only_compared = (
        "takes a soft minimum of the rules' scores, which no weights of a sum express; `encore-ray compare` shows how "
        "it does"
    )

    @property
    def soft_min_sharpness(self) -> float:
        return self.sharpness

    def weigh(self, evidence: Evidence) -> NDArray[np.float64]:
        return uniform(len(evidence.names))


@dataclass(frozen=True)
class MaxDiscrepancy(Scheme):
    """Equal weights inside the r rules that tell each pair's two responses most apart.

    See `encore_ray.composition.select.discrepancy`.
    """

    num_rules: int

    name = "max_discrepancy"
    label = "Largest discrepancy"
    why_only_compared = (
        "picks each pair's rules by how far they tell its two responses apart, so it gives margins and no reward of a "
        "response; `encore-ray compare` shows how it does"
    )

    @classmethod
    def competing(cls, competition: Competition) -> Sequence[Self]:
        return (cls(_num_discrepant(competition)),)

    @property
    def rules_a_pair(self) -> int:
        return self.num_rules

    def weigh(self, evidence: Evidence) -> NDArray[np.float64]:
        return uniform(len(evidence.names))


@dataclass(frozen=True)
class EncoreMaxDiscrepancy(MaxDiscrepancy):
    """ENCORE's weights inside the same rules, divided by their sum."""

    temperature: float = 2.0

    name = "encore_max_discrepancy"
    label = "ENCORE × largest discrepancy"

    @classmethod
    def competing(cls, competition: Competition) -> Sequence[Self]:
        return (cls(_num_discrepant(competition), competition.temperature),)

    @property
    def params(self) -> dict[str, Any]:
        return {"temperature": float(self.temperature), "num_rules": self.num_rules}

    def weigh(self, evidence: Evidence) -> NDArray[np.float64]:
        return encore(evidence.entropy_K, temperature=self.temperature)


SCHEMES: tuple[type[Scheme], ...] = (
    Encore,
    OneMinusEntropy,
    LowestEntropy,
    Uniform,
    Random,
    Single,
    BestSingle,
    InverseVariance,
    Consensus,
    ConsensusEncore,
    BradleyTerry,
    BradleyTerrySimplex,
    SoftMin,
    MaxDiscrepancy,
    EncoreMaxDiscrepancy,
)


def find_scheme(name: str) -> type[Scheme]:
    """The scheme of this name, which must be one of the table's."""
    return next(scheme for scheme in SCHEMES if scheme.name == name)


def name_schemes(schemes: Iterable[type[Scheme]]) -> str:
    """Their names as a sentence lists them, a scheme and its one variation (its subclass) as "both" of the name."""
    named = tuple(schemes)
    listed = []
    for scheme in named:
        if any(scheme is not other and issubclass(scheme, other) for other in named):
            continue
        number = sum(issubclass(other, scheme) for other in named)
        listed.append({1: "", 2: "both "}.get(number, "all ") + scheme.name)
    return " and ".join([", ".join(listed[:-1]), listed[-1]] if len(listed) > 1 else listed)


def _num_discrepant(competition: Competition) -> int:
    """As many rules a pair as a selection keeps, for a fair comparison; else five, or all."""
    wanted = NUM_TOP_RULES if competition.num_selected is None else competition.num_selected
    return min(wanted, competition.num_kept)


def _needs_pairs(scheme: str, what: str) -> str:
    return f"Scheme {scheme} needs {what}; there are none. Use scheme encore or uniform."
