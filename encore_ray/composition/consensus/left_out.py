"""How sure the correlation of entropy with loading is: its jackknife interval over buckets of prompts."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from encore_ray.composition.consensus.one_factor import fit_one_factor
from encore_ray.composition.measure.agreement import Interval, correlate
from encore_ray.composition.measure.buckets import BucketSums
from encore_ray.composition.measure.entropy import Estimator, LogBase, entropy

_LARGEST_R = 1 - 1e-9  # Fisher's z of 1 is infinite


def entropy_loading_interval(
    buckets: BucketSums,
    *,
    polarity_K: Sequence[int],
    groups: Sequence[Sequence[int]],
    used: Sequence[int],
    found: float | None,
    log_base: LogBase,
    estimator: Estimator,
) -> Interval | None:
    """95 % interval of the Pearson correlation of entropy and loading, of these rules on endless pairs like these.

    The noise of a sample pulls a correlation to 0, the more the fewer pairs there are: the jackknife tells by how much,
    in Fisher's z, and the interval lies around what is found less that. It holds what was found in any case.

    Args:
        buckets: of the corpus, K rules.
        groups: near-duplicates, by numbers of rules, as they are found in the corpus; all of their rules vary.
        used: numbers of the rules that are correlated, each in a group.
        found: the correlation in the corpus.

    Returns:
        None without a correlation, where there are too few prompts, or where it cannot be told without some of them.

    Source: delete-a-group jackknife with Student's t, Kott, Journal of Official Statistics 17, 2001.
    """
    rest = buckets.without_each()
    num_left_out = len(rest.product_JKK)
    if found is None or num_left_out < 2:
        return None
    loading_JG = _loadings(rest.product_JKK, polarity_K=polarity_K, groups=groups)
    if loading_JG is None:
        return None
    place = {k: g for g, group in enumerate(groups) for k in group}
    loading_JK = loading_JG[:, [place[k] for k in used]]
    entropy_KJ = [
        [entropy(count_L, log_base=log_base, estimator=estimator) for count_L in rest.count_KJL[k]] for k in used
    ]
    without_J = [
        correlate(entropy_K.tolist(), loading_K.tolist()).pearson
        for entropy_K, loading_K in zip(np.array(entropy_KJ).T, loading_JK, strict=True)
    ]
    if any(r is None for r in without_J):
        return None
    from scipy.special import stdtrit

    z, z_J = _z(found), [_z(r) for r in without_J if r is not None]
    mean = math.fsum(z_J) / num_left_out
    centre = z - (num_left_out - 1) * (mean - z)
    error = math.sqrt((num_left_out - 1) / num_left_out * math.fsum((z_j - mean) ** 2 for z_j in z_J))
    half_width = float(stdtrit(num_left_out - 1, 0.975)) * error
    return Interval(math.tanh(min(centre - half_width, z)), math.tanh(max(centre + half_width, z)))


def _loadings(
    product_JKK: NDArray[np.float64], *, polarity_K: Sequence[int], groups: Sequence[Sequence[int]]
) -> NDArray[np.float64] | None:
    """Loadings of the groups without each bucket, [J, G]; None where a rule of a group then never varies."""
    order = [k for group in groups for k in group]
    signed_JKK = (product_JKK * np.multiply.outer(polarity_K, polarity_K))[:, order][:, :, order]
    square_JK = np.diagonal(signed_JKK, axis1=1, axis2=2)
    if not (square_JK > 0).all():
        return None
    r_JKK = signed_JKK / np.sqrt(square_JK[:, :, None] * square_JK[:, None, :])
    starts = np.cumsum([0, *(len(group) for group in groups[:-1])])
    r_JGG = np.add.reduceat(np.add.reduceat(r_JKK, starts, axis=1), starts, axis=2)
    square_JG = np.diagonal(r_JGG, axis1=1, axis2=2)
    return fit_one_factor(r_JGG / np.sqrt(square_JG[:, :, None] * square_JG[:, None, :])).loading_BG


def _z(r: float) -> float:
    return math.atanh(min(max(r, -_LARGEST_R), _LARGEST_R))
