"""The formulas of weights: softmax of negative entropies (ENCORE), 1 - normalised entropy, equal shares.

Weights are >= 0 and sum to 1. They are functions of a multiset: permuting rules permutes the weights to the last bit,
because the normaliser is summed exactly (math.fsum).
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from encore_ray.errors import ConfigError, DataError


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
    return normalise([math.exp((lowest - entropy) / temperature) for entropy in entropy_K])


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
    return normalise(share_K)


def uniform(num_rules: int) -> NDArray[np.float64]:
    """Every rule weighs 1 / K."""
    return np.full(num_rules, 1 / num_rules)


def share_equally(chosen: Sequence[int], num_rules: int) -> NDArray[np.float64]:
    """Equal weights that sum to 1 for the chosen rules, 0 for the others."""
    weight_K = np.zeros(num_rules)
    weight_K[list(chosen)] = 1 / len(chosen)
    return weight_K


def normalise(share_K: Sequence[float]) -> NDArray[np.float64]:
    """Shares >= 0, not all 0, over their sum."""
    total = math.fsum(share_K)
    return np.asarray([share / total for share in share_K], dtype=np.float64)


def effective_num_rules(weight_K: Sequence[float]) -> float:
    """1 / sum w^2 of the weights over the sum of their sizes: how many equal weights would be as concentrated.

    Args:
        weight_K: of any sign and sum, not all 0; fitted weights act like as many rules whatever their scale.
    """
    total = math.fsum(map(abs, weight_K))
    return 1 / math.fsum((weight / total) ** 2 for weight in weight_K)
