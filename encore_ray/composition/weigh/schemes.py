"""Weight schemes: what is known of K rules in, K weights out.

All but the free Bradley-Terry fit give weights >= 0 that sum to 1. Those that look at each rule alone are functions of
a multiset: permuting rules permutes the weights to the last bit, because the normaliser is summed exactly (math.fsum).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from encore_ray.errors import ConfigError, DataError


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
    """

    names: tuple[str, ...]
    entropy_K: tuple[float, ...]
    max_entropy_K: tuple[float, ...]
    variance_K: tuple[float, ...] | None = None
    accuracy_K: tuple[float, ...] | None = None
    bradley_terry: Mapping[bool, tuple[float, ...]] | None = None


class Scheme(Protocol):
    """A way of weighing rules.

    Attributes:
        name: as in `weigh.scheme`.
        uses_labels: whether the weights are learned from which response was chosen, so that only held-out pairs can
            judge them.
        params: its own options, as stored.
    """

    @property
    def name(self) -> str: ...

    @property
    def uses_labels(self) -> bool: ...

    @property
    def params(self) -> dict[str, Any]: ...

    def weigh(self, evidence: Evidence) -> NDArray[np.float64]:
        """Weights [K], float64, each the factor of a polarity-signed score."""
        ...


class _Fields:
    """The options of most schemes are their fields, and most use no labels."""

    uses_labels = False

    @property
    def params(self: Any) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Encore(_Fields):
    """`encore` of the entropies."""

    temperature: float = 2.0

    name = "encore"

    @property
    def params(self) -> dict[str, Any]:
        return {"temperature": float(self.temperature)}

    def weigh(self, evidence: Evidence) -> NDArray[np.float64]:
        return encore(evidence.entropy_K, temperature=self.temperature)


@dataclass(frozen=True)
class OneMinusEntropy(_Fields):
    """`one_minus_entropy` of the entropies."""

    name = "one_minus_entropy"

    def weigh(self, evidence: Evidence) -> NDArray[np.float64]:
        return one_minus_entropy(evidence.entropy_K, max_entropy_K=evidence.max_entropy_K)


@dataclass(frozen=True)
class LowestEntropy(_Fields):
    """The n rules of lowest entropy weigh 1 / n each, all others 0; equal entropies go by rule order.

    Source: the hard variant of ENCORE, arXiv 2503.20995, where n = 5.
    """

    num_rules: int = 5

    name = "lowest_entropy"

    def weigh(self, evidence: Evidence) -> NDArray[np.float64]:
        if not 1 <= self.num_rules <= len(evidence.names):
            raise ConfigError(
                f"lowest_entropy keeps {self.num_rules} rules, of {len(evidence.names)} that can have a weight. Set "
                f"weigh.num_rules from 1 to {len(evidence.names)}."
            )
        order = sorted(range(len(evidence.names)), key=lambda k: evidence.entropy_K[k])
        return _share(order[: self.num_rules], len(evidence.names))


@dataclass(frozen=True)
class Uniform(_Fields):
    """Every rule weighs 1 / K."""

    name = "uniform"

    def weigh(self, evidence: Evidence) -> NDArray[np.float64]:
        return uniform(len(evidence.names))


@dataclass(frozen=True)
class Random(_Fields):
    """Draw number `draw` >= 0 from the flat Dirichlet distribution, the stream of one seed >= 0.

    K exponential variates over their sum. Each is -log(1 - u) of one 64-bit output of PCG64, whose stream numpy
    guarantees, so that a draw is found again by itself and under any version.
    """

    seed: int = 0
    draw: int = 0

    name = "random"

    def weigh(self, evidence: Evidence) -> NDArray[np.float64]:
        num_rules = len(evidence.names)
        bits_K = np.random.PCG64(self.seed).advance(self.draw * num_rules).random_raw(num_rules)
        uniform_K = (bits_K >> np.uint64(11)) * 2.0**-53
        return _normalise([-math.log1p(-u) for u in uniform_K.tolist()])


@dataclass(frozen=True)
class Single(_Fields):
    """One rule has all the weight."""

    rule: str

    name = "single"

    def weigh(self, evidence: Evidence) -> NDArray[np.float64]:
        if self.rule not in evidence.names:
            raise ConfigError(
                f"weigh.rule names {self.rule!r}; rules that can have a weight: {', '.join(evidence.names)}."
            )
        return _share([evidence.names.index(self.rule)], len(evidence.names))


