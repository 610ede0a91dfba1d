"""What is to be corrected before scores can be weighed: of all rules at once, from all scores, as lines to paste."""

from collections.abc import Sequence

from encore_ray.composition.measure.counts import RuleCounts
from encore_ray.composition.measure.statistics import RuleStatistics
from encore_ray.composition.scales.fitting_scale import narrower_scale, scale_text
from encore_ray.composition.scales.score_range import ScoreRange, how_to_map, ranges_differ
from encore_ray.errors import DataError
from encore_ray.shell import option


def refuse_scores(statistics: RuleStatistics, *, score_range: ScoreRange, rules_in: str = "") -> None:
    """Raise DataError where scores are not finite, or outside of a scale that does not clip them, or most are clipped.

    It also says what the corrected scales would be refused for.

    Args:
        rules_in: the file that the rules are of, for the message.
    """
    found = statistics.problems()
    if not found:
        return
    if rules_in:
        found.append(f"The rules are those of {rules_in}: {option('rules')} names others.")
    found += _corrections(statistics.counts_K, score_range)
    raise DataError("\n".join(found))


def _corrections(counts_K: Sequence[RuleCounts], score_range: ScoreRange) -> list[str]:
    """Lines below the problems: the scales that fit where several do not, and how rules of these are added up."""
    scales = {counts.rule.name: counts.rule.scale for counts in counts_K}
    corrected, said = {}, []
    for counts in counts_K:
        rule, problems = counts.rule, counts.problems
        low, high = problems.observed_lo, problems.observed_hi
        if problems.out_of_range.count or counts.num_clipped:
            fitting = problems.fitting(rule.scale)
        elif fitting := narrower_scale(rule.scale, low, high):
            said.append(
                f"Rule {rule.name}: its scale is far too wide for its scores, {low:.6g} to {high:.6g} on "
                f"{rule.scale.lo:g} to {rule.scale.hi:g}: they share a few cells."
            )
        if fitting:
            corrected[rule.name] = fitting
    if len(corrected) > 1:
        said.append("In rules.yaml, from all scores; the other keys of these rules stay:")
        said += [f"- name: {name}\n  scale: {scale_text(scale)}" for name, scale in corrected.items()]
    if score_range == "declared" and corrected and ranges_differ([*(scales | corrected).values()]):
        said.append(f"With these scales rules have different ranges, which is refused, too. {how_to_map()}")
    return said
