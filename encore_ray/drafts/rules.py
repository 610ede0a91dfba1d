"""A rules.yaml to correct: of ratings and scores that were looked at, or of a model's heads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from encore_ray.composition.scales.fitting_scale import outward, scale_text
from encore_ray.composition.scales.score_range import ranges_differ
from encore_ray.drafts.observed import Observed
from encore_ray.drafts.strays import Stray
from encore_ray.errors import DataError
from encore_ray.files.plain_yaml import scalar_text
from encore_ray.rules import Rule, RuleSet, Scale, slug
from encore_ray.shell import option

if TYPE_CHECKING:
    from encore_ray.models.families.model_folder import Head

_WIDE = Scale(-50.0, 50.0)  # of a head whose scores nobody has seen
_MOST_LEVELS = 100  # from the first to the last
_ALIKE = 0.5  # a rule's range of the range of all: from there on they are taken to have the same scale


@dataclass(frozen=True)
class DraftedRules:
    """A rules.yaml.

    Attributes:
        rules: what the file says.
        text: of the file.
        to_be_mapped: why scores must be mapped to one range before they are added; None where they need not.
        notes: what was guessed, in sentences without an end.
    """

    rules: RuleSet
    text: str
    to_be_mapped: str | None
    notes: tuple[str, ...]

    @property
    def assumed(self) -> list[str]:
        """What is taken for granted of scores and their direction, a sentence for all rules of which it is the same."""
        alike: dict[str, list[str]] = {}
        for rule in self.rules:
            direction = "worse, by the labels," if rule.higher_is == "worse" else "better,"
            alike.setdefault(f"{direction} {_spoken(rule.scale)}", []).append(rule.name)
        return [f"of {_some(names)} a higher score is taken to be {told}" for told, names in alike.items()]


def draft_rules(observed: Sequence[Observed], *, of: str, texts: Mapping[str, str] | None = None) -> DraftedRules:
    """Rules for scores that were looked at.

    Args:
        observed: one a rule.
        of: what they are scores of, for the first line.
        texts: of rules by name; None: their names.

    Raises:
        DataError: a rule has no score, so that its scale cannot be told.
    """
    unseen = [each.name for each in observed if each.low is None]
    if unseen:
        raise DataError(
            f"Of {_some(unseen)} {of} have none, so that no scale can be told. Leave out the columns, or name the "
            f"rules that count by {option('rules')}."
        )
    scales = _scales(observed)
    rules = RuleSet(
        Rule(each.name, (texts or {}).get(each.name, each.name), "worse" if each.is_worse else "better", scale)
        for each, scale in zip(observed, scales, strict=True)
    )
    lines = [f"# Drafted from {of}. Correct what is guessed: direction, scale, text.", "# See docs/rules.md."]
    for each, rule in zip(observed, rules, strict=True):
        num = each.num_higher + each.num_lower
        share = f"the chosen response has the higher score in {each.num_higher:,} of the {num:,} pairs that differ"
        share += f" and have no {_listed(each.strays)}" if each.strays else ""
        lines += [
            f"- name: {scalar_text(rule.name)}",
            f"  text: {scalar_text(rule.text)}",
            f"  higher_is: {rule.higher_is}  # guessed: {share}",
            f"  scale: {scale_text(rule.scale)}  # seen: {_seen(each)}",
        ]
    worse = [each.name for each in observed if each.is_worse]
    notes = [f"scales are guessed from what was seen, as {scale_text(scales[0])} for {observed[0].name}"]
    if worse:
        notes.append(f"higher is taken to be worse for {', '.join(worse)}, by the labels; for the others better")
    else:
        notes.append("higher is taken to be better for all of them")
    notes += [f"{each.name}: {stray}. {stray.advice}" for each in observed for stray in each.strays]
    return DraftedRules(rules, "\n".join(lines) + "\n", to_be_mapped(rules), tuple(notes))


def to_be_mapped(rules: RuleSet) -> str | None:
    """Why scores of rules must be mapped to one range, see `DraftedRules`."""
    return "rules have different ranges" if ranges_differ([rule.scale for rule in rules]) else None


def draft_rules_of_heads(heads: "Sequence[Head]", *, of: str) -> DraftedRules:
    """Rules for the heads of a model that says no more than their labels."""
    names: list[str] = []
    lines = [
        f"# Drafted from the heads of {of}, in their order. Correct what is guessed: direction, scale, text.",
        "# Wide ends are a beginning: `weigh` names scores beyond them, and takes corrected ones without scoring anew.",
    ]
    scales = []
    for head in heads:
        names.append(slug(head.label, names))
        scales.append(Scale(float(head.scale[0]), float(head.scale[1])) if head.scale else _WIDE)
        lines += [
            f"- name: {scalar_text(names[-1])}",
            f"  text: {scalar_text(head.label)}",
            f"  higher_is: {head.higher_is or 'better'}" + ("" if head.higher_is else "  # guessed"),
            f"  scale: {scale_text(scales[-1])}" + ("" if head.scale else "  # not known"),
        ]
    notes = []
    unsaid = [name for name, head in zip(names, heads, strict=True) if head.higher_is is None]
    if unsaid:
        notes.append(f"higher is taken to be better for {_some(unsaid)}, of which the model does not say it")
    if _WIDE in scales:
        notes.append("scales are not known, and drafted wide; a run tells the range of all scores")
    text = "\n".join(lines) + "\n"
    rules = RuleSet.from_yaml(text)
    unknown = "scales are not known yet, and will differ" if _WIDE in scales and len(scales) > 1 else None
    return DraftedRules(rules, text, to_be_mapped(rules) or unknown, tuple(notes))


def _scales(observed: Sequence[Observed]) -> list[Scale]:
    """One a rule, of which there are scores: the same for all where their ranges are alike."""
    ranges = [(each.low, each.high) for each in observed if each.low is not None and each.high is not None]
    low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
    if all(_ALIKE * (high - low) <= top - bottom for bottom, top in ranges):
        shared = _scale(low, high, is_whole=all(each.levels is not None for each in observed))
        return [shared for _ in observed]
    return [_scale(bottom, top, each.levels is not None) for each, (bottom, top) in zip(observed, ranges, strict=True)]


def _scale(low: float, high: float, is_whole: bool) -> Scale:
    if is_whole:
        high = max(high, low + 1)
        if high - low <= _MOST_LEVELS:
            return Scale(low, high, tuple(float(value) for value in range(int(low), int(high) + 1)))
        return Scale(outward(low, -1), outward(high, 1))
    for lo, hi in ((0.0, 1.0), (-1.0, 1.0)):
        if lo <= low and high <= hi:
            return Scale(lo, hi)
    if low == high:
        return Scale(low - 1, high + 1)
    return Scale(outward(low, -1), outward(high, 1))


def _spoken(scale: Scale) -> str:
    if scale.levels is not None:
        return f"of levels {', '.join(f'{level:g}' for level in scale.levels)}"
    return f"from {scale.lo:g} to {scale.hi:g}"


def _listed(strays: Sequence[Stray]) -> str:
    return " or ".join(f"{stray.value:g}" for stray in strays)


def _seen(each: Observed) -> str:
    levels = each.levels and ", ".join(f"{level:g}" for level in each.levels)
    strays = "".join(f"; {stray}" for stray in each.strays)
    return f"{levels or f'{each.low:.6g} to {each.high:.6g}'}{strays}"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
