"""Scores that cannot be weighed: counted where they are found, reported once and together."""

import heapq
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from encore_ray.composition.scales.binning import Binning
from encore_ray.composition.scales.fitting_scale import fitting_scale, is_too_wide, scale_text
from encore_ray.composition.scales.missing_codes import codes_beyond, mend_codes
from encore_ray.rules import Rule, Scale
from encore_ray.shell import option
from encore_ray.visible import short

NUM_IDS_SHOWN = 5
MAX_CLIPPED = 0.05  # share of scores out of range up to which clipping, which makes them equal, is offered


@dataclass(frozen=True)
class Offenders:
    """How many scores have a problem, and the first of their pairs in the order of ids (not of arrival)."""

    count: int = 0
    first_ids: tuple[str, ...] = ()

    @classmethod
    def of(cls, pair_ids: Sequence[str]) -> "Offenders":
        """One entry a score: a pair with two bad scores is given twice."""
        return cls(len(pair_ids), _smallest(pair_ids))

    def __add__(self, other: "Offenders") -> "Offenders":
        if not other.count:
            return self
        return Offenders(self.count + other.count, _smallest(self.first_ids + other.first_ids))


@dataclass(frozen=True)
class ScoreProblems:
    """One rule's unusable scores, with the range of all its finite ones."""

    non_finite: Offenders = field(default_factory=Offenders)
    out_of_range: Offenders = field(default_factory=Offenders)
    observed_lo: float = math.inf
    observed_hi: float = -math.inf

    def __add__(self, other: "ScoreProblems") -> "ScoreProblems":
        return ScoreProblems(
            self.non_finite + other.non_finite,
            self.out_of_range + other.out_of_range,
            min(self.observed_lo, other.observed_lo),
            max(self.observed_hi, other.observed_hi),
        )

    def codes(self, scale: Scale) -> list[float]:
        """Ends of the scores that are outside of a scale, and usual codes for a missing value."""
        return codes_beyond(scale.lo, scale.hi, (self.observed_lo, self.observed_hi))

    def is_few(self, num_responses: int) -> bool:
        """Whether so few scores are out of range that the others may be counted without them."""
        return self.out_of_range.count <= MAX_CLIPPED * num_responses

    def may_be_clipped(self, rule: Rule, num_responses: int) -> bool:
        """Whether scores are out of range, few, and none of them a code for a missing value."""
        return bool(self.out_of_range.count) and self.is_few(num_responses) and not self.codes(rule.scale)

    def fitting_scale(self, rule: Rule, num_responses: int) -> Scale | None:
        """The scale that all scores would fit.

        None for levels, where codes for a missing value are among the scores, and where a few lie so far outside that
        the others would share cells.

        Args:
            num_responses: with a score of the rule.
        """
        if rule.scale.levels or self.codes(rule.scale):
            return None
        fitting = fitting_scale(self.observed_lo, self.observed_hi)
        far = fitting is not None and self.is_few(num_responses) and is_too_wide(fitting, rule.scale)
        return None if far else fitting

    def sentences(
        self, rule: Rule, *, binning: Binning, num_responses: int, num_clipped: int = 0, in_file: bool = True
    ) -> list[str]:
        """What is wrong with a rule's scores, where and what to do; empty when nothing is.

        Args:
            num_responses: with a score of the rule. num_clipped: whose scores were out of range, and clipped.
            in_file: whether a file has the rules, in which they can be corrected.
        """
        codes, fitting = self.codes(rule.scale), self.fitting_scale(rule, num_responses)
        place = " in rules.yaml" if in_file else ""
        correct = f"Correct the rule's scale{place}{f', as `scale: {scale_text(fitting)}`' if fitting else ''}"
        few = self.is_few(num_responses)
        found = []
        if self.non_finite.count:
            found.append(
                f"Rule {rule.name}: {self.non_finite.count:,} scores are missing or not finite (null, NaN, infinite), "
                f"first pair_ids {_listed(self.non_finite)}. Fill them in, or remove these pairs; no option clips them."
            )
        if self.out_of_range.count:
            slips = "Mend those that are slips, or stand for no rating"
            in_rule = "`out_of_range: clip` in the rule, or " if in_file else ""
            clip = (
                f"count such scores in the end cells: {in_rule}{option('clip', True, section='weigh')} for all rules. "
                "That is for the weights alone: rewards are composed of the scores as they are"
            )
            if codes:
                remedy = mend_codes(codes)
            elif not few:
                remedy = correct
            elif rule.scale.levels:
                remedy = f"{slips}. {correct}, or {clip}"
            else:
                remedy = f"{correct if fitting else slips}, or {clip}"
            found.append(
                f"Rule {rule.name}: {self.out_of_range.count:,} of {num_responses:,} scores are out of range, first "
                f"pair_ids {_listed(self.out_of_range)}. Expected {binning.lo:g} to {binning.hi:g}, found "
                f"{self.observed_lo:g} to {self.observed_hi:g}. {remedy}."
            )
        if num_clipped > num_responses / 2:
            found.append(
                f"Rule {rule.name}: {num_clipped:,} of {num_responses:,} scores are out of range, {self.observed_lo:g} "
                f"to {self.observed_hi:g} on {binning.lo:g} to {binning.hi:g}: clipping makes most equal, which "
                f"weighing by entropy takes for agreement. {correct}."
            )
        return found


def _smallest(pair_ids: Iterable[str]) -> tuple[str, ...]:
    return tuple(heapq.nsmallest(NUM_IDS_SHOWN, set(pair_ids)))


def _listed(offenders: Offenders) -> str:
    return ", ".join(map(short, offenders.first_ids))
