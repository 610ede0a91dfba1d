"""From the statistics of a corpus to the weights of its rules."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from encore_ray.composition.inference.agreement import Correlation, correlate
from encore_ray.composition.inference.entropy import Entropy, Estimator, LogBase, estimate_entropy, max_entropy
from encore_ray.composition.measure.correcting import refuse_scores
from encore_ray.composition.measure.counts import RuleCounts
from encore_ray.composition.measure.statistics import RuleStatistics
from encore_ray.composition.scales.score_range import ScoreRange, check_ranges, score_divisor
from encore_ray.composition.sums.exact import standard_deviation
from encore_ray.composition.weigh.consensus_record import ConsensusRecord
from encore_ray.composition.weigh.evidence import (
    Learned,
    active_pair_share,
    consensus_of,
    gather_evidence,
    kept_rules,
)
from encore_ray.composition.weigh.flags import DROPPED_BY_MIN_ACTIVE, flag_rule, write_warnings
from encore_ray.composition.weigh.groups import group_entropies, warn_of_small_groups, weigh_groups
from encore_ray.composition.weigh.points import weigh_rules
from encore_ray.composition.weigh.rated import RatedRecord, Ratings
from encore_ray.composition.weigh.scheme import Scheme
from encore_ray.composition.weigh.schemes import Encore
from encore_ray.composition.weigh.weights import RuleWeight, Weights
from encore_ray.errors import ConfigError, DataError
from encore_ray.rules import RuleSet

ENCORE = Encore()


def weigh(
    statistics: RuleStatistics,
    *,
    scheme: Scheme = ENCORE,
    log_base: LogBase = "e",
    estimator: Estimator = "plugin",
    min_active: float | None = None,
    score_range: ScoreRange = "declared",
    by_group: bool = False,
    learned: Learned | None = None,
    ratings: Ratings | None = None,
    rules_in: str | None = None,
) -> Weights:
    """Weigh the rules of a whole corpus.

    Args:
        statistics: of every row; with `learned`, the result depends on nothing but these and the options.
        scheme: how; ENCORE at temperature 2 unless another is given.
        min_active: drop rules that are active in a smaller share of pairs, in [0, 1]; the scheme is applied to the
            rest. None keeps all, as the paper does.
        score_range: "declared" requires all rules to have the same range; "unit" maps each to [0, 1] for composition,
            "raw" adds scores of different ranges as they are.
        by_group: also weights of each subset, from its own histograms; for a scheme that looks at entropies only.
        learned: of the rules that `kept_rules` keeps; needed by a scheme that uses labels.
        ratings: a second table under the same rules, whose entropies weigh; None for those of the scores.
        rules_in: the file that the rules are of, for messages.

    Raises:
        ConfigError: an unknown option value, an option of the scheme out of its range.
        DataError: what `check_statistics` and `kept_rules` refuse, or a corpus that gives the scheme no weights.

    Source: ENCORE, arXiv 2503.20995.
    """
    _check_choice("log base", log_base, get_args(LogBase))
    _check_choice("estimator", estimator, get_args(Estimator))
    if min_active is not None and not 0 <= min_active <= 1:
        raise ConfigError(f"min_active is a share of pairs, from 0 to 1; found {min_active}.")
    ranges_differ = check_statistics(statistics, score_range=score_range, rules_in=rules_in)
    assert learned or not scheme.uses_labels, f"{scheme.name} needs what the labels say"
    counts_K = statistics.counts_K

    own_K = _entropies(counts_K, log_base=log_base, estimator=estimator)
    entropy_K, counted_K = own_K, counts_K
    if ratings is not None:
        assert not by_group, "subsets have entropies of the scores alone"
        ratings.raise_problems()
        counted_K = ratings.statistics.counts_K
        entropy_K = _entropies(counted_K, log_base=log_base, estimator=estimator)
    kept = kept_rules(statistics, min_active=min_active)
    consensus = None
    if scheme.needs_consensus or not statistics.num_pairs:
        consensus = consensus_of(statistics, kept=kept, score_range=score_range)
    evidence = gather_evidence(
        statistics,
        entropy_K,
        kept=kept,
        log_base=log_base,
        score_range=score_range,
        learned=learned,
        consensus=consensus,
        counted_K=counted_K,
    )
    record = None
    if consensus is not None:
        record = ConsensusRecord.of(
            consensus,
            statistics=statistics,
            kept=kept,
            entropy_K=[entropy.value for entropy in entropy_K],
            log_base=log_base,
            estimator=estimator,
        )
    weight_K = _of_all_rules(weigh_rules(scheme, evidence), kept, len(counts_K))
    rated = None
    if ratings is not None:
        by_scores = replace(
            evidence,
            entropy_K=tuple(own_K[k].value for k in kept),
            max_entropy_K=tuple(max_entropy(counts_K[k].binning.num_cells, log_base=log_base) for k in kept),
        )
        rated = RatedRecord.of(
            ratings,
            names=[counts.rule.name for counts in counts_K],
            entropy_K=[entropy.value for entropy in own_K],
            weight_K=_of_all_rules(weigh_rules(scheme, by_scores), kept, len(counts_K)),
        )
    contribution_K = _contribution_shares(counts_K, weight_K, score_range=score_range)
    groups = group_entropies(statistics, log_base=log_base, estimator=estimator)
    if by_group:
        groups = weigh_groups(groups, scheme=scheme, evidence=evidence)

    forced = bool(scheme.params.get("force_consensus"))
    weighs_by_consensus = scheme.needs_consensus and record is not None and record.weighs(forced=forced)
    rules: list[RuleWeight] = []
    for k, counts in enumerate(counts_K):
        mode_share = int(counts.count_L.max()) / statistics.num_responses
        active = active_pair_share(counts)
        flags = flag_rule(
            counts,
            mode_share=mode_share,
            entropy_share=entropy_K[k].value / max_entropy(counted_K[k].binning.num_cells, log_base=log_base),
            active_pair_share=active,
            statistics=statistics,
            dropped=k not in kept,
            consensus=record if weighs_by_consensus else None,
        )
        has_pairs = statistics.num_pairs > 0
        rules.append(
            RuleWeight(
                name=counts.rule.name,
                higher_is=counts.rule.higher_is,
                binning=counts.binning,
                entropy=entropy_K[k],
                weight=weight_K[k],
                mode_share=mode_share,
                active_pair_share=active,
                contribution_share=contribution_K[k],
                wins=counts.tally.wins if has_pairs else None,
                ties=counts.tally.ties if has_pairs else None,
                losses=counts.tally.losses if has_pairs else None,
                accuracy=counts.tally.accuracy,
                flags=flags,
                scale=counts.rule.scale,
                veto=counts.rule.veto,
                points=counts.rule.points,
            )
        )
    warnings = write_warnings(
        rules,
        statistics=statistics,
        scheme=scheme,
        learned=learned,
        min_active=min_active,
        ranges_differ=ranges_differ and score_range == "raw",
        consensus=record if scheme.needs_consensus else None,
    )
    if by_group:
        num_cells = max(counts.binning.num_cells for counts in counts_K)
        warnings += tuple(warn_of_small_groups(groups or {}, num_cells=num_cells))
    params = scheme.params
    return Weights(
        scheme=scheme.name,
        temperature=params.pop("temperature", None),
        scheme_params=params,
        num_calibration_pairs=learned.num_pairs if learned else None,
        log_base=log_base,
        estimator=estimator,
        score_range=score_range,
        min_active=min_active,
        clip=statistics.clip,
        num_pairs=statistics.num_pairs,
        num_responses=statistics.num_responses,
        num_keys=statistics.num_keys,
        counts_sha256=statistics.counts_sha256,
        rules=tuple(rules),
        entropy_accuracy=_entropy_accuracy(rules),
        warnings=warnings,
        groups=groups,
        consensus=record,
        by_consensus=scheme.needs_consensus,
        rated=rated,
    )


def check_statistics(statistics: RuleStatistics, *, score_range: ScoreRange, rules_in: str | None = None) -> bool:
    """Whether the rules' declared ranges differ, of scores that can be weighed.

    Args:
        rules_in: the file that the rules are of, for messages.

    Raises:
        ConfigError: an unknown score range.
        DataError: scores that are not finite or out of range, no scores, rules of different range where nothing says
            how to add their scores.
    """
    _check_choice("score range", score_range, get_args(ScoreRange))
    refuse_scores(statistics, score_range=score_range, rules_in=rules_in)
    if not statistics.num_responses:
        raise DataError("There is no score to weigh: expected one response or more, found none.")
    rules = RuleSet((counts.rule for counts in statistics.counts_K), where=rules_in or "")
    return check_ranges(rules, score_range=score_range)


def _entropies(counts_K: Sequence[RuleCounts], *, log_base: LogBase, estimator: Estimator) -> list[Entropy]:
    return [estimate_entropy(counts.bucket_JL, log_base=log_base, estimator=estimator) for counts in counts_K]


def _of_all_rules(kept_weight_K: NDArray[np.float64], kept: Sequence[int], num_rules: int) -> list[float]:
    """The weights of all rules, 0 for those that were dropped."""
    weight_K = [0.0] * num_rules
    for k, weight in zip(kept, kept_weight_K.tolist(), strict=True):
        weight_K[k] = weight
    return weight_K


def _check_choice(what: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ConfigError(f"Unknown {what} {value!r}; known: {', '.join(known)}.")


def _contribution_shares(
    counts_K: tuple[RuleCounts, ...], weight_K: list[float], *, score_range: ScoreRange
) -> list[float] | list[None]:
    num_pairs = counts_K[0].tally.num_pairs
    if not num_pairs:
        return [None] * len(counts_K)
    part_K: list[float] = []
    for counts, weight in zip(counts_K, weight_K, strict=True):
        deviation = standard_deviation(counts.sum_d, counts.sum_squared_d, count=num_pairs)
        part_K.append(abs(weight) * deviation / score_divisor(counts.rule.scale, score_range))
    total = math.fsum(part_K)
    return [part / total for part in part_K] if total else [None] * len(counts_K)


def correlated_rules(rules: Sequence[RuleWeight]) -> list[int]:
    """Numbers of the rules over which entropy and accuracy are correlated: they have both, and may have a weight.

    A rule of entropy 0 never varies: it agrees with half of the labels whatever it is about.
    """
    return [
        k
        for k, rule in enumerate(rules)
        if rule.entropy.value > 0 and rule.accuracy is not None and DROPPED_BY_MIN_ACTIVE not in rule.flags
    ]


def _entropy_accuracy(rules: Sequence[RuleWeight]) -> Correlation:
    """Correlation of entropy with accuracy over `correlated_rules`."""
    used = [rules[k] for k in correlated_rules(rules)]
    accuracies = [rule.accuracy for rule in used if rule.accuracy is not None]
    return correlate([rule.entropy.value for rule in used], accuracies)
