"""What can be said of a corpus without a label, in words.

Everything is read from the stored figures of a consensus, so that the words and the figures cannot disagree.
"""

from collections.abc import Mapping
from typing import Any

from encore_ray.composition.consensus.consensus import MIN_EXPLAINED, MIN_GROUPS

NOISE, SIGNAL, UNCLEAR = "noise_drives_entropy", "signal_drives_entropy", "unclear"
UNKNOWN = "unknown"  # the rules share no single direction
CLEAR_P = 0.05  # two-sided: above it, a correlation over so few rules says nothing
SHARED = 0.5  # a correlation with the length of responses from which it may be all that rules share

IMPOSSIBLE = (
    "Without labels nothing can be said of what drives entropy here: no two responses to one prompt stand in one unit, "
    "to see how the rules agree on them."
)
ASK_WITHOUT_LABELS = (
    "What drives entropy can also be told without labels, by how the rules agree: `encore-ray compare` does, and so "
    "does weigh.scheme consensus."
)


def name_direction(correlation: Mapping[str, Any]) -> str:
    """What a correlation with entropy says: a Pearson r with p < .05 whose interval leaves out 0, or unclear.

    Args:
        correlation: as stored, with or without an interval.
    """
    r, p = correlation["pearson"], correlation["pearson_p"]
    low, high = (correlation.get(f"pearson_{end}", r) for end in ("low", "high"))
    if None in (r, p, low, high) or p >= CLEAR_P:
        return UNCLEAR
    return NOISE if high < 0 else SIGNAL if low > 0 else UNCLEAR


def name_label_free_world(consensus: Mapping[str, Any]) -> str:
    """What entropy says of signal and noise, told by how the rules agree alone."""
    return name_direction(consensus["entropy_loading"]) if consensus["trusted"] else UNKNOWN


def write_label_free_verdict(consensus: Mapping[str, Any]) -> str:
    """One or two sentences, given the stored figures of a consensus."""
    world = name_label_free_world(consensus)
    said = {
        NOISE: "noise drives entropy: rules with lower entropy go further with what all rules have in common, which is "
        "what ENCORE builds on",
        SIGNAL: "signal drives entropy: rules with lower entropy go less far with what all rules have in common, the "
        "opposite of what ENCORE builds on",
        UNCLEAR: "the rules share one direction, and entropy does not clearly tell how far each goes with it",
        UNKNOWN: f"what drives entropy cannot be known: {why_not_trusted(consensus)}",
    }[world]
    measured = f" ({_measured(consensus['entropy_loading'], consensus['num_groups'])})" if world != UNKNOWN else ""
    return f"Without labels: {said}{measured}.{_nuisance(consensus)}"


def why_not_trusted(consensus: Mapping[str, Any]) -> str:
    """What keeps a consensus from being trusted, as a clause."""
    num_groups = consensus["num_groups"]
    if num_groups < MIN_GROUPS:
        found = "1 group of rules differs" if num_groups == 1 else f"{num_groups} groups of rules differ"
        return f"{found}, which is not enough (it takes {MIN_GROUPS}: one factor fits almost any four)"
    explained = consensus["explained"] or 0.0
    return (
        f"the rules share no single direction, one factor explains {explained:.3f} of how {num_groups} groups of them "
        f"agree (it takes {MIN_EXPLAINED:g})"
    )


def _measured(correlation: Mapping[str, Any], num_groups: int) -> str:
    r, p = correlation["pearson"], correlation["pearson_p"]
    low, high = correlation.get("pearson_low"), correlation.get("pearson_high")
    if r is None or p is None:
        return "no correlation: it takes three rules that differ in both"
    interval = "" if low is None or high is None else f", 95% {low:+.2f} to {high:+.2f} over prompts"
    num_rules = count_rules(correlation["num_rules"], num_groups)
    return f"r(entropy, loading) = {r:+.2f}{interval}, {write_p(p)}, {num_rules}"


def write_p(p: float) -> str:
    """A p-value to three decimals."""
    return f"p = {p:.3f}" if p >= 0.001 else "p < 0.001"


def count_rules(num_rules: int, num_groups: int) -> str:
    """How many rules a correlation is over, and how many of them differ, by which its p-value goes."""
    return f"{num_rules} rules" if num_groups >= num_rules else f"{num_rules} rules, of which {num_groups} differ"


def _nuisance(consensus: Mapping[str, Any]) -> str:
    """That what rules share may be the length of responses, where it is known and goes with the consensus."""
    length = consensus.get("length")
    if not consensus["trusted"] or not length or length["shorter_wins"] is None:
        return ""
    r = length["shorter_wins"]
    if abs(r) < SHARED:
        return ""
    which = "shorter" if r > 0 else "longer"
    return f" But the consensus goes with the {which} response (r = {abs(r):+.2f}): what rules share may be the length."
