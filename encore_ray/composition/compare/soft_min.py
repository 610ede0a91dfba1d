"""Soft-min over rules: a reward that is low as soon as one rule says so, for comparison with the weighted sum.

    r = -(1 / k) ln sum_j w_j exp(-k z_j)

z_j is a response's polarity-signed score under rule j, standardised over all responses of the corpus. Small k gives the
weighted mean, large k the worst rule alone.

Source: RVPO, arXiv 2605.05750, with equal weights; it standardises within the responses to one prompt. k = 1 is ours.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encore_ray.composition.scales.ties import tie_tolerance
from encore_ray.composition.sums.moments import Moments
from encore_ray.composition.weigh.formulas import normalise
from encore_ray.errors import DataError

_TILE = 1024  # rows whose terms under all rules stay in the cache


@dataclass(frozen=True, eq=False)
class SoftMin:
    """A soft-min over the rules that vary.

    Attributes:
        rules: their numbers.
        weight_V: weights of these V rules, > 0, of sum 1.
        mean_V, deviation_V: of their signed scores over all responses, in shares of each rule's range; deviation > 0.
        sharpness: k, > 0.
    """

    rules: tuple[int, ...]
    weight_V: NDArray[np.float64]
    mean_V: NDArray[np.float64]
    deviation_V: NDArray[np.float64]
    sharpness: float

    @classmethod
    def of(cls, weight_K: NDArray[np.float64], responses: Moments, *, sharpness: float) -> "SoftMin":
        """The soft-min over the rules that have a weight.

        Args:
            responses: moments of the signed scores of all responses, in shares of each rule's range.

        Raises:
            DataError: none of these rules varies.
        """
        deviation_K = np.sqrt(np.diag(responses.covariance_KK))
        rules = np.flatnonzero((weight_K > 0) & (deviation_K > 0))
        if not len(rules):
            raise DataError("no rule's score varies over the responses, so none can be standardised.")
        weight_V = normalise(weight_K[rules].tolist())
        return cls(tuple(rules.tolist()), weight_V, responses.mean_K[rules], deviation_K[rules], sharpness)

    @property
    def tolerance(self) -> float:
        """Margins of at most so much are ties.

        A reward moves by no more than the z that moves most, so a margin reaches one range over the smallest deviation.
        What rounds is each z, in proportion to that, and the logarithm, in units of 1 / k.
        """
        return tie_tolerance(max(1 / float(self.deviation_V.min()), 1 / self.sharpness))

    def rewards(self, share_KN: NDArray[np.float64]) -> NDArray[np.float64]:
        """r of N responses by their signed scores in shares of each rule's range; rules are added in order."""
        reward_N = np.empty(share_KN.shape[1])
        kept = list(self.rules)
        for start in range(0, len(reward_N), _TILE):
            rows = slice(start, start + _TILE)
            term_VN = share_KN[kept, rows]
            term_VN -= self.mean_V[:, None]
            term_VN *= (-self.sharpness / self.deviation_V)[:, None]  # -k z
            term_VN += np.log(self.weight_V)[:, None]
            top_N = np.max(term_VN, axis=0)  # the largest exponent is 0: nothing overflows, and the sum is >= 1
            np.exp(np.subtract(term_VN, top_N, out=term_VN), out=term_VN)
            total_N = np.zeros(len(top_N))
            for term_N in term_VN:
                total_N += term_N
            reward_N[rows] = -(top_N + np.log(total_N)) / self.sharpness
        return reward_N
