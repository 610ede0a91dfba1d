"""Files that were drafted: their last line tells what of, and whether a person has changed them since."""

import hashlib
import re
from dataclasses import dataclass

from encore_ray.visible import short

_LINE = "# encore-ray: draft {digest} of {of}. It is kept as it is once you have changed it."
_MARK = re.compile(re.escape(_LINE).replace(r"\{digest\}", "([0-9a-f]{16})").replace(r"\{of\}", "(.*)"))


@dataclass(frozen=True)
class Drafted:
    """What a draft tells of itself.

    Attributes:
        of: what it was drafted from, for people.
        digest: of its text when it was drafted.
        is_edited: whether it has another text now.
    """

    of: str
    digest: str
    is_edited: bool

    def __str__(self) -> str:
        return f"drafted from {self.of}{', edited since' if self.is_edited else ''}"


def mark_draft(text: str, *, of: str) -> str:
    """A text with the line by which `read_draft` knows it."""
    return f"{text}{_LINE.format(digest=_digest(text.splitlines()), of=short(of))}\n"


def read_draft(text: str) -> Drafted | None:
    """What a text tells of itself as a draft; None for one that nobody drafted, or whose line was taken out."""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if found := _MARK.fullmatch(line.strip()):
            digest = _digest(lines[:number] + lines[number + 1 :])
            return Drafted(found[2], found[1], digest != found[1])
    return None


def _digest(lines: list[str]) -> str:
    """Of what is written, whatever ends its lines and its end."""
    text = "\n".join(line.rstrip() for line in lines).rstrip()
    return hashlib.sha256(text.encode()).hexdigest()[:16]
