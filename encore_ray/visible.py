"""Texts of a user's data as they may be shown: nothing in them steers a terminal, a page or a log.

The one place that says which characters are shown as escapes and how much of a list or a name is shown: terminals
(`encore_ray.console.terminal`), log lines, errors, the report, and what MLflow keeps go through it.
"""

import re

MOST_ROWS = 50  # of a table in a terminal or a note
MOST_CHARS = 80  # of a name
MOST_SAID = 10_000  # characters of an error

# Controls, and what turns or hides the text around it: bidi marks, embeddings, overrides and isolates, line and
# paragraph separators, zero-width space and mark, annotations, tags, half characters. Joiners stay: scripts need them.
_UNSEEN = (
    "\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f"
)
_IN_LINES = re.compile(f"[{_UNSEEN}]")
_IN_A_LINE = re.compile(f"[\n{_UNSEEN}]")


def visible(text: str) -> str:
    """A name or value on one line: controls, line ends and what turns text around become escapes as \\x1b."""
    return _IN_A_LINE.sub(_escape, text)


def visible_lines(text: str) -> str:
    """The same for a text of ours, whose own line feeds stay."""
    return _IN_LINES.sub(_escape, text)


def short(name: str, most: int = MOST_CHARS) -> str:
    """A name of the data, visible, with no more than about `most` characters of it."""
    if len(name) <= most:
        return visible(name)
    return f"{visible(name[:most])}… ({len(name):,} characters)"


def said(message: str) -> str:
    """A message of any length as an error says it: its begin and its end."""
    if len(message) > MOST_SAID:
        half = MOST_SAID // 2
        message = f"{message[:half]} … {len(message) - 2 * half:,} characters left out … {message[-half:]}"
    return visible_lines(message)


def more(num_left: int, what: str, where: str) -> str:
    """What stands below the first rows of a long table."""
    return f"and {num_left:,} more {what}: see {where}"


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    plain = {9: "\\t", 10: "\\n", 13: "\\r"}.get(code)
    return plain or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}")
