"""Groups of rules that say nearly the same, so that copies of one rule do not become the consensus."""

import numpy as np
from numpy.typing import NDArray

SAME = 0.9  # the smallest correlation inside a group of near-duplicates


def near_duplicates(r_KK: NDArray[np.float64]) -> list[tuple[int, ...]]:
    """Complete-linkage groups of rules: the two whose smallest correlation is highest join first, while it is >= .9.

    Args:
        r_KK: correlations, symmetric.

    Returns:
        Every rule in one group, often of itself alone; groups and rules in rule order, ties by rule order.
    """
    groups: list[tuple[int, ...]] = [(k,) for k in range(len(r_KK))]
    link_GG = np.array(r_KK, dtype=np.float64)
    np.fill_diagonal(link_GG, -np.inf)
    while len(groups) > 1:
        first, second = sorted(int(g) for g in np.unravel_index(link_GG.argmax(), link_GG.shape))
        if link_GG[first, second] < SAME:
            break
        groups[first] = tuple(sorted(groups[first] + groups.pop(second)))
        smaller_G = np.minimum(link_GG[first], link_GG[second])
        link_GG[first], link_GG[:, first] = smaller_G, smaller_G
        link_GG = np.delete(np.delete(link_GG, second, axis=0), second, axis=1)
    return groups
