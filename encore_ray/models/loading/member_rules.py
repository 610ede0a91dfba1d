"""The rules of a model, shared out among its members and checked against their heads."""

import json
import logging
import re
from collections.abc import Sequence
from pathlib import Path

from encore_ray.errors import ModelError
from encore_ray.models.families.model_folder import Head, Opened
from encore_ray.models.forward.heads import num_outputs
from encore_ray.models.spec.files import RULES_FILE
from encore_ray.rules import RuleSet, slug

logger = logging.getLogger("encore_ray")


def rules_by_member(folder: Path, members: Sequence[Opened], rules: RuleSet | None) -> list[RuleSet]:
    """The rules of each member: those that follow, as many as its heads are outputs of.

    Args:
        folder: of the model, with a rules.yaml unless rules are given.
        members: in order.

    Raises:
        ModelError: there are no rules (the message holds a rules.yaml to complete), not one head a rule, or rules that
            bear the names of other heads.
        DataError: rules.yaml is wrong.
    """
    if rules is None and (folder / RULES_FILE).exists():
        rules = RuleSet.load(folder / RULES_FILE)
    if rules is None:
        raise ModelError(_ask_for_rules(folder, [head for opened in members for head in opened.heads]))
    heads = [head for opened in members for head in opened.heads]
    rules = in_order_of_heads(folder, rules, heads)
    parts: list[RuleSet] = []
    rest = list(rules)
    for opened in members:
        size = 1
        while size < len(rest) and num_outputs(RuleSet(rest[:size])) < len(opened.heads):
            size += 1
        if rest:
            parts.append(RuleSet(rest[:size]))
        rest = rest[size:]
    if rest or [num_outputs(part) for part in parts] != [len(opened.heads) for opened in members]:
        counts = [str(len(opened.heads)) for opened in members]
        raise ModelError(
            f"{folder} has {' + '.join(counts)} head outputs, but its {len(rules)} rules need {num_outputs(rules)} "
            "(one a rule; one a level for link expected_level). Give one rule a head, in the order of the heads."
        )
    return parts


def in_order_of_heads(folder: Path, rules: RuleSet, heads: Sequence[Head]) -> RuleSet:
    """The rules as the heads lie: by name where they are called as the heads are, else as they are given.

    Raises:
        ModelError: some bear the names of other heads than they would be given to.
    """
    names_K, labels_O = [_plain(rule.name) for rule in rules], [_plain(head.label) for head in heads]
    if len(names_K) != len(labels_O) or len(set(labels_O)) < len(labels_O):
        return rules
    astray = [k for k, name in enumerate(names_K) if name in labels_O and labels_O[k] != name]
    if not astray:
        return rules
    if sorted(names_K) != sorted(labels_O):
        k = astray[0]
        raise ModelError(
            f"{folder}: rule {k + 1} is called {rules.names[k]}, which is head {labels_O.index(names_K[k]) + 1} of the "
            f"model, and head {k + 1} is {heads[k].label}. Give one rule a head, in the order of the heads: "
            f"{', '.join(head.label for head in heads)}."
        )
    logger.warning(
        "The rules of %s are in another order than its heads. They are matched by name: %s.",
        folder,
        ", ".join(head.label for head in heads),
    )
    return RuleSet([list(rules)[names_K.index(label)] for label in labels_O])


def _plain(name: str) -> str:
    """A name as it is compared: without case, and with one sign for all that separates words."""
    return re.sub(r"[^a-z0-9]+", "-", slug(name, ()).casefold()).strip("-")


def _ask_for_rules(folder: Path, heads: list[Head]) -> str:
    lines: list[str] = []
    names: list[str] = []
    open_ends = any(head.scale is None for head in heads)
    for head in heads:
        names.append(slug(head.label, names))
        lo, hi = head.scale or ("?", "?")
        lines += [
            f"- name: {json.dumps(names[-1])}",
            f"  text: {json.dumps(head.label, ensure_ascii=False)}",
            f"  higher_is: {head.higher_is or '?   # better or worse'}",
            f"  scale: {{lo: {lo}, hi: {hi}}}",
        ]
    return (
        f"{folder} has no {RULES_FILE}, so what its {len(heads)} heads mean is not known. Complete this, and "
        "put it there or give it as the rules:\n\n" + "\n".join(lines) + (_OPEN_ENDS if open_ends else "")
    )


_OPEN_ENDS = (  # a comment, which may stay in the file
    "\n# Where the ends of a reward are not known, begin with wide ones, as {lo: -50, hi: 50}: `weigh` names scores "
    "beyond them,\n# and takes corrected ones without scoring anew."
)
