"""From the statistics of a corpus to the weights of its rules."""

import math
from typing import Any, get_args

from encore_ray.composition.agreement import Correlation, correlate
from encore_ray.composition.counts import RuleCounts
from encore_ray.composition.entropy import Estimator, LogBase, entropy, estimate, max_entropy
from encore_ray.composition.exact import standard_deviation
from encore_ray.composition.flags import flag_rule, write_warnings
from encore_ray.composition.schemes import encore, one_minus_entropy, uniform
from encore_ray.composition.statistics import RuleStatistics
from encore_ray.composition.weights import RuleWeight, ScoreRange, Weights
from encore_ray.errors import ConfigError, DataError
from encore_ray.rules import RuleSet

SCHEMES = ("encore", "one_minus_entropy", "uniform")


def weigh(
    statistics: RuleStatistics,
    *,
    scheme: str = "encore",
    temperature: float = 2.0,
    log_base: LogBase = "e",
    estimator: Estimator = "plugin",
    min_active: float | None = None,
    score_range: ScoreRange = "declared",
) -> Weights:
    """Weigh the rules of a whole corpus.

    Args:
        statistics: of every row; the result depends on nothing but these and the options.
        scheme: "encore", "one_minus_entropy" or "uniform".
        temperature: of encore, > 0.
        min_active: drop rules that are active in a smaller share of pairs, in [0, 1]; the scheme is applied to the
            rest. None keeps all, as the paper does.
        score_range: "declared" requires all rules to have the same range; "unit" maps each to [0, 1] for composition,
            "raw" adds scores of different ranges as they are.

    Raises:
        ConfigError: an unknown option value, a temperature or min_active out of its range.
        DataError: scores that are not finite or out of range, no scores, rules of different range, min_active without
            pairs or above every rule's activity, no entropy to tell rules apart with one_minus_entropy.

    Source: ENCORE, arXiv 2503.20995.
    """
    _check_choice("scheme", scheme, SCHEMES)
    _check_choice("log base", log_base, get_args(LogBase))
    _check_choice("estimator", estimator, get_args(Estimator))
    _check_choice("score range", score_range, get_args(ScoreRange))
    if min_active is not None and not 0 <= min_active <= 1:
        raise ConfigError(f"min_active is a share of pairs, from 0 to 1; found {min_active}.")
    statistics.raise_problems()
    if not statistics.num_responses:
        raise DataError("There is no score to weigh: expected one response or more, found none.")
    counts_K = statistics.counts_K
    ranges_differ = _check_ranges(RuleSet(counts.rule for counts in counts_K), score_range)

    entropy_K = [
        estimate(counts.joint_LL, counts.single_L, log_base=log_base, estimator=estimator) for counts in counts_K
    ]
    ceiling_K = [max_entropy(counts.binning.num_cells, log_base=log_base) for counts in counts_K]
    active_K = [_active_pair_share(counts) for counts in counts_K]
    kept = _kept_rules(active_K, min_active)
    kept_entropy = [entropy_K[k].value for k in kept]
    if scheme == "encore":
        kept_weight = encore(kept_entropy, temperature=temperature)
    elif scheme == "one_minus_entropy":
        kept_weight = one_minus_entropy(kept_entropy, max_entropy_K=[ceiling_K[k] for k in kept])
    else:
        kept_weight = uniform(len(kept))
    weight_K = [0.0] * len(counts_K)
    for k, weight in zip(kept, kept_weight.tolist(), strict=True):
        weight_K[k] = weight
    contribution_K = _contribution_shares(counts_K, weight_K, unit=score_range == "unit")

    rules: list[RuleWeight] = []
    for k, counts in enumerate(counts_K):
        count_L = counts.count_L
        mode_share = int(count_L.max()) / statistics.num_responses
        flags = flag_rule(
            counts,
            mode_share=mode_share,
            entropy_share=entropy_K[k].value / ceiling_K[k],
            active_pair_share=active_K[k],
            statistics=statistics,
            dropped=k not in kept,
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
                active_pair_share=active_K[k],
                contribution_share=contribution_K[k],
                wins=counts.tally.wins if has_pairs else None,
                ties=counts.tally.ties if has_pairs else None,
                losses=counts.tally.losses if has_pairs else None,
                accuracy=counts.tally.accuracy,
                flags=flags,
                scale=counts.rule.scale,
            )
        )
    warnings = write_warnings(
        rules, statistics=statistics, min_active=min_active, ranges_differ=ranges_differ and score_range == "raw"
    )
    return Weights(
        scheme=scheme,
        temperature=float(temperature) if scheme == "encore" else None,
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
        groups=_group_entropies(statistics, log_base=log_base, estimator=estimator),
    )


