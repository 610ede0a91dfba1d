"""A comparison in words: which world the corpus looks like, what ENCORE buys here, and what to do next.

Everything is read from the content of comparison.json, so that the words and the figures cannot disagree.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from encore_ray.composition.compare.decision import is_better, name_weights, turned_rules, write_points
from encore_ray.composition.consensus.verdict import CLEAR_P as CLEAR_P
from encore_ray.composition.consensus.verdict import NOISE, SIGNAL, count_rules, name_direction, write_p
from encore_ray.composition.consensus.verdict import UNCLEAR as UNCLEAR
from encore_ray.composition.weigh.flags import DEGENERATE, MIN_ACTIVE, degenerate_rules

COIN = 0.02


def name_world(correlation: Mapping[str, Any]) -> str:
    """What entropy says of accuracy: a Pearson r with p < .05 whose interval leaves out 0, or unclear.

    Args:
        correlation: the ``entropy_accuracy`` object of comparison.json, or that of weights.json, which has no interval.
    """
    return name_direction(correlation)


def write_verdict(comparison: Mapping[str, Any]) -> str:
    """A few sentences: which weights to use, what to do first, and what that rests on."""
    decision = comparison["decision"]
    sentences = [decision["headline"], _first_steps(comparison), _alternatives(comparison), _vetoes(comparison)]
    if decision["num_rules"] > 1:
        label_free = write_label_free_choice(comparison.get("label_free"))
        sentences += [_encore(comparison), label_free, _best(comparison), _world(comparison)]
    return " ".join(sentence for sentence in sentences if sentence)


def write_warnings(comparison: Mapping[str, Any], *, left_out: Sequence[str]) -> list[str]:
    """Sentences about the comparison itself, beyond those about weights and rules."""
    warnings = list(left_out)
    correlations = comparison["correlations"]
    if correlations["redundant"]:
        pairs, more = correlations["redundant"][:5], correlations["num_redundant"] - 5
        named = "; ".join(f"{pair['a']} and {pair['b']} (r = {pair['r']:+.2f})" for pair in pairs)
        named += f"; and {more:,} more" if more > 0 else ""
        warnings.append(
            f"Rules that tell the same story count twice: {named}. Their score differences hardly differ: try "
            "one of each."
        )
    coins = [rule for rule in comparison["rules"] if _is_coin(rule)]
    if coins:
        named = ", ".join(f"{rule['name']} ({rule['accuracy']:.1%}, weight {rule['weight']:.1%})" for rule in coins[:5])
        more = f" and {len(coins) - 5} more" if len(coins) > 5 else ""
        warnings.append(
            f"Rules whose scores vary but agree with the labels no better than a coin: {named}{more}. Their "
            "weight adds noise to every margin."
        )
    size = comparison["sample_size"]
    if size["enough"] is False:
        warnings.append(
            f"ENCORE weights are known to within {size['weight_error']:.1%} at {comparison['num_pairs']:,} pairs; for "
            f"{size['target']:.0%} about {size['needed_pairs']:,} pairs are needed."
        )
    if not comparison["heldout"]["num_pairs"]:
        warnings.append("No pair is held out: there are too few resampling keys to judge schemes that learn.")
    warnings += _selection_warnings(comparison)
    lost = _lost_to_length(comparison)
    if lost:
        encore = _scheme(comparison, "encore")
        warnings.append(
            f"The trivial rule {lost['name']} agrees with {lost['all']['accuracy']:.1%} of the labels, ENCORE with "
            f"{encore['all']['accuracy']:.1%}: it does not beat the length of a response."
        )
    return warnings


def _selection_warnings(comparison: Mapping[str, Any]) -> list[str]:
    """That selected rules are right no more often than rules drawn at random, where they compete and it is so."""
    schemes = {scheme["name"]: scheme for scheme in comparison["schemes"]}
    if "selected" not in schemes:
        return []
    selected, drawn = (schemes[name]["all"]["accuracy"] for name in ("selected", "random_selected"))
    if selected > drawn:
        return []
    return [
        f"The rules selected for each pair agree with {selected:.1%} of the labels, as many drawn at random with "
        f"{drawn:.1%}: this selection buys nothing here."
    ]


def write_label_free_choice(found: Mapping[str, Any] | None) -> str:
    """Which label-free scheme is best and whether that is clear, and what choosing without labels costs here."""
    if found is None:
        return ""
    sentences = []
    if found["second"] is not None:
        alike = f" (and so {_listed(found['alike'])})" if found["alike"] else ""
        clear = "significantly better" if _sign(found["difference"]) > 0 else "not a significant difference"
        sentences.append(
            f"Of the schemes that look at no label {found['best']}{alike} is best with {found['accuracy']:.1%}: "
            f"{write_points(found['difference'], ' over prompts')} against the next, {found['second']}, {clear}."
        )
    heldout = found["heldout"]
    if heldout is not None:
        why = "consensus is trusted" if found["trusted"] else "consensus is not trusted"
        chosen = f"Without labels one would choose {found['choice']} here ({why})"
        if heldout["best"] == found["choice"] or heldout["difference"]["value"] == 0:
            sentences.append(f"{chosen}: on the held-out pairs no scheme is right more often.")
        else:
            learned = ", which learns from labels" if heldout["uses_labels"] else ""
            clear = "" if _sign(heldout["difference"]) < 0 else ", not a significant difference"
            points = write_points(heldout["difference"], " over prompts")
            sentences.append(
                f"{chosen}: on the held-out pairs {points} against the best, {heldout['best']}{learned}{clear}."
            )
    return " ".join(sentences)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)


def _scheme(comparison: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return next(scheme for scheme in comparison["schemes"] if scheme["name"] == name)


def _world(comparison: Mapping[str, Any]) -> str:
    found = comparison["entropy_accuracy"]
    if found["pearson"] is None or found["pearson_p"] is None:
        return (
            "Whether entropy tells how well a rule agrees with the labels cannot be said: it takes three rules that "
            "differ in both."
        )
    interval = _without_noise(found)
    num_groups = (comparison.get("consensus") or {"num_groups": found["num_rules"]})["num_groups"]
    num_rules = count_rules(found["num_rules"], num_groups)
    measured = f"(Pearson r = {found['pearson']:+.2f}, {write_p(found['pearson_p'])} over {num_rules}{interval})"
    if comparison["world"] == NOISE:
        return (
            f"Rules with lower entropy agree more with the labels {measured}: noise drives entropy here, which is what "
            "ENCORE builds on."
        )
    if comparison["world"] == SIGNAL:
        return (
            f"Rules with lower entropy agree less with the labels {measured}: signal drives entropy here, the opposite "
            "of what ENCORE builds on."
        )
    return f"Entropy does not clearly tell how well a rule agrees with the labels here {measured}."


def _without_noise(found: Mapping[str, Any]) -> str:
    """What r is without the noise of the pairs; an earlier version's interval is of another figure."""
    if found["pearson_low"] is None or "pearson_noise_free" not in found:
        return ""
    value = "not known" if found["pearson_noise_free"] is None else f"{found['pearson_noise_free']:+.2f}"
    return (
        f"; of just these rules, without the noise of the pairs, {value}, 95% {found['pearson_low']:+.2f} to "
        f"{found['pearson_high']:+.2f} over prompts"
    )


