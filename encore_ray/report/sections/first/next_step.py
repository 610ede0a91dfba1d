"""What to do with the result: one sentence and the command for it, to be copied."""

import shlex
from collections.abc import Mapping
from typing import Any

from encore_ray.artifacts import Comparison
from encore_ray.composition.compare.decision import advised_options, turned_rules
from encore_ray.report.data.contents import ReportContents
from encore_ray.report.drawing.markup import Markup, tag
from encore_ray.schema import COMPARISON_FILE, CONFIG_FILE


def next_step(contents: ReportContents) -> Markup | None:
    """The sentence and the command; None where the run's place is not known, or rules must be mended by hand."""
    place = contents.place
    if place is None or contents.scored is None or contents.weights is None:
        return None
    comparison = contents.comparison
    if comparison is None:
        return _shown("To compare this with every other weighting:", _words("compare", "--run", place))
    if comparison.decision is None or not comparison.decision.beats_coin:
        return None
    turned = turned_rules((rule.name, rule.weight, rule.flags) for rule in comparison.rules)
    if turned:
        why = f"To look at the direction (higher_is) of {', '.join(turned[:3])}, right on under half of the labels:"
        return _shown(why, _words("inspect", f"{place}/{COMPARISON_FILE}"))
    options = _changed(contents, comparison)
    if options:
        why = "To weigh so, and compare again" if "min_active" in options else "To weigh so"
        return _shown(f"{why}; scores are kept:", _weighed_anew(place, options, contents.config))
    return _shown(
        "This run weighs so. To train on its rewards:", _words("export", "--run", place, "--output", f"{place}-trl")
    )


def _changed(contents: ReportContents, comparison: Comparison) -> dict[str, str]:
    """Options of `weigh` that are to differ from the run's."""
    assert contents.weights is not None and comparison.decision is not None
    rules = ((rule.name, rule.weight, rule.flags, rule.active_pair_share) for rule in contents.weights.rules)
    return advised_options(comparison.decision.scheme, contents.weights.scheme, rules)


def _weighed_anew(place: str, options: Mapping[str, str], config: Mapping[str, Any] | None) -> str:
    if config and _is_whole(config):
        sets = [word for name, value in options.items() for word in ("--set", f"weigh.{name}={value}")]
        moved = [] if config.get("run") == place else ["--run", place]
        return _words("run", f"{place}/{CONFIG_FILE}", *moved, *sets, "--overwrite")
    flags = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", value)]
    passes = [("weigh", "--run", place, *flags, "--overwrite"), ("compose", "--run", place, "--overwrite")]
    passes += [(name, "--run", place) for name in ("evaluate", "compare")]
    return " && ".join(_words(*words) for words in passes)


def _is_whole(config: Mapping[str, Any]) -> bool:
    """Whether it is the configuration of a job, with nothing starred out of it."""
    return bool(config.get("inputs")) and "***" not in str(config)


def _words(*words: str) -> str:
    return shlex.join(["encore-ray", *words])


def _shown(sentence: str, command: str) -> Markup:
    """The command breaks between its words, and within one only where it is longer than a line."""
    words = [[tag("span", word), " "] for word in command.split(" ")[:-1]]
    code = tag("code", words, tag("span", command.rpartition(" ")[2]))
    return tag("div", tag("p", sentence), tag("div", code, class_="copy"), class_="next")
