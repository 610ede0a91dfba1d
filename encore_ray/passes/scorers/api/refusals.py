"""What an error response means: which parameter is refused, how long a request may be, whether there is money left.

Routers answer for others: what the service behind them said stands inside, and an error may come with status 200.
"""

import json
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

_EXCERPT = 300  # characters of a reply that an error quotes

_QUOTA = re.compile(
    r"insufficient[_ ](?:quota|balance|credits?|funds)|exceeded your current quota|billing_(?:hard_limit|not_active)"
    r"|credit balance is too low|out of credits|quota[^.]{0,40}used up|payment required",
    re.I,
)
_CONTEXT = re.compile(
    r"context_length|exceed_context|context (?:length|window|size)|model_?max_?(?:length|len)|too long|input length"
    r"|too many (?:input )?tokens|tokens[^.]{0,40}must be <=|reduce the length|max(?:imum)?[^.]{0,40}input tokens"
    r"|larger than the max",
    re.I,
)
_LIMIT = re.compile(
    r"(?:context (?:length|window|size)[^.\d]{0,60}|max_?(?:imum)?_?(?:model_?)?_?(?:length|len)[^.\d]{0,30}|"
    r"maximum[^.\d]{0,60}|limit[^.\d]{0,40}|[<>]=? ?)(\d[\d,]*)|(\d[\d,]*) (?:tokens? )?(?:maximum|context)",
    re.I,
)
_NUMBER = re.compile(r"\d[\d,]*")
_FLAGGED = re.compile(
    r"flagged|moderation|content[_ ](?:filter|policy|management)|prohibited[_ ]content|safety (?:system|filter)", re.I
)


@dataclass(frozen=True)
class TooLong:
    """A request has more tokens than the judge takes.

    Attributes:
        limit: of the judge. requested: in the request, both in tokens and None where it is not said.
    """

    limit: int | None
    requested: int | None


@dataclass(frozen=True)
class Refusal:
    """An error response.

    Attributes:
        status: of HTTP.
        message: an excerpt of what it says, in one line and quotes.
        text: all of it. code, param: as far as it names them.
        fields: further numbers in it.
    """

    status: int
    message: str
    text: str
    code: str = ""
    param: str = ""
    fields: dict[str, int] = field(default_factory=dict)

    @property
    def is_quota(self) -> bool:
        """Whether what was paid for is used up, which no patience mends."""
        if self.status >= 500 or "RESOURCE_EXHAUSTED" in self.code:  # so Google calls a limit a minute as well
            return False
        return self.status == 402 or bool(_QUOTA.search(f"{self.code} {self.text}"))

    @property
    def is_about_content(self) -> bool:
        """Whether a filter of the service keeps it from this one conversation, and from no other."""
        return self.status in (403, 451) and bool(_FLAGGED.search(f"{self.code} {self.text}"))

    @property
    def too_long(self) -> TooLong | None:
        """Whether the request is too long for the judge."""
        if self.status not in (400, 413, 422) or not _CONTEXT.search(f"{self.code} {self.text}"):
            return None
        if "n_ctx" in self.fields:
            return TooLong(self.fields["n_ctx"], self.fields.get("n_prompt_tokens"))
        found = _LIMIT.search(self.text)
        limit = _int(next(filter(None, found.groups()))) if found else None
        numbers = [_int(text) for text in _NUMBER.findall(self.text)]
        more = [number for number in numbers if limit is not None and limit < number < 1000 * limit]
        return TooLong(limit, max(more, default=None))

    def parameter(self, names: Collection[str]) -> str | None:
        """Which of these parameters of the request it is about; None where it names none of them."""
        if self.status not in (400, 404, 405, 415, 422, 501):
            return None
        if self.param in names:
            return self.param
        places = {name: found.start() for name in names if (found := re.search(rf"\b{name}\b", self.text))}
        return min(places, key=lambda name: places[name], default=None)


def read_refusal(status: int, data: bytes) -> Refusal:
    """An error response, whatever its body is."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return Refusal(status, excerpt(data), data.decode(errors="replace"))
    if isinstance(value, list) and value:
        value = value[0]
    error = value.get("error", value) if isinstance(value, dict) else value
    if not isinstance(error, dict):
        return Refusal(status, excerpt(str(error).encode()), str(error))
    detail = error.get("detail")
    if isinstance(detail, list):  # of pydantic, as FastAPI gives it
        found = [each for each in detail if isinstance(each, dict)]
        text = "; ".join(f"{'.'.join(map(str, each.get('loc') or ()))}: {each.get('msg')}" for each in found)
        param = str((found[0].get("loc") or [""])[-1]) if found else ""
        return Refusal(status, excerpt(text.encode()), text, param=param)
    said: Any = error.get("message", detail)
    text = str(said) if said is not None else data.decode(errors="replace")
    code = " ".join(str(error[key]) for key in ("code", "type", "status") if error.get(key))
    numbers = {key: number for key, number in error.items() if isinstance(number, int)}
    param = str(error.get("param") or "").split(".")[-1]
    beside: Any = error.get("metadata")
    metadata: dict[str, Any] = beside if isinstance(beside, dict) else {}
    code += " flagged" if metadata.get("reasons") or metadata.get("flagged_input") else ""
    raw = metadata.get("raw")
    if isinstance(raw, str) and raw.strip():  # what the service behind a router said
        inner = read_refusal(status, raw.encode())
        text, code, param = f"{text}: {inner.text}", f"{code} {inner.code}", param or inner.param
    return Refusal(status, excerpt(text.encode()), text, code, param, numbers)


def error_within(data: bytes) -> Refusal | None:
    """The error that a body of status 200 is, with the status that it names; None where it is none or names none."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    error = value.get("error") if isinstance(value, dict) else None
    code = error.get("code") if isinstance(error, dict) else None
    status = int(code) if isinstance(code, str) and code.isdecimal() else code
    return read_refusal(status, data) if isinstance(status, int) and 400 <= status < 600 else None


def excerpt(data: bytes) -> str:
    """The beginning of a body in one line and quotes, for an error."""
    text = " ".join(data.decode(errors="replace").split())
    return repr(text[:_EXCERPT] + (" …" if len(text) > _EXCERPT else "")) if text else "nothing"


def _int(text: str) -> int:
    return int(text.replace(",", ""))