@dataclass(frozen=True)
class BestSingle(_Fields):
    """The rule that is right most often on the calibration pairs has all the weight; equal ones go by rule order."""

    name = "best_single"
    uses_labels = True

    def weigh(self, evidence: Evidence) -> NDArray[np.float64]:
        if evidence.accuracy_K is None:
            raise DataError(_needs_pairs("best_single", "calibration pairs, to see which rule is right most often"))
        return _share([evidence.accuracy_K.index(max(evidence.accuracy_K))], len(evidence.names))


@dataclass(frozen=True)
class InverseVariance(_Fields):
    """w_k proportional to 1 / var(d_k); a rule whose scores never differ weighs 0.

    Labels enter through the mean of d alone: it does not count as learned.
    """

    name = "inverse_variance"

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
        return _normalise([lowest / variance if variance > 0 else 0.0 for variance in evidence.variance_K])


@dataclass(frozen=True)
class BradleyTerry(_Fields):
    """The weights fitted to the calibration pairs: of any sign, or >= 0 and divided by their sum.

    See `encore_ray.composition.weigh.bradley_terry`.
    """

    simplex: bool = False

    uses_labels = True

    @property
    def name(self) -> str:
        return "bradley_terry_simplex" if self.simplex else "bradley_terry"

    @property
    def params(self) -> dict[str, Any]:
        return {}  # the name says which of the two fits it is

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


def encore(entropy_K: Sequence[float], *, temperature: float = 2.0) -> NDArray[np.float64]:
    """w_k = exp(-H_k / tau) / sum_j exp(-H_j / tau): less entropy, more weight.

    Args:
        entropy_K: shape (K,), >= 0, in nats unless another log base is meant, which rescales the temperature.
        temperature: tau, > 0; large gives uniform weights, small gives all to the lowest entropy.

    Raises:
        ConfigError: the temperature is not a finite number above 0.

    Source: ENCORE, arXiv 2503.20995.
    """
    if not (math.isfinite(temperature) and temperature > 0):
        raise ConfigError(f"The temperature must be a finite number above 0, found {temperature}.")
    lowest = min(entropy_K)
    # Differences to the lowest entropy: the largest exponent is 0, so nothing overflows and the sum is >= 1.
    return _normalise([math.exp((lowest - entropy) / temperature) for entropy in entropy_K])


def one_minus_entropy(entropy_K: Sequence[float], *, max_entropy_K: Sequence[float]) -> NDArray[np.float64]:
    """w_k proportional to 1 - H_k / log(cells_k).

    Args:
        entropy_K: shape (K,), >= 0.
        max_entropy_K: shape (K,), log of each rule's own number of cells, in the same base.

    Raises:
        DataError: every rule has the largest entropy possible, so all weights would be 0 / 0.

    Source: an article of a co-author of ENCORE; not the paper's weight.
    """
    share_K = [1 - entropy / ceiling for entropy, ceiling in zip(entropy_K, max_entropy_K, strict=True)]
    # A bias-corrected entropy may pass log(cells), and a full one misses it by rounding: neither is information.
    share_K = [share if share > 1e-12 else 0.0 for share in share_K]
    if not any(share_K):
        raise DataError(
            "Every rule's ratings are spread evenly over all its cells, so 1 - H / log(cells) is 0 for all of them "
            "and gives no weights. Use scheme encore or uniform, or other bins."
        )
    return _normalise(share_K)


def uniform(num_rules: int) -> NDArray[np.float64]:
    """Every rule weighs 1 / K."""
    return np.full(num_rules, 1 / num_rules)


def effective_num_rules(weight_K: Sequence[float]) -> float:
    """1 / sum w^2 of the weights over the sum of their sizes: how many equal weights would be as concentrated.

    Args:
        weight_K: of any sign and sum, not all 0; fitted weights act like as many rules whatever their scale.
    """
    total = math.fsum(map(abs, weight_K))
    return 1 / math.fsum((weight / total) ** 2 for weight in weight_K)


def _share(chosen: Sequence[int], num_rules: int) -> NDArray[np.float64]:
    """Equal weights that sum to 1 for the chosen rules, 0 for the others."""
    weight_K = np.zeros(num_rules)
    weight_K[list(chosen)] = 1 / len(chosen)
    return weight_K


def _needs_pairs(scheme: str, what: str) -> str:
    return f"Scheme {scheme} needs {what}; there are none. Use scheme encore or uniform."


def _normalise(share_K: list[float]) -> NDArray[np.float64]:
    total = math.fsum(share_K)
    return np.asarray([share / total for share in share_K], dtype=np.float64)
