"""Provenance: the facts that a result was made from, and whether what stands there was made from the same.

The one check of all resumes: tables, weights, heads, trainings and energies are refused in the same words.
"""

import json
import re
from collections.abc import Container, Mapping, Sequence
from typing import Any

from encore_ray.errors import ResumeRefused
from encore_ray.folder.protocol.commits import INPUT, Commit
from encore_ray.shell import option, to_paste
from encore_ray.storage import fingerprint

_MOST, _BEFORE = 80, 20  # characters of a value in a message; of what is the same before what differs
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


def differing(found: Any, now: Any) -> list[str]:
    """Keys of the facts that are not the same; inside a nested fact key by key, in a list of named ones by name."""
    return [key for key, _, _ in _differences(found, now)]


def changes(found: Any, now: Any) -> str:
    """What was and what is of every fact that is not the same, in words."""
    return "; ".join(f"{key} {_was_and_is(a, b)}" for key, a, b in _differences(found, now))


def refusal(where: str, found: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The message that refuses a resume: both fingerprints and every fact that differs."""
    return (
        f"{where} holds results with fingerprint {fingerprint(found)[:12]}; this command would make "
        f"{fingerprint(now)[:12]}: {changes(found, now)}. {_remedy()}"
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
        return f"{made}{told}, which is not part of the job any more. {_remedy()}"
    facts = inputs.get(unit, {})
    is_told = bool(then) and then.get("file") != facts.get("file")  # by what has changed
    told = f" ({facts['file']})" if "file" in facts and not is_told else ""
    changed = f": {changes(then, facts)}" if then and facts else ""
    return f"{made}, which is now {digests[unit][:12]}{told}{changed}. {_remedy()}"


def _remedy() -> str:
    start_over = f"Use {option('overwrite', True)} to start over, or another run folder"
    return f"{start_over}{to_paste(overwrite=True)}"


def _differences(found: Any, now: Any) -> list[tuple[str, Any, Any]]:
    """Key, old and new value of every fact that is not the same."""
    differences = []
    a_by_key, b_by_key = _by_key(found), _by_key(now)
    assert a_by_key is not None and b_by_key is not None, "facts are nested"
    for key in sorted(a_by_key.keys() | b_by_key.keys()):
        a, b = a_by_key.get(key, _MISSING), b_by_key.get(key, _MISSING)
        if a == b:
            continue
        if _by_key(a) is not None and _by_key(b) is not None:
            inner = _differences(a, b)
            differences += [(f"{key}.{name}", *values) for name, *values in inner] or [(key, a, b)]
        else:
            differences.append((key, a, b))
    return differences


def _by_key(value: Any) -> Mapping[str, Any] | None:
    """The parts of a nested fact: of a list of rules each by its name; None for a fact that has none."""
    if isinstance(value, Mapping):
        return value
    if not isinstance(value, list | tuple) or not value:
        return None
    names = [_name(item) for item in value]
    if None in names or len(set(names)) < len(names):
        return None
    return dict(zip(map(str, names), map(_nameless, value), strict=True))


def _name(item: Any) -> str | None:
    first = item.get("name") if isinstance(item, Mapping) else item[0] if isinstance(item, list | tuple) and item else 0
    return first if isinstance(first, str) else None


def _nameless(item: Any) -> Any:
    """What a named item of a list says beside its name; a list of several as a mapping by place."""
    if isinstance(item, Mapping):
        return {key: value for key, value in item.items() if key != "name"}
    return item[1] if len(item) == 2 else {str(place): value for place, value in enumerate(item[1:], start=2)}


def _was_and_is(a: Any, b: Any) -> str:
    """Both values, cut where they are long, so that what differs is seen."""
    texts = [_text(a), _text(b)]
    shared = next((i for i, (one, other) in enumerate(zip(*texts, strict=False)) if one != other), min(map(len, texts)))
    start = max(0, shared - _BEFORE) if max(map(len, texts)) > _MOST else 0
    then, now = (_cut(text, start) for text in texts)
    return f"was {then}, is {now}"


def _text(value: Any) -> str:
    if value is _MISSING:
        return "not there"
    if isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value):
        return value[:12]
    return json.dumps(value, ensure_ascii=False)


def _short(value: Any) -> str:
    return _cut(_text(value), 0)


def _cut(text: str, start: int) -> str:
    before = "…" if start else ""
    return f"{before}{text[start:]}" if len(text) - start <= _MOST else f"{before}{text[start : start + _MOST - 20]}…"
