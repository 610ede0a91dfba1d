"""What weights and a comparison are asked for, as facts that are known before a score is read."""

from typing import Any

from encore_ray.composition.scales.binning import choose_binning
from encore_ray.composition.weigh.schemes import find_scheme
from encore_ray.composition.weigh.weights import Weights, weighed_rules
from encore_ray.config import WeighOptions
from encore_ray.folder.provenance import changes
from encore_ray.folder.reading.tables import by_content, table_units
from encore_ray.redaction import redact
from encore_ray.rules import RuleSet
from encore_ray.storage import absolute, fingerprint

_SHARED = ("temperature", "bins", "log_base", "estimator", "min_active", "score_range", "clip", "ratings", "rules")


def table_digest(uri: str) -> str:
    """What a table of a run holds, in one digest; errors as of `table_units`."""
    return fingerprint([[unit.unit, unit.digest] for unit in by_content(table_units(uri))])


def weigh_facts(rules: RuleSet, options: WeighOptions) -> dict[str, Any]:
    """What weights are asked for: nothing of the options that their scheme does not look at."""
    scheme = find_scheme(options.scheme).of_options(options)
    return {"scheme": scheme.name, **scheme.params, "by_group": options.by_group, **_counted(rules, options)}


def compare_facts(rules: RuleSet, options: WeighOptions) -> dict[str, Any]:
    """What a comparison is asked for: which scheme the options name does not matter."""
    own = ("temperature", "num_rules", "seed", "force_consensus", "by_group")
    return {**{name: getattr(options, name) for name in own}, **_counted(rules, options)}


def unlike_weights(weights: Weights, rules: RuleSet, options: WeighOptions) -> str:
    """What a comparison by these options and rules would have other than the weights, in words; "" for nothing."""
    asked = {**compare_facts(rules, options), "rules": weighed_rules(rules)}
    found = weights.facts
    shared = [name for name in _SHARED if name != "temperature" or found[name] is not None]
    return changes({name: found.get(name) for name in shared}, {name: asked[name] for name in shared})


def rule_facts(rules: RuleSet) -> list[Any]:
    """The rules, whose texts decide no weight."""
    return [{key: value for key, value in rule.to_dict().items() if key != "text"} for rule in rules]


def _counted(rules: RuleSet, options: WeighOptions) -> dict[str, Any]:
    """How scores are counted."""
    cells = (choose_binning(rule, num_bins=options.num_bins, levels=options.levels) for rule in rules)
    names = ("edges", "log_base", "estimator", "min_active", "score_range", "clip")
    return {
        "bins": [[binning.kind, binning.num_cells] for binning in cells],
        "ratings": redact(absolute(options.ratings)) if options.ratings else None,
        **{name: getattr(options, name) for name in names},
    }
