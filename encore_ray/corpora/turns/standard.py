"""Messages in the one form that a pair has: {role, content} of system, user and assistant, whatever they came as.

What has no meaning for a reader is left out and counted; what would change the meaning by its absence (a picture, a
call of a tool) makes the row bad, under a reason of its own.
"""

from collections import Counter
from typing import Any

from encore_ray.corpora.rows import BadRow
from encore_ray.corpora.turns.transcripts import ASSISTANT, SYSTEM, USER
from encore_ray.corpora.values import is_message, messages_in_columns
from encore_ray.schema import Reason

KEYS_LEFT_OUT, PARTS_JOINED, ROLES_RENAMED = "message_keys_left_out", "content_parts_joined", "roles_renamed"

_ROLES = {
    "developer": SYSTEM,
    "human": USER,
    "prompter": USER,
    "gpt": ASSISTANT,
    "model": ASSISTANT,
    "bot": ASSISTANT,
    "chatbot": ASSISTANT,
    "ai": ASSISTANT,
}
_TOOL_ROLES = frozenset({"tool", "function", "function_call", "function_response", "observation", "ipython"})
_TOOL_KEYS = frozenset({"tool_calls", "function_call", "tool_call_id", "tool_plan"})
_PICTURE_KEYS = frozenset({"image", "images", "image_url", "video", "videos", "audio", "input_audio"})
_TEXT_PARTS = frozenset({"text", "input_text", "output_text"})
_WORDS_KEYS = frozenset({"reasoning_content", "reasoning", "thinking", "refusal"})  # said, and no part of the content


def standard(value: Any, *, where: str, notes: Counter[str]) -> Any:
    """The value with all its messages in the one form; anything that is no message stays as it is.

    Args:
        value: of one column.
        where: its name.
        notes: what was done is counted here.

    Raises:
        BadRow: a picture, a call or an answer of a tool.
    """
    if isinstance(value, list):
        return [standard(item, where=where, notes=notes) for item in value]
    if not isinstance(value, dict):
        return value
    if is_message(value):
        columns = messages_in_columns(value)
        if columns is not None:
            return [_message(message, where, notes) for message in columns]
        return _message(value, where, notes)
    messages = value.get("messages")
    if isinstance(messages, list) and messages and is_message(messages[0]):
        notes[KEYS_LEFT_OUT] += sum(key != "messages" and item is not None for key, item in value.items())
        return standard(messages, where=where, notes=notes)
    return {key: standard(item, where=where, notes=notes) for key, item in value.items()}


def is_empty(value: Any) -> bool:
    """Whether a value says nothing: null, blank text, an empty list, or a list of nothing."""
    if isinstance(value, str):
        return not value.strip() or value.strip() in ("[]", "{}")
    if isinstance(value, list | dict):
        return all(map(is_empty, value.values() if isinstance(value, dict) else value))
    return value is None


def _message(message: dict[str, Any], where: str, notes: Counter[str]) -> dict[str, Any]:
    role_key, content_key = ("role", "content") if "role" in message else ("from", "value")
    role, content = message[role_key], message.get(content_key)
    if isinstance(role, str):
        lower = role.strip().lower()
        if lower in _TOOL_ROLES:
            raise BadRow(Reason.TOOL_TURN, f"{where} has a turn of {role!r}; {_NO_TOOLS}")
        known = lower if lower in (SYSTEM, USER, ASSISTANT) else _ROLES.get(lower, role)
        notes[ROLES_RENAMED] += known != role
        role = known
    for key, item in message.items():
        if key in (role_key, content_key) or is_empty(item):
            continue
        if key in _TOOL_KEYS:
            raise BadRow(Reason.TOOL_TURN, f"{where} has a message with {key!r}; {_NO_TOOLS}")
        if key in _PICTURE_KEYS:
            raise BadRow(Reason.PICTURE, f"{where} has a message with {key!r}; only text is scored")
        if key in _WORDS_KEYS:
            raise BadRow(Reason.WRONG_TYPE, f"{where} has a message with {key!r}, for which a pair has no place")
        notes[KEYS_LEFT_OUT] += 1
    if isinstance(content, list):
        content = _joined(content, where, notes)
    return {"role": role, "content": content}


_NO_TOOLS = "pairs hold turns of system, user and assistant only"


def _joined(parts: list[Any], where: str, notes: Counter[str]) -> Any:
    """The text of content parts one behind the other, as chat templates write them."""
    texts = []
    for part in parts:
        if not isinstance(part, dict):
            return parts
        kind, text = part.get("type"), part.get("text")
        if kind is None and not isinstance(text, str):
            return parts
        if kind not in _TEXT_PARTS and kind is not None:
            raise BadRow(Reason.PICTURE, f"{where} has a content part of type {str(kind)[:40]!r}; only text is scored")
        for key, item in part.items():
            if key in _PICTURE_KEYS and not is_empty(item):
                raise BadRow(Reason.PICTURE, f"{where} has a content part with {key!r}; only text is scored")
            notes[KEYS_LEFT_OUT] += key not in ("type", "text") and not is_empty(item)
        texts.append(text)
    if not all(isinstance(text, str) for text in texts):
        return parts
    notes[PARTS_JOINED] += 1
    return "".join(texts)
