"""The facts that decide a pass's results: what differs between two sets of them, and how a resume is refused."""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from encore_ray.storage import fingerprint


def differing(found: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Keys of the facts that are not the same; inside a nested fact, key by key."""
    keys = []
    for key in sorted(found.keys() | now.keys()):
        a, b = found.get(key), now.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            keys += [f"{key}.{inner}" for inner in differing(a, b)]
        elif a != b:
            keys.append(key)
    return keys


def refusal(where: str, found: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The message that refuses a resume: both fingerprints and every fact that differs."""
    changes = [f"{key} was {_short(_fact(found, key))}, is {_short(_fact(now, key))}" for key in differing(found, now)]
    return (
        f"{where} holds results with fingerprint {fingerprint(found)[:12]}; this command would make "
        f"{fingerprint(now)[:12]}: {'; '.join(changes)}. Use --overwrite to start over, or another run folder."
    )


def _fact(facts: Mapping[str, Any], key: str) -> Any:
    value: Any = facts
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _short(value: Any) -> str:
    if isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value):
        return value[:12]
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:60]}… ({hashlib.sha256(text.encode()).hexdigest()[:12]})"
