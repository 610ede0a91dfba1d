"""What is to be corrected before scores can be weighed: of all rules at once, from all scores, as lines to paste."""

from collections.abc import Sequence

from encore_ray.composition.measure.counts import RuleCounts
from encore_ray.composition.measure.statistics import RuleStatistics
from encore_ray.composition.scales.fitting_scale import narrower_scale, scale_text
from encore_ray.composition.scales.score_range import ScoreRange, how_to_map, ranges_differ
from encore_ray.errors import DataError
from encore_ray.shell import is_called, option, to_paste


class UnfitScores(DataError):
    """Scores that do not fit the scales of their rules."""


def refuse_scores(statistics: RuleStatistics, *, score_range: ScoreRange, rules_in: str | None = None) -> None:
    """Raise UnfitScores where scores are not finite, outside of a scale that does not clip them, or mostly clipped.

    It also says what the corrected scales would be refused for.

    Args:
        rules_in: the file that the rules are of, for the message; "" where none has them, None where that is not told.
    """
    found = statistics.problems(in_file=rules_in != "")
    if not found:
        return
    counted = statistics.counts_K
    if is_called() and any(each.problems.may_be_clipped(each.rule, statistics.num_responses) for each in counted):
        found.append(f"To count scores outside of their scale in its end cells{to_paste(section='weigh', clip=True)}")
    if rules_in is not None:
        whose = f"The rules are those of {rules_in}" if rules_in else "No file has these rules"
        found.append(f"{whose}: {option('rules')} names others.")
    found += _corrections(counted, statistics.num_responses, score_range)
    raise UnfitScores("\n".join(found))


def _corrections(counts_K: Sequence[RuleCounts], num_responses: int, score_range: ScoreRange) -> list[str]:
    """Lines below the problems: the scales that fit where several do not, and how rules of these are added up."""
    scales = {counts.rule.name: counts.rule.scale for counts in counts_K}
    corrected, said = {}, []
    for counts in counts_K:
        rule, problems = counts.rule, counts.problems
        low, high = problems.observed_lo, problems.observed_hi
        if problems.out_of_range.count or counts.num_clipped:
            fitting = problems.fitting_scale(rule, num_responses)
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
