"""Which weights to use on a corpus: one decision from the figures of a comparison, for its headline and all advice.

Only schemes that look at no label and that `weigh` can make are chosen from: they can be judged by all pairs. One is
chosen over uniform weights where it is better even as the best of so many, its interval widened for them.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from statistics import NormalDist
from typing import Any

from encore_ray.composition.weigh.flags import MIN_ACTIVE, degenerate_rules
from encore_ray.composition.weigh.schemes import SCHEMES

_CANDIDATES = frozenset(
    scheme.name for scheme in SCHEMES if not scheme.lesson and not scheme.why_only_compared and scheme.name != "random"
)


def advised_options(
    decided: str, weighed: str, rules: Iterable[tuple[str, float, Collection[str], float | None]]
) -> dict[str, str]:
    """Options of `weigh` that are to differ from those that were weighed with, for all who give the command.

    Args:
        decided: the scheme to use. weighed: the scheme of the weights.
        rules: of the weights: name, weight, flags and share of active pairs of each.
    """
    found = degenerate_rules(rules)
    scheme = {} if decided == weighed else {"scheme": decided}
    return scheme | ({"min_active": f"{MIN_ACTIVE:.2f}"} if found.still and found.can_drop else {})


def decide(comparison: Mapping[str, Any]) -> dict[str, Any]:
    """The ``decision`` object of comparison.json.

    Args:
        comparison: its schemes and baselines; on pairs.

    Returns:
        ``scheme`` to use; ``stats`` of it on all pairs; the ``best`` of those to choose from, its difference to uniform
        weights, whether that is clear (``is_clear``) as the best of ``num_candidates`` that differ from them; of the
        better length baseline ``length``, its name and accuracy (None where no length is known); ``beats_coin``,
        ``below_coin`` where they are clearly right less often than one, and ``beats_length``; and in words a ``title``
        and a ``headline``.
    """
    uniform = next(line for line in comparison["schemes"] if line["name"] == "uniform")
    known = [line for line in comparison["schemes"] if line["name"] in _CANDIDATES and line.get("all")]
    best = max(known, key=lambda line: (line["all"]["accuracy"], line is uniform))
    equal = uniform.get("weights")
    others = [line for line in known if line is not uniform and (equal is None or line.get("weights") != equal)]
    difference = best["difference_to_uniform_all"]
    is_clear = best is not uniform and is_better(difference, best_of=len(others))
    chosen = best if is_clear else uniform
    baselines = [line for line in comparison["baselines"] or () if line["all"]["accuracy"] is not None]
    length = max(baselines, key=lambda line: line["all"]["accuracy"], default=None)
    stats = chosen["all"]
    found = {
        "scheme": chosen["name"],
        "stats": stats,
        "best": best["name"],
        "best_accuracy": best["all"]["accuracy"],
        "difference_to_uniform": difference,
        "is_clear": is_clear,
        "num_candidates": len(others),
        "length": {"name": length["name"], "accuracy": length["all"]["accuracy"]} if length else None,
        "beats_coin": stats.get("accuracy_low") is None or stats["accuracy_low"] > 0.5,
        "below_coin": stats.get("accuracy_high") is not None and stats["accuracy_high"] < 0.5,
        "beats_length": length is None or stats["accuracy"] > length["all"]["accuracy"],
        "num_rules": len(comparison["rules"]),
    }
    return found | {"title": _title(found), "headline": _headline(found, comparison)}


def is_better(difference: Mapping[str, Any], *, best_of: int = 1) -> bool:
    """Whether a scheme is above uniform weights by more than chance, even as the best of several.

    Args:
        difference: with its 95 % interval, which is widened by Bonferroni.
    """
    if difference["low"] is None or difference["value"] is None:
        return False
    wider = NormalDist().inv_cdf(1 - 0.025 / max(best_of, 1)) / NormalDist().inv_cdf(0.975)
    return bool(difference["value"] - wider * (difference["value"] - difference["low"]) > 0)


def write_points(difference: Mapping[str, Any], over: str = "") -> str:
    """A difference in percentage points with its interval; finer where a tenth would hide the side of 0 it ends on."""
    ends = [] if difference["low"] is None else [difference["low"], difference["high"]]
    decimals = 2 if any(0 < abs(100 * end) < 0.05 for end in ends) else 1
    value, *shown = (f"{100 * number:+.{decimals}f}" for number in [difference["value"], *ends])
    return f"{value} points (95% {shown[0]} to {shown[1]}{over})" if shown else f"{value} points"


def name_weights(scheme: str, comparison: Mapping[str, Any]) -> str:
    """What weights of a scheme are called in a sentence."""
    return f"ENCORE at temperature {comparison['temperature']:g}" if scheme == "encore" else scheme


def _title(found: Mapping[str, Any]) -> str:
    if found["num_rules"] == 1:
        return "One rule: there are no weights to choose"
    if found["below_coin"]:
        return "All weights are worse than a coin: look for swapped sides"
    if not found["beats_coin"]:
        return "No weights are clearly better than a coin"
    if not found["is_clear"]:
        return "Keep uniform weights"
    gained = f"{100 * found['difference_to_uniform']['value']:+.1f}"
    return f"Weigh by {found['scheme']}: {gained} points against uniform weights"


def _headline(found: Mapping[str, Any], comparison: Mapping[str, Any]) -> str:
    stats, scheme = found["stats"], found["scheme"]
    agrees = f"agree with {stats['accuracy']:.1%} of the labels{_interval(stats)}"
    against = ["50% by a coin"]
    if found["length"]:
        against.append(f"{found['length']['accuracy']:.1%} by length alone ({found['length']['name']})")
    if found["num_rules"] == 1:
        said = [f"There is one rule, so that there are no weights to choose: its scores {agrees}, {_listed(against)}."]
    elif found["is_clear"]:
        points = write_points(found["difference_to_uniform"], " over prompts")
        uniform = stats["accuracy"] - found["difference_to_uniform"]["value"]
        against.insert(1, f"{uniform:.1%} by uniform weights, {points}")
        said = [
            f"Use {name_weights(scheme, comparison)} on this corpus: of the schemes that look at no label it is best, "
            f"and its rewards {agrees}, {_listed(against)}."
        ]
    else:
        said = [f"Keep uniform weights on this corpus: their rewards {agrees}, {_listed(against)}."]
        if found["best"] != "uniform":
            points = write_points(found["difference_to_uniform"], " over prompts")
            of_many = f" as the best of {found['num_candidates']}" if found["num_candidates"] > 1 else ""
            said.append(
                f"The best scheme without labels, {name_weights(found['best'], comparison)}, has "
                f"{found['best_accuracy']:.1%}: {points}, which{of_many} is no clear difference."
            )
    if found["below_coin"]:
        said.append(
            "That is clearly worse than a coin, as where sides are swapped: look which response the labels call "
            "chosen, and at the direction (higher_is) of the rules."
        )
    elif not found["beats_coin"]:
        said.append("That is not clearly better than a coin: mend the rules before any weights.")
    elif not found["beats_length"]:
        said.append("The length of a response alone does as well or better: mend the rules before any weights.")
    return " ".join(said)


def _interval(stats: Mapping[str, Any]) -> str:
    if stats.get("accuracy_low") is None:
        return ""
    return f" (95% {stats['accuracy_low']:.1%} to {stats['accuracy_high']:.1%} over prompts)"


def _listed(against: Sequence[str]) -> str:
    return f"against {'; '.join(against)}"
