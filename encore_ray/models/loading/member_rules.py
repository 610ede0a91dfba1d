"""The rules of a model, shared out among its members and checked against their heads."""

import json
from collections.abc import Sequence
from pathlib import Path

from encore_ray.errors import ModelError
from encore_ray.models.families.model_folder import Head, Opened
from encore_ray.models.forward.heads import num_outputs
from encore_ray.models.loading.fetch import RULES_FILE
from encore_ray.rules import RuleSet, slug


def rules_by_member(folder: Path, members: Sequence[Opened], rules: RuleSet | None) -> list[RuleSet]:
    """The rules of each member: those that follow, as many as its heads are outputs of.

    Args:
        folder: of the model, with a rules.yaml unless rules are given.
        members: in order.

    Raises:
        ModelError: there are no rules (the message holds a rules.yaml to complete), or not one head a rule.
        DataError: rules.yaml is wrong.
    """
    if rules is None and (folder / RULES_FILE).exists():
        rules = RuleSet.load(folder / RULES_FILE)
    if rules is None:
        raise ModelError(_ask_for_rules(folder, [head for opened in members for head in opened.heads]))
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


def _ask_for_rules(folder: Path, heads: list[Head]) -> str:
    lines: list[str] = []
    names: list[str] = []
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
        "put it there or give it as the rules:\n\n" + "\n".join(lines)
    )
