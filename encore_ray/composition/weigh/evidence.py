"""From the statistics of a corpus to what a scheme may look at."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from encore_ray.composition.consensus.consensus import Consensus, find_consensus
from encore_ray.composition.inference.entropy import Entropy, LogBase, max_entropy
from encore_ray.composition.measure.counts import RuleCounts
from encore_ray.composition.measure.differences import RuleAgreement
from encore_ray.composition.measure.statistics import RuleStatistics
from encore_ray.composition.scales.score_range import ScoreRange, score_divisor
from encore_ray.composition.sums.exact import variance
from encore_ray.composition.weigh.bradley_terry import BradleyTerryFit
from encore_ray.composition.weigh.points import points_of
from encore_ray.composition.weigh.scheme import Evidence
from encore_ray.errors import DataError
from encore_ray.shell import option


@dataclass(frozen=True)
class Learned:
    """What the labels of the calibration pairs say of the kept rules.

    Attributes:
        num_pairs: calibration pairs.
        accuracy_K: of each rule alone, a tie as half a win; None where not measured, or without pairs.
        fit: Bradley-Terry weights; None where not fitted, or without pairs.
    """

    num_pairs: int
    accuracy_K: tuple[float, ...] | None = None
    fit: BradleyTerryFit | None = None

    @classmethod
    def of_fit(cls, fit: BradleyTerryFit) -> "Learned":
        return cls(fit.num_pairs, fit=fit if fit.num_pairs else None)

    @classmethod
    def of_agreement(cls, agreement: RuleAgreement) -> "Learned":
        return cls(agreement.num_pairs, accuracy_K=agreement.accuracy_K)


def kept_rules(statistics: RuleStatistics, *, min_active: float | None) -> list[int]:
    """Numbers of the rules that are active in at least this share of pairs; all of them for None.

    Raises:
        DataError: there are no pairs, or no rule is that active.
    """
    active_K = [active_pair_share(counts) for counts in statistics.counts_K]
    if min_active is None:
        return list(range(len(active_K)))
    asked = option("min_active", min_active, section="weigh")
    if active_K[0] is None:
        raise DataError(f"{asked} needs pairs, found single responses only. Leave it out.")
    kept = [k for k, active in enumerate(active_K) if active is not None and active >= min_active]
    if not kept:
        largest = max(active for active in active_K if active is not None)
        raise DataError(
            f"{asked} drops every rule: the most active one differs in {largest:.1%} of pairs. "
            "Lower it or leave it out."
        )
    return kept


def active_pair_share(counts: RuleCounts) -> float | None:
    """Share of pairs whose two scores differ by a step or more; None without pairs."""
    return counts.num_active / counts.tally.num_pairs if counts.tally.num_pairs else None


def consensus_of(statistics: RuleStatistics, *, kept: Sequence[int], score_range: ScoreRange) -> Consensus | None:
    """The consensus of the kept rules; None where it was not measured, or no two responses can be compared.

    Over the pairs, or where there are none over the single responses that share their prompt.
    """
    products = statistics.products.best if statistics.products else None
    if products is None or not products.count:
        return None
    rules = [statistics.counts_K[k].rule for k in kept]
    factor_K = np.array([rule.polarity / score_divisor(rule.scale, score_range) for rule in rules])
    moment_KK = products.mean_KK[np.ix_(kept, kept)] * factor_K[:, None] * factor_K
    return find_consensus(moment_KK, num_pairs=products.count)


def gather_evidence(
    statistics: RuleStatistics,
    entropy_K: Sequence[Entropy],
    *,
    kept: Sequence[int],
    log_base: LogBase,
    score_range: ScoreRange,
    learned: Learned | None = None,
    consensus: Consensus | None = None,
    counted_K: Sequence[RuleCounts] | None = None,
) -> Evidence:
    """The evidence of the kept rules, in rule order.

    Args:
        statistics: of the whole corpus, K rules.
        entropy_K: of all K rules, in `log_base`.
        kept: numbers of the rules that may have a weight, ascending.
        score_range: "unit" makes variances those of scores mapped to [0, 1].
        learned: of the kept rules; None where the scheme needs none.
        consensus: of the kept rules, see `consensus_of`.
        counted_K: counts of all K rules that the entropies are of; None for those of `statistics`.
    """
    counts_K = [statistics.counts_K[k] for k in kept]
    cells_K = [(counted_K or statistics.counts_K)[k].binning.num_cells for k in kept]
    return Evidence(
        names=tuple(counts.rule.name for counts in counts_K),
        entropy_K=tuple(entropy_K[k].value for k in kept),
        max_entropy_K=tuple(max_entropy(num_cells, log_base=log_base) for num_cells in cells_K),
        variance_K=_variances(counts_K, statistics.num_pairs, score_range) if statistics.num_pairs else None,
        accuracy_K=learned.accuracy_K if learned else None,
        bradley_terry=learned.fit.weights if learned and learned.fit else None,
        consensus=consensus,
        points_K=points_of(counts.rule for counts in counts_K),
    )


def _variances(counts_K: list[RuleCounts], num_pairs: int, score_range: ScoreRange) -> tuple[float, ...]:
    return tuple(
        variance(counts.sum_d, counts.sum_squared_d, count=num_pairs)
        / score_divisor(counts.rule.scale, score_range) ** 2
        for counts in counts_K
    )
