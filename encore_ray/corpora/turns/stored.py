"""Lists of messages or texts that a column holds as text: JSON, or what Python prints, as in CSV files and tables.

Pandas prints arrays of NumPy without commas between their items; so they are read, too.
"""

import ast
import io
import json
import re
import tokenize
from typing import Any

CANDIDATE = r"^\s*[\[{]"
_CANDIDATE = re.compile(r"\s*(?:\[\s*[\[{\"'\]]|\{\s*[\"'](?:messages|role|content|from|value)[\"'])")
_BETWEEN_DICTS = re.compile(r"\}\s*\n\s*\{")
_STRINGS = (tokenize.NL, tokenize.NEWLINE, tokenize.COMMENT)


def stored_list(text: str) -> list[Any] | None:
    """The list of messages, of message lists or of texts that a text spells out; None for any other text.

    A single message is a list of one.
    """
    if not _CANDIDATE.match(text):
        return None
    value = spelt_out(text)
    if isinstance(value, dict):
        value = [value] if _is_message(value) else value.get("messages")
    return value if isinstance(value, list) and value and _is_talk(value[0]) else None


def spelt_out(text: str) -> Any:
    """The value that a text spells out in JSON or as Python prints it; None where it spells out none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _printed(text)


def _printed(text: str) -> Any:
    for candidate in (text, _BETWEEN_DICTS.sub("}, {", text)):
        try:
            value = ast.literal_eval(candidate.strip())
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
        if isinstance(value, list) and all(isinstance(item, str) for item in value) and _joins_strings(candidate):
            return None  # ['a' 'b'] is one text to Python, and was two
        return value
    return None


def _joins_strings(text: str) -> bool:
    before = None
    try:
        for token in tokenize.generate_tokens(io.StringIO(text.strip()).readline):
            if token.type == tokenize.STRING and before == tokenize.STRING:
                return True
            if token.type not in _STRINGS:
                before = token.type
    except (tokenize.TokenError, SyntaxError):
        return True
    return False


def _is_talk(item: Any) -> bool:
    if isinstance(item, list):
        return bool(item) and isinstance(item[0], dict) and _is_talk(item[0])
    return isinstance(item, str) or (isinstance(item, dict) and ("role" in item or {"from", "value"} <= item.keys()))


def _is_message(value: dict[str, Any]) -> bool:
    """Whether an object can be nothing else: somebody who speaks, and what he says."""
    return {"role", "content"} <= value.keys() or {"from", "value"} <= value.keys()
