"""The correlation of entropy with loading without the noise of the pairs, with its interval over prompts."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from encore_ray.composition.consensus.one_factor import fit_one_factor
from encore_ray.composition.inference.disattenuation import NoiseFreeCorrelation, remove_noise
from encore_ray.composition.inference.entropy import Estimator, LogBase, entropies_without_each
from encore_ray.composition.inference.jackknife import without_each
from encore_ray.composition.measure.buckets import merge_buckets


def correlate_loading(
    entropy_K: NDArray[np.float64],
    loading_K: NDArray[np.float64],
    *,
    count_KJL: Sequence[NDArray[np.int64]],
    product_GKK: NDArray[np.int64],
    polarity_K: Sequence[int],
    groups: Sequence[Sequence[int]],
    used: Sequence[int],
    log_base: LogBase = "e",
    estimator: Estimator = "plugin",
) -> NoiseFreeCorrelation | None:
    """The Pearson correlation of entropy and loading, of these rules on endless pairs like these.

    Args:
        entropy_K, loading_K: in the corpus.
        count_KJL: of each rule, responses by bucket of the jackknife and cell.
        product_GKK: see `BucketProducts`.
        groups: near-duplicates, by numbers of rules, as they are found in the corpus; all of their rules vary.
        used: numbers of the rules that are correlated, each in a group; three or more.

    Returns:
        None where there are too few prompts, where it cannot be told without some of them, or where either is the same
        for all rules.
    """
    count_KGL = [merge_buckets(count_JL) for count_JL in count_KJL]
    filled_G = count_KGL[0].sum(axis=1) > 0  # by single responses, too
    loading_JG = _loadings(without_each(product_GKK, filled_G), polarity_K=polarity_K, groups=groups)
    if loading_JG is None:
        return None
    place = {k: g for g, group in enumerate(groups) for k in group}
    entropy_KJ = [entropies_without_each(count_KGL[k], log_base=log_base, estimator=estimator) for k in used]
    return remove_noise(
        entropy_K[list(used)],
        loading_K[list(used)],
        without_x_JK=np.array(entropy_KJ).T,
        without_y_JK=loading_JG[:, [place[k] for k in used]],
    )


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