def _encore(comparison: Mapping[str, Any]) -> str:
    encore, uniform = _scheme(comparison, "encore"), _scheme(comparison, "uniform")
    difference = encore["difference_to_uniform_all"]
    verdict = {1: "significantly better", -1: "significantly worse", 0: "no significant difference"}[_sign(difference)]
    return (
        f"Over all {encore['all']['num_pairs']:,} pairs {name_weights('encore', comparison)} agrees with "
        f"{encore['all']['accuracy']:.1%} of the labels, uniform weights with {uniform['all']['accuracy']:.1%}: "
        f"{write_points(difference, ' over prompts')}, {verdict}{_best_temperature(comparison)}."
    )


def _vetoes(comparison: Mapping[str, Any]) -> str:
    found = comparison.get("decided_by_veto")
    if not found:
        return ""
    named = _listed(list(found["rules"]))
    if not found["num_pairs"]:
        return f"The vetoes of {named} decide no pair."
    return (
        f"The vetoes of {named} decide {found['num_pairs']:,} of {comparison['num_pairs']:,} pairs under every scheme, "
        f"{found['right'] / found['num_pairs']:.1%} of them as labelled."
    )


def _best(comparison: Mapping[str, Any]) -> str:
    if not comparison["heldout"]["num_pairs"]:
        return ""
    best = _best_heldout(comparison)
    num_pairs = comparison["heldout"]["num_pairs"]
    if best["name"] == "uniform":
        return f"On the {num_pairs:,} held-out pairs no scheme beats uniform weights."
    learned = ", which learns from labels," if best["uses_labels"] else ""
    num_schemes, num_different = _count_schemes(comparison)
    of_all = f"{num_schemes}" if num_different == num_schemes else f"{num_different} that differ, of {num_schemes},"
    clear = "" if is_better(best["difference_to_uniform"], best_of=num_different - 1) else ", not a clear difference"
    return (
        f"On the {num_pairs:,} held-out pairs {best['name']}{learned} is best of {of_all} with "
        f"{best['heldout']['accuracy']:.1%}: "
        f"{write_points(best['difference_to_uniform'], ' over prompts')} against uniform weights{clear}."
    )


