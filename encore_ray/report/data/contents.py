"""What a report is made of: the JSON contents of a run folder, any of which may be missing, and each rule's facts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from encore_ray.composition.measure.agreement import Tally
from encore_ray.report.drawing.numbers import weight_writer
from encore_ray.rules import RuleSet
from encore_ray.schema import (
    COMPARISON_FILE,
    METRICS_FILE,
    REFINE_REPORT_FILE,
    RULE_REFINE_REPORT_FILE,
    WEIGHTS_FILE,
)

Content = Mapping[str, Any]


REQUIRED_KEYS = {
    WEIGHTS_FILE: "scheme params temperature log_base num_pairs num_responses counts_sha256 effective_num_rules rules "
    "entropy_accuracy warnings fingerprint",
    METRICS_FILE: "overall subsets length_baselines margin",
    COMPARISON_FILE: "num_pairs heldout temperature rule_names schemes baselines sweep rules correlations "
    "entropy_accuracy world verdict warnings",
    REFINE_REPORT_FILE: "verdict pairs controls calibration density_width",
    RULE_REFINE_REPORT_FILE: "verdict pairs rules",
}


def missing_keys(name: str, content: Any) -> list[str]:
    """The keys that tables and report take for granted and a file lacks: it is damaged, or of another version.

    Args:
        name: weights.json, metrics.json, comparison.json, or the report of a refinement.
        content: what a file of that kind holds; one that is no object lacks all.
    """
    return [key for key in REQUIRED_KEYS[name].split() if not isinstance(content, dict) or key not in content]


@dataclass(frozen=True)
class ReportContents:
    """The contents of a run, as its files hold them; None for what the run does not have.

    Attributes:
        title: what to call the run, usually its folder.
        weights, metrics, comparison: of weights.json, metrics.json and comparison.json.
        refined, refined_rules: of refine/report.json and refine/rules/report.json.
        prepared, scored: counts of the two passes; `reason.<reason>` counts rows in quarantine.
        selection: rules a pair (`num_rules`), what selected them (`by`), and the `counts` of the pass.
        rules: of rules.yaml, for their texts.
        config: the resolved configuration. Whoever passes it removes credentials first.
        model: facts of the scores: digest, revision, dtype, device, budget, or that they are ratings in the data.
        versions: of this package and of the libraries that decide a result.
    """

    title: str
    weights: Content | None = None
    metrics: Content | None = None
    comparison: Content | None = None
    refined: Content | None = None
    refined_rules: Content | None = None
    prepared: Mapping[str, int] | None = None
    scored: Mapping[str, int] | None = None
    selection: Content | None = None
    rules: RuleSet | None = None
    config: Content | None = None
    model: Content | None = None
    versions: Mapping[str, str] | None = None


@dataclass(frozen=True)
class RuleFacts:
    """Everything a report tells of one rule; None for what is not known.

    Attributes:
        text: the rule in words.
        weight: of the run's rewards; without weights.json, of ENCORE. weight_text: as it is written.
        histogram: {kind, edges | levels, chosen, rejected, single}, counts of responses a cell.
    """

    name: str
    text: str | None
    higher_is: str
    weight: float
    weight_text: str
    entropy: float
    entropy_low: float
    entropy_high: float
    accuracy: float | None
    accuracy_low: float | None
    accuracy_high: float | None
    wins: int | None
    ties: int | None
    losses: int | None
    mode_share: float
    active_pair_share: float | None
    contribution_share: float | None
    bradley_terry_weight: float | None
    flags: tuple[str, ...]
    histogram: Content | None


def rule_facts(contents: ReportContents) -> list[RuleFacts]:
    """The rules in their own order, from weights.json, comparison.json and rules.yaml, whichever there are."""
    weighed = {rule["name"]: rule for rule in contents.weights["rules"]} if contents.weights else {}
    compared = {rule["name"]: rule for rule in contents.comparison["rules"]} if contents.comparison else {}
    texts = {rule.name: rule.text for rule in contents.rules or ()}
    num_keys = contents.weights.get("num_keys") if contents.weights else None
    found = {name: {**compared.get(name, {}), **weighed.get(name, {})} for name in weighed or compared}
    write_weight = weight_writer(rule["weight"] for rule in found.values())
    return [
        _facts(rule, text=texts.get(name), weight_text=write_weight(rule["weight"]), num_keys=num_keys)
        for name, rule in found.items()
    ]


def flag_order(rule: RuleFacts) -> tuple[bool, float]:
    """Sorts flagged rules before others, the heaviest first: the order in which rules deserve a name."""
    return not rule.flags, -abs(rule.weight)


def _facts(rule: Content, *, text: str | None, weight_text: str, num_keys: int | None) -> RuleFacts:
    low, high = rule.get("accuracy_low"), rule.get("accuracy_high")
    if low is None and rule["accuracy"] is not None:
        tally = Tally(rule["wins"], rule["ties"], rule["losses"])
        interval = tally.interval(num_keys=num_keys or tally.num_pairs)
        assert interval is not None, "an accuracy is of one pair or more"
        low, high = interval.low, interval.high
    return RuleFacts(
        name=rule["name"],
        text=text,
        higher_is=rule["higher_is"],
        weight=rule["weight"],
        weight_text=weight_text,
        entropy=rule["entropy"],
        entropy_low=rule["entropy_low"],
        entropy_high=rule["entropy_high"],
        accuracy=rule["accuracy"],
        accuracy_low=low,
        accuracy_high=high,
        wins=rule["wins"],
        ties=rule["ties"],
        losses=rule["losses"],
        mode_share=rule["mode_share"],
        active_pair_share=rule["active_pair_share"],
        contribution_share=rule["contribution_share"],
        bradley_terry_weight=rule.get("bradley_terry_weight"),
        flags=tuple(rule["flags"]),
        histogram=rule.get("histogram"),
    )


@dataclass(frozen=True)
class Contender:
    """One weighting, or a trivial baseline, on the pairs that all are compared on.

    Attributes:
        kind: "encore", "uniform", "label_free", "learned" (uses labels), "elsewhere" (other rewards) or
            "baseline".
        stats: as in metrics.json, on held-out pairs; on all where none is held out.
        difference: {value, low, high} of its accuracy to uniform's on the same pairs, or None.
        everywhere: stats on all pairs; None where it uses labels.
    """

    name: str
    kind: str
    params: Content
    stats: Content
    difference: Content | None
    everywhere: Content | None
    difference_everywhere: Content | None
    subsets: Mapping[str, Content]
    effective_num_rules: float | None
    reward_sd: float | None


def contenders(comparison: Content) -> list[Contender]:
    """All weightings, other rewards and baselines with an accuracy on held-out pairs, the best first.

    Ties keep their order. Where no pair is held out they are judged on all pairs.
    """
    part, difference = ("heldout", "difference_to_uniform")
    if not has_heldout(comparison):
        part, difference = ("all", "difference_to_uniform_all")
    entries = [(entry, _kind(entry)) for entry in comparison["schemes"]]
    entries += [(entry, "elsewhere") for entry in comparison.get("beside") or ()]
    entries += [(entry, "baseline") for entry in comparison["baselines"] or ()]
    found = [
        Contender(
            name=entry["name"],
            kind=kind,
            params=entry.get("params") or {},
            stats=entry[part],
            difference=entry.get(difference),
            everywhere=entry.get("all"),
            difference_everywhere=entry.get("difference_to_uniform_all"),
            subsets=entry.get("subsets") or {},
            effective_num_rules=entry.get("effective_num_rules"),
            reward_sd=entry.get("reward_sd"),
        )
        for entry, kind in entries
        if entry[part] and entry[part]["accuracy"] is not None
    ]
    return sorted(found, key=lambda contender: -contender.stats["accuracy"])


def has_heldout(comparison: Content) -> bool:
    """Whether any pair is held out."""
    return bool((comparison["heldout"] or {}).get("num_pairs"))


def find_contender(comparison: Content | None, name: str) -> Contender | None:
    """The first contender of that name."""
    found = contenders(comparison) if comparison else []
    return next((contender for contender in found if contender.name == name), None)


def _kind(scheme: Content) -> str:
    if scheme["name"] in ("encore", "uniform"):
        return scheme["name"]
    return "learned" if scheme["uses_labels"] else "label_free"
