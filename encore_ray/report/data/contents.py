"""What a report is made of: the files of a run folder, any of which may be missing, its rules, and who is compared."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from encore_ray.artifacts import Comparison, LabelErrors, Metrics, RefineReport, RuleRefineReport, WeightsFile
from encore_ray.artifacts.comparison import ComparedRule, Line
from encore_ray.artifacts.figures import DecidedByVeto, Difference, Stats
from encore_ray.composition.compare.labels import LABELS
from encore_ray.report.data.pairs import PairTexts
from encore_ray.report.drawing.numbers import weight_writer
from encore_ray.rules import RuleSet


@dataclass(frozen=True)
class SelectionSummary:
    """How rules were selected for pairs.

    Attributes:
        num_rules: for each pair. by: what selected them.
        counts: of the pass; `selected.<rule>` counts the pairs that a rule is selected for.
    """

    num_rules: int
    by: str
    counts: Mapping[str, int]


@dataclass(frozen=True)
class ReportContents:
    """The contents of a run; None for what the run does not have.

    Attributes:
        title: what to call the run, usually its folder.
        place: where the run lies, for commands to paste; None where it is not told. made_on: date, as 2026-01-31.
        refined, refined_rules: what a refinement buys, of the composed reward and of each rule's scores.
        label_errors: the labels that a refinement finds least probable.
        prepared, scored: counts of the two passes; `reason.<reason>` counts rows in quarantine.
        others: counts of every other finished pass that sets rows aside, by its name.
        rules: of rules.yaml, for their texts.
        config: the resolved configuration. Whoever passes it removes credentials first.
        model: facts of the scores: digest, revision, dtype, device, budget, or that they are ratings in the data.
        versions: of this package and of the libraries that decide a result.
        examples: texts of the pairs that metrics and label errors name, by pair_id, as far as they are known.
    """

    title: str
    place: str | None = None
    made_on: str | None = None
    weights: WeightsFile | None = None
    metrics: Metrics | None = None
    comparison: Comparison | None = None
    refined: RefineReport | None = None
    refined_rules: RuleRefineReport | None = None
    label_errors: LabelErrors | None = None
    prepared: Mapping[str, int] | None = None
    scored: Mapping[str, int] | None = None
    selection: SelectionSummary | None = None
    others: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    rules: RuleSet | None = None
    config: Mapping[str, Any] | None = None
    model: Mapping[str, Any] | None = None
    versions: Mapping[str, str] | None = None
    examples: Mapping[str, PairTexts] = field(default_factory=dict)


class ReportedRule(ComparedRule):
    """Everything a report tells of one rule: its figures in weights.json over those in comparison.json, and its text.

    Attributes:
        text: the rule in words; None where no rules.yaml tells.
        weight: of the run's rewards; without weights.json, of ENCORE. weight_text: as it is written.
    """

    text: str | None
    weight_text: str


def reported_rules(contents: ReportContents) -> list[ReportedRule]:
    """The rules in their own order, from weights.json, comparison.json and rules.yaml, whichever there are."""
    weighed = {rule.name: rule for rule in contents.weights.rules} if contents.weights else {}
    compared = {rule.name: rule for rule in contents.comparison.rules} if contents.comparison else {}
    texts = {rule.name: rule.text for rule in contents.rules or ()}
    num_keys = contents.weights.num_keys if contents.weights else None
    known = weighed or compared
    write_weight = weight_writer(rule.weight for rule in known.values())
    rules = []
    for name, rule in known.items():
        found = {**dict(compared.get(name, ())), **dict(rule)}
        if found.get("accuracy_low") is None and (interval := rule.interval(num_keys=num_keys)):
            found |= {"accuracy_low": interval.low, "accuracy_high": interval.high}
        found |= {"text": texts.get(name), "weight_text": write_weight(rule.weight)}
        rules.append(ReportedRule.model_validate(found))
    return rules


def find_vetoes(contents: ReportContents) -> DecidedByVeto | None:
    """What hard rules decide, of the run's rewards, else of all schemes; None where no rule has a veto."""
    found = contents.metrics.decided_by_veto if contents.metrics else None
    return found or (contents.comparison.decided_by_veto if contents.comparison else None)


def flag_order(rule: ReportedRule) -> tuple[bool, float]:
    """Sorts flagged rules before others, the heaviest first: the order in which rules deserve a name."""
    return not rule.flags, -abs(rule.weight)


@dataclass(frozen=True)
class Contender:
    """One weighting, or a trivial baseline, on the pairs that all are compared on.

    Attributes:
        kind: "encore", "uniform", "label_free", "learned" (uses labels), "elsewhere" (other rewards) or
            "baseline".
        accuracy: on held-out pairs; on all where none is held out. stats: all figures of these pairs.
        difference: of its accuracy to uniform's on the same pairs.
    """

    line: Line
    kind: str
    accuracy: float
    stats: Stats
    difference: Difference | None

    @property
    def name(self) -> str:
        return self.line.name


def label_of(name: str) -> str:
    """What people call a scheme or baseline of that name."""
    return LABELS.get(name, name)


def contenders(comparison: Comparison) -> list[Contender]:
    """All weightings, other rewards and baselines with an accuracy on held-out pairs, the best first.

    Ties keep their order. Where no pair is held out they are evaluated on all pairs.
    """
    entries = [(line, _kind(line)) for line in comparison.schemes]
    entries += [(line, "elsewhere") for line in comparison.beside]
    entries += [(line, "baseline") for line in comparison.baselines]
    found = []
    for line, kind in entries:
        stats, difference = line.heldout, line.difference_to_uniform
        if not has_heldout(comparison):
            stats, difference = line.all, line.difference_to_uniform_all
        if stats is not None and stats.accuracy is not None:
            found.append(Contender(line, kind, stats.accuracy, stats, difference))
    return sorted(found, key=lambda contender: -contender.accuracy)


def has_heldout(comparison: Comparison) -> bool:
    """Whether any pair is held out."""
    return comparison.heldout.num_pairs > 0


def find_contender(comparison: Comparison | None, name: str) -> Contender | None:
    """The first contender of that name."""
    found = contenders(comparison) if comparison else []
    return next((contender for contender in found if contender.name == name), None)


def _kind(scheme: Line) -> str:
    if scheme.name in ("encore", "uniform"):
        return scheme.name
    return "learned" if scheme.uses_labels else "label_free"
