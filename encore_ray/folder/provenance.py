"""Provenance: the facts that a result was made from, and whether what stands there was made from the same.

The one check of all resumes: tables, weights, heads, trainings and energies are refused in the same words.
"""

import hashlib
import json
import re
from collections.abc import Container, Mapping, Sequence
from typing import Any

from encore_ray.errors import ResumeRefused
from encore_ray.folder.commits import INPUT, Commit
from encore_ray.storage import fingerprint

_REMEDY = "Use --overwrite to start over, or another run folder."
_MISSING = object()  # a fact that is not there, which null is not: it has another fingerprint


def is_same(
    where: str,
    standing: Mapping[str, Any] | None,
    now: Mapping[str, Any],
    *,
    overwrite: bool = False,
    derived: Container[str] = frozenset(),
) -> bool:
    """Whether a result that stands was made from the same facts; False where it is to be made, or made anew.

    Args:
        where: the result, for the message.
        standing: what it was made from; None where there is none.
        now: what it would be made from.
        overwrite: make it anew where the facts differ, instead of refusing.
        derived: facts that follow from an earlier pass, as weights do from added inputs: where only these differ,
            the result is made anew without being asked.

    Raises:
        ResumeRefused: the facts differ; names both fingerprints and every fact that does.
    """
    if standing is None or standing == now:
        return standing is not None
    if not overwrite and any(key.split(".")[0] not in derived for key in differing(standing, now)):
        raise ResumeRefused(refusal(where, standing, now))
    return False


def differing(found: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Keys of the facts that are not the same; inside a nested fact, key by key."""
    keys = []
    for key in sorted(found.keys() | now.keys()):
        a, b = found.get(key, _MISSING), now.get(key, _MISSING)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            keys += [f"{key}.{inner}" for inner in differing(a, b)]
        elif a != b:
            keys.append(key)
    return keys


def refusal(where: str, found: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The message that refuses a resume: both fingerprints and every fact that differs."""
    return (
        f"{where} holds results with fingerprint {fingerprint(found)[:12]}; this command would make "
        f"{fingerprint(now)[:12]}: {_changes(found, now)}. {_REMEDY}"
    )


def input_refusal(
    where: str, others: Sequence[Commit], digests: Mapping[str, str], inputs: Mapping[str, Mapping[str, Any]]
) -> str:
    """The message that refuses a resume since units were made from other input; it says of the first what differs.

    Args:
        where: the table.
        others: the commits of these units.
        digests: of what each unit of the job is made from now.
        inputs: facts of the same, where they are known.
    """
    commit = min(others, key=lambda commit: commit.unit not in digests)  # one that has changed tells more than one gone
    then: Mapping[str, Any] = commit.notes.get(INPUT, {})
    more = f" (and {len(others) - 1:,} more units)" if others[1:] else ""
    made = f"{where}: unit {commit.unit}{more} was made from input {commit.input_digest[:12]}"
    same = (unit for unit, facts in inputs.items() if then and facts.get("content") == then["content"])
    unit = commit.unit if commit.unit in digests else next(same, None)  # the same content, read in another way
    if unit is None:
        told = f" ({then['file']}, content {_short(then['content'])})" if then else ""
        return f"{made}{told}, which is not part of the job any more. {_REMEDY}"
    facts = inputs.get(unit, {})
    is_told = bool(then) and then.get("file") != facts.get("file")  # by what has changed
    told = f" ({facts['file']})" if "file" in facts and not is_told else ""
    changes = f": {_changes(then, facts)}" if then and facts else ""
    return f"{made}, which is now {digests[unit][:12]}{told}{changes}. {_REMEDY}"


def _changes(found: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    return "; ".join(
        f"{key} was {_short(_fact(found, key))}, is {_short(_fact(now, key))}" for key in differing(found, now)
    )


def _fact(facts: Mapping[str, Any], key: str) -> Any:
    value: Any = facts
    for part in key.split("."):
        value = value.get(part, _MISSING) if isinstance(value, Mapping) else _MISSING
    return value


def _short(value: Any) -> str:
    if value is _MISSING:
        return "not there"
    if isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value):
        return value[:12]
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:60]}… ({hashlib.sha256(text.encode()).hexdigest()[:12]})"
