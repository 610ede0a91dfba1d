"""What a reader of the weights should know: a flag a rule, and sentences with the figures and the remedy."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from encore_ray.composition.measure.counts import RuleCounts
from encore_ray.composition.measure.statistics import RuleStatistics
from encore_ray.composition.scales.fitting_scale import narrower_scale, scale_text
from encore_ray.composition.weigh.bradley_terry import GOAL
from encore_ray.composition.weigh.consensus_record import ConsensusRecord
from encore_ray.composition.weigh.evidence import Learned
from encore_ray.composition.weigh.formulas import effective_num_rules
from encore_ray.composition.weigh.points import takes_points
from encore_ray.composition.weigh.scheme import Scheme
from encore_ray.composition.weigh.schemes import BradleyTerry
from encore_ray.composition.weigh.weights import RuleWeight

MODE_SHARE = "mode_share"  # one cell holds 99 % of the responses or more
LOW_ENTROPY = "low_entropy"  # H / log(cells) under 5 %
RARELY_ACTIVE = "rarely_active"  # the two scores differ by a step in under 5 % of the pairs
BELOW_CHANCE = "below_chance"  # right on significantly fewer than half of the pairs
LOOKS_LIKE_RATINGS = "looks_like_ratings"  # at most 64 distinct scores on a scale that declares no levels
CLIPPED = "clipped"  # scores out of range were counted in an end cell
OFF_LEVEL = "off_level"  # scores that are none of the declared levels
DROPPED_BY_MIN_ACTIVE = "dropped_by_min_active"  # weight 0, because asked for
DISAGREES = "disagrees"  # with what all rules have in common, so that consensus gives it no weight
LOADING_CLIPPED = "loading_clipped"  # it goes with what all rules have in common as well as is allowed

WIDE_SCALE = "wide_scale"  # a rule of the first three, since its scale is far too wide for its scores

DEGENERATE = frozenset({MODE_SHARE, LOW_ENTROPY, RARELY_ACTIVE})

MIN_ACTIVE = 0.10  # what is advised

_MAX_MODE_SHARE = 0.99
_MIN_ENTROPY_SHARE = 0.05
_MIN_ACTIVE_SHARE = 0.05


def flag_rule(
    counts: RuleCounts,
    *,
    mode_share: float,
    entropy_share: float,
    active_pair_share: float | None,
    statistics: RuleStatistics,
    dropped: bool,
    consensus: ConsensusRecord | None = None,
) -> tuple[str, ...]:
    """The flags of one rule, in the order of the constants above.

    Args:
        entropy_share: H / log(cells), in [0, 1].
        statistics: of all rules: how many responses and independent pairs there are.
        dropped: whether the min_active guard took the rule out.
        consensus: of a scheme whose weights follow it.
    """
    name = counts.rule.name
    checks = {
        MODE_SHARE: mode_share >= _MAX_MODE_SHARE,
        LOW_ENTROPY: entropy_share < _MIN_ENTROPY_SHARE,
        RARELY_ACTIVE: active_pair_share is not None and active_pair_share < _MIN_ACTIVE_SHARE,
        BELOW_CHANCE: _is_below_chance(counts, statistics),
        LOOKS_LIKE_RATINGS: _looks_like_ratings(counts, statistics),
        CLIPPED: counts.num_clipped > 0,
        OFF_LEVEL: counts.num_off_level > 0,
        DROPPED_BY_MIN_ACTIVE: dropped,
        DISAGREES: consensus is not None and name in consensus.opposed,
        LOADING_CLIPPED: consensus is not None and name in consensus.clipped,
    }
    found = [flag for flag, holds in checks.items() if holds]
    if DEGENERATE.intersection(found) and _much_wider_scale(counts):
        found.append(WIDE_SCALE)
    return tuple(found)


@dataclass(frozen=True)
class DegenerateRules:
    """Rules whose weight comes from an entropy that says little of them.

    Attributes:
        still: names of those whose scores hardly vary. wide: of those whose scale is far too wide for their scores.
        can_drop: whether the advised `min_active` leaves some rule.
    """

    still: tuple[str, ...]
    wide: tuple[str, ...]
    can_drop: bool


def degenerate_rules(rules: Iterable[tuple[str, float, Collection[str], float | None]]) -> DegenerateRules:
    """Which of the rules are degenerate, and whether others would be left: for every advice that is given.

    Args:
        rules: name, weight, flags and share of active pairs of each.
    """
    rules = list(rules)
    found = [(name, WIDE_SCALE in flags) for name, weight, flags, _ in rules if weight and DEGENERATE & set(flags)]
    return DegenerateRules(
        still=tuple(name for name, is_wide in found if not is_wide),
        wide=tuple(name for name, is_wide in found if is_wide),
        can_drop=any(active is not None and active >= MIN_ACTIVE for *_, active in rules),
    )


def write_warnings(
    rules: Sequence[RuleWeight],
    *,
    statistics: RuleStatistics,
    scheme: Scheme,
    learned: Learned | None,
    min_active: float | None,
    ranges_differ: bool,
    consensus: ConsensusRecord | None = None,
) -> tuple[str, ...]:
    """Sentences a user can act on, the one about degenerate rules first.

    Args:
        rules: the weighed rules, in the order of `statistics.counts_K`; their weights not all 0.
        learned: what a scheme that uses labels learned from.
        ranges_differ: scores of different ranges are added as they are.
        consensus: of a scheme that weighs by it.
    """
    warnings: list[str] = []
    total = sum(abs(rule.weight) for rule in rules)
    found = degenerate_rules((rule.name, rule.weight, rule.flags, rule.active_pair_share) for rule in rules)
    still = [rule for rule in rules if rule.name in found.still]
    if still:
        weight = sum(abs(rule.weight) for rule in still) / total
        described = (_describe_degenerate(rule, share=rule.weight / total) for rule in still)
        drop = f", or drop them: set weigh.min_active to {MIN_ACTIVE:.2f}" if found.can_drop else ""
        warnings.append(
            f"{weight:.1%} of the weight is on {len(still)} of {len(rules)} rules whose scores hardly vary: "
            f"{'; '.join(described)}. A rule that almost never fires has low entropy "
            f"without saying much. Remove such rules{drop}."
        )
    warnings += [
        f"Rule {rule.name} (weight {rule.weight / total:.1%}): its scale is far too wide for its scores, "
        f"{_much_wider_scale(counts)}. Entropies are counted on the declared scale: correct it in rules.yaml and weigh "
        "again."
        for rule, counts in zip(rules, statistics.counts_K, strict=True)
        if rule.name in found.wide
    ]
    dropped = [rule for rule in rules if DROPPED_BY_MIN_ACTIVE in rule.flags]
    if dropped:
        warnings.append(
            f"{len(dropped)} of {len(rules)} rules have weight 0, because they are active in less than "
            f"{min_active:.0%} of the pairs: {', '.join(rule.name for rule in dropped)}."
        )
    effective = effective_num_rules([rule.weight for rule in rules])
    if effective < len(rules) / 2:
        top = max(rules, key=lambda rule: abs(rule.weight))
        remedy = "a higher weigh.temperature, or with weigh.scheme uniform"
        warnings.append(
            f"The weights act like {effective:.1f} of {len(rules)} rules; {top.name} alone has "
            f"{abs(top.weight) / total:.1%}. Compare with "
            f"{remedy if 'temperature' in scheme.takes else 'weigh.scheme uniform'}."
        )
    if learned:
        warnings += _warn_of_learned(rules, scheme, learned)
    with_points = [rule.name for rule in rules if rule.points is not None]
    if with_points and not takes_points(scheme):
        warnings.append(
            f"Scheme {scheme.name} learns from labels and takes no points: those of {', '.join(with_points)} count for "
            "nothing here."
        )
    spread = statistics.prompt_units.spread_share if statistics.prompt_units and not statistics.num_pairs else 0.0
    if spread:
        warnings.append(
            "How rules agree is told by the single responses to one prompt that stand in one unit: up to 1,024 rows "
            f"of a run, a file or some 65,000 rows of one made elsewhere. Those to {spread:.1%} of the prompts stand "
            "in several units, and are not all compared. Rows that are sorted by prompt have few such prompts."
        )
    if consensus:
        forced = bool(scheme.params.get("force_consensus"))
        warnings += consensus.warnings(forced=forced, with_points=bool(with_points))
    for rule, counts in zip(rules, statistics.counts_K, strict=True):
        warnings += _warn_of_rule(rule, counts, statistics)
    clipped = [
        f"{rule.name} {counts.num_clipped:,} ({counts.problems.observed_lo:.6g} to {counts.problems.observed_hi:.6g} "
        f"on {rule.binning.lo:g} to {rule.binning.hi:g})"
        for rule, counts in zip(rules, statistics.counts_K, strict=True)
        if CLIPPED in rule.flags
    ]
    if clipped:
        warnings.append(
            f"Scores outside their scale, of {statistics.num_responses:,} a rule, were counted in the end cells: "
            f"{', '.join(clipped)}. Rewards are composed of them as they are."
        )
    if ranges_differ:
        warnings.append(
            "Rules of different range are added as they are (weigh.score_range raw): a wider scale counts for more "
            "than its weight says."
        )
    if statistics.subset_counts is None:
        warnings.append("There are too many subsets to keep an entropy for each: groups is null.")
    return tuple(warnings)


def _warn_of_learned(rules: Sequence[RuleWeight], scheme: Scheme, learned: Learned) -> list[str]:
    warnings = [
        f"Scheme {scheme.name} learned its weights from the labels of {learned.num_pairs:,} calibration pairs, so its "
        "accuracy over all pairs is flattered: judge it by the held-out fifth alone, as `encore-ray compare` does."
    ]
    negative = [rule.name for rule in rules if rule.weight < 0]
    if negative:
        warnings.append(
            f"{len(negative)} of {len(rules)} rules have a negative weight, a better score lowers the reward: "
            f"{', '.join(negative)}. Scheme bradley_terry_simplex keeps weights >= 0."
        )
    if isinstance(scheme, BradleyTerry) and learned.fit:
        solution = learned.fit.simplex if scheme.simplex else learned.fit.free
        if not solution.is_exact:
            warnings.append(
                f"The Bradley-Terry fit ended at a gradient of {solution.gradient_norm:.1e} instead of {GOAL:.0e}: no "
                f"step improved it in float64. Scores of very different size, or very many pairs, do that."
            )
    return warnings


def _warn_of_rule(rule: RuleWeight, counts: RuleCounts, statistics: RuleStatistics) -> list[str]:
    warnings: list[str] = []
    if BELOW_CHANCE in rule.flags:
        interval = counts.tally.interval(num_keys=statistics.num_keys)
        assert interval is not None
        assert rule.accuracy is not None
        warnings.append(
            f"Rule {rule.name} agrees with {rule.accuracy:.1%} of the labels (95% interval {interval.low:.1%} to "
            f"{interval.high:.1%}), significantly under half: check its `higher_is: {rule.higher_is}`. "
            "It was not flipped."
        )
    if LOOKS_LIKE_RATINGS in rule.flags:
        assert counts.distinct is not None
        shown = [f"{value:.6g}" for value in sorted(counts.distinct)]
        listed = ", ".join(shown if len(shown) <= 12 else [*shown[:11], "..", shown[-1]])
        warnings.append(
            f"Rule {rule.name} looks like ratings: {len(shown)} distinct scores on a scale without levels. "
            f"Declare them, `scale: {{levels: [{listed}]}}`, or bins decide which ratings are told apart."
        )
    if OFF_LEVEL in rule.flags:
        warnings.append(
            f"Rule {rule.name}: {counts.num_off_level:,} of {statistics.num_responses:,} scores are none of its "
            "declared levels. They count as the nearest level and are composed as they are."
        )
    return warnings


def _looks_like_ratings(counts: RuleCounts, statistics: RuleStatistics) -> bool:
    """Two values or more that repeat: a small sample of a continuous score also has few distinct ones."""
    return counts.distinct is not None and 2 <= len(counts.distinct) <= statistics.num_responses / 2


def _is_below_chance(counts: RuleCounts, statistics: RuleStatistics) -> bool:
    # Bonferroni: among many rules that are mere noise, some fall under a plain 95 % interval.
    z = NormalDist().inv_cdf(1 - 0.025 / len(statistics.counts_K))
    interval = counts.tally.interval(num_keys=statistics.num_keys, z=z)
    return interval is not None and interval.high < 0.5


def _much_wider_scale(counts: RuleCounts) -> str | None:
    """In words, where the scores of a rule that vary fill so little of its scale that they share a few cells."""
    scale, low, high = counts.rule.scale, counts.problems.observed_lo, counts.problems.observed_hi
    fitting = narrower_scale(scale, low, high)
    if fitting is None:
        return None
    return f"{low:.6g} to {high:.6g} on {scale.lo:g} to {scale.hi:g}; `scale: {scale_text(fitting)}` fits"


def _describe_degenerate(rule: RuleWeight, *, share: float) -> str:
    active = "" if rule.active_pair_share is None else f", active in {rule.active_pair_share:.1%} of pairs"
    return f"{rule.name} (weight {share:.1%}, {rule.mode_share:.1%} of responses in one cell{active})"