def _check_choice(what: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ConfigError(f"Unknown {what} {value!r}; known: {', '.join(known)}.")


def _check_ranges(rules: RuleSet, score_range: ScoreRange) -> bool:
    """Whether declared ranges differ; DataError if they do and nothing says how to add such scores."""
    first = rules[0]
    other = next((rule for rule in rules if (rule.scale.lo, rule.scale.hi) != (first.scale.lo, first.scale.hi)), None)
    if other is not None and score_range == "declared":
        raise DataError(
            f"Rules have different ranges: {first.name} {first.scale.lo:g} to {first.scale.hi:g}, {other.name} "
            f"{other.scale.lo:g} to {other.scale.hi:g}, so a wider one would outweigh the others. "
            "Set weigh.score_range to unit (each mapped to [0, 1]) or raw (added as they are)."
        )
    return other is not None


def _active_pair_share(counts: RuleCounts) -> float | None:
    return counts.num_active / counts.tally.num_pairs if counts.tally.num_pairs else None


def _kept_rules(active_K: list[float | None], min_active: float | None) -> list[int]:
    if min_active is None:
        return list(range(len(active_K)))
    if active_K[0] is None:
        raise DataError("--min-active needs pairs, found single responses only. Leave it out.")
    kept = [k for k, active in enumerate(active_K) if active is not None and active >= min_active]
    if not kept:
        largest = max(active for active in active_K if active is not None)
        raise DataError(
            f"--min-active {min_active:g} drops every rule: the most active one differs in {largest:.1%} of pairs. "
            "Lower it or leave it out."
        )
    return kept


def _contribution_shares(
    counts_K: tuple[RuleCounts, ...], weight_K: list[float], *, unit: bool
) -> list[float] | list[None]:
    num_pairs = counts_K[0].tally.num_pairs
    if not num_pairs:
        return [None] * len(counts_K)
    part_K: list[float] = []
    for counts, weight in zip(counts_K, weight_K, strict=True):
        deviation = standard_deviation(counts.sum_d, counts.sum_squared_d, count=num_pairs)
        part_K.append(weight * deviation / (counts.rule.scale.width if unit else 1.0))
    total = math.fsum(part_K)
    return [part / total for part in part_K] if total else [None] * len(counts_K)


def _entropy_accuracy(rules: list[RuleWeight]) -> Correlation:
    """Correlation of entropy with accuracy over rules whose entropy is above 0."""
    entropies: list[float] = []
    accuracies: list[float] = []
    for rule in rules:
        if rule.entropy.value > 0 and rule.accuracy is not None:
            entropies.append(rule.entropy.value)
            accuracies.append(rule.accuracy)
    return correlate(entropies, accuracies)


def _group_entropies(
    statistics: RuleStatistics, *, log_base: LogBase, estimator: Estimator
) -> dict[str, dict[str, Any]] | None:
    if statistics.subset_counts is None:
        return None
    return {
        name: {
            "num_responses": int(count_KL[0].sum()),
            "entropies": {
                counts.rule.name: entropy(count_L, log_base=log_base, estimator=estimator)
                for counts, count_L in zip(statistics.counts_K, count_KL, strict=True)
            },
        }
        for name, count_KL in sorted(statistics.subset_counts.items())
    }