def _count_schemes(comparison: Mapping[str, Any]) -> tuple[int, int]:
    """How many schemes there are, and how many different ones: some give the same weights where rules are few."""
    known = [scheme for scheme in comparison["schemes"] if scheme["heldout"]["accuracy"] is not None]
    different: set[Any] = set()
    for scheme in known:
        weights = scheme.get("weights")
        total = sum(map(abs, weights.values())) if weights else 0.0
        different.add(tuple(round(weight / total, 9) for weight in weights.values()) if total else scheme["name"])
    return len(known), len(different)


def _first_steps(comparison: Mapping[str, Any]) -> str:
    """What is to be mended before any weights count: of the rules that have a weight."""
    rules = comparison["rules"]
    first = []
    if turned := turned_rules((rule["name"], rule["weight"], rule["flags"]) for rule in rules):
        first.append(f"check the direction (higher_is) of {_listed(turned)}, right on under half of the labels")
    degenerate = degenerate_rules((r["name"], r["weight"], r["flags"], r.get("active_pair_share")) for r in rules)
    if degenerate.wide:
        first.append(f"correct the scale of {_listed(degenerate.wide)} in rules.yaml, far too wide for the scores")
    if degenerate.still:
        remedy = f"weigh.min_active {MIN_ACTIVE:.2f}" if degenerate.can_drop else "no other rule would be left"
        verb = "drop" if degenerate.can_drop else "replace"
        first.append(f"{verb} the rules whose scores hardly vary ({remedy})")
    return f"First {' and '.join(first)}, then compare again." if first else ""


def _alternatives(comparison: Mapping[str, Any]) -> str:
    """Weights that learn from labels, where they are clearly above the ones to use on the pairs held out."""
    best, chosen = _best_heldout(comparison), _scheme(comparison, comparison["decision"]["scheme"])
    if not best["uses_labels"] or not _clearly_above(best, chosen):
        return ""
    return (
        f"Or fit weights to labels ({best['name']}) if new pairs will be labelled like these: on the held-out pairs "
        f"they have {best['heldout']['accuracy']:.1%}, these {chosen['heldout']['accuracy']:.1%}."
    )


def _best_temperature(comparison: Mapping[str, Any]) -> str:
    """Which temperature of the sweep is right most often, and whether that is above the interval of the present one."""
    cells = [cell for cell in comparison["sweep"]["cells"] if cell["num_bins"] is None]
    now = next(cell for cell in cells if cell["temperature"] == comparison["temperature"])
    best = max(cells, key=lambda cell: (cell["accuracy"], cell is now))
    if best is now:
        return ""
    clear = "above that interval" if best["accuracy"] > now["accuracy_high"] else "within the interval of this one"
    tried = f"{min(c['temperature'] for c in cells):g} to {max(c['temperature'] for c in cells):g}"
    return f"; of the temperatures tried, {tried}, {best['temperature']:g} has most, {best['accuracy']:.1%}, {clear}"


def _best_heldout(comparison: Mapping[str, Any]) -> Mapping[str, Any]:
    """The scheme that is right most often on the held-out pairs; the first of equal ones, uniform before all."""
    known = [scheme for scheme in comparison["schemes"] if scheme["heldout"]["accuracy"] is not None]
    ordered = sorted(known, key=lambda scheme: scheme["name"] != "uniform")
    return max(ordered, key=lambda scheme: scheme["heldout"]["accuracy"]) if ordered else comparison["schemes"][0]


def _clearly_above(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    low, value = one["difference_to_uniform"]["low"], other["difference_to_uniform"]["value"]
    return low is not None and value is not None and low > value


def _lost_to_length(comparison: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The length baseline that agrees with as many labels as ENCORE, or more."""
    baselines = comparison["baselines"]
    if not baselines:
        return None
    best = max(baselines, key=lambda baseline: baseline["all"]["accuracy"])
    return best if best["all"]["accuracy"] >= _scheme(comparison, "encore")["all"]["accuracy"] else None


def _is_coin(rule: Mapping[str, Any]) -> bool:
    """Whether a rule with weight is known to be about half right: 95 % within two points of .5, with .5 inside."""
    if not rule["weight"] or rule["accuracy_low"] is None or DEGENERATE & set(rule["flags"]):
        return False
    return 0.5 - COIN <= rule["accuracy_low"] <= 0.5 <= rule["accuracy_high"] <= 0.5 + COIN


def _sign(difference: Mapping[str, Any]) -> int:
    """+1 or -1 where the interval leaves out 0, else 0."""
    if difference["low"] is None:
        return 0
    return 1 if difference["low"] > 0 else -1 if difference["high"] < 0 else 0
