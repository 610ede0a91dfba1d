"""Which texts of a column are content and nothing else, told by Arrow's own functions for all of them.

A text that begins or ends as a transcript, a stored list or a template may be one; so may a blank one, or a word that
stands for nothing, be no text at all. Those are looked at one by one, by what knows them; of the others all is said.
"""

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from encore_ray.arrays import to_numpy
from encore_ray.corpora.turns import transcripts

# All that `str.isspace` and `\s` of a text know. The `\s` of Arrow's expressions has six of them.
SPACES = "\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"


def arrow_pattern(pattern: str) -> str:
    """A pattern of Python's as Arrow's expressions have it; it may match what Python's does not, never the reverse."""
    unknown = r"\(\?[=!<]|\\[bBdDWS]|(?<!\\)\[(?:[^\]\\]|\\[^s])*\\s"
    assert not re.search(unknown, pattern), f"Arrow knows no {pattern}"
    return pattern.replace(r"\s", f"[{SPACES}]").replace(r"\w", r"[\pL\pN_]").replace(r"\Z", r"\z")


# Anchored as a whole, at either end, an expression looks at few characters of a text.
_BEGINNING = rf"\s|[<\[{{]|\Z|(?i:nan|none|null)\s*\Z|{transcripts.SPEAKER}|{transcripts.BEGINNING}"
_PLAIN = arrow_pattern(rf"^(?:{_BEGINNING})")
_PLAIN_OR_NUMBER = arrow_pattern(rf"^(?:{_BEGINNING}|\s*[-+.\p{{Nd}}])")
_ENDING = arrow_pattern(rf"(?:{transcripts.ENDING}|ASSISTANT:|{'|'.join(map(re.escape, transcripts.ENDS))})\s*\Z")


def plain_texts(column: pa.StringArray, *, numbers: bool = True) -> NDArray[np.bool_]:
    """Of each text whether it is there, and says nothing but what it says: no turns, no list, no word for nothing.

    It begins with no space, and neither begins nor ends with what a template would put around it.

    Args:
        numbers: whether a text that may spell out a number is plain, too.
    """
    if not len(column):
        return np.zeros(0, dtype=bool)
    plain_N = ~(_matches(column, _PLAIN if numbers else _PLAIN_OR_NUMBER) | _matches(column, _ENDING))
    if column.null_count:
        plain_N &= to_numpy(column.is_valid())
    if _may_hold(column, transcripts.INSIDE.encode()):
        plain_N &= ~_in_each("match_substring", column, transcripts.INSIDE)
    return plain_N


def _matches(column: pa.StringArray, pattern: str) -> NDArray[np.bool_]:
    return _in_each("match_substring_regex", column, pattern)


def _in_each(function: str, column: pa.StringArray, pattern: str) -> NDArray[np.bool_]:
    found = pc.call_function(function, [column], pc.MatchSubstringOptions(pattern))
    return to_numpy(pc.call_function("coalesce", [found, pa.scalar(False)]) if column.null_count else found)


def _may_hold(column: pa.StringArray, part: bytes) -> bool:
    """Whether the bytes of all texts have that part anywhere: many times faster than to look in each."""
    offsets, data = column.buffers()[1:]
    if data is None:
        return False
    ends = np.frombuffer(offsets, dtype=np.int32)[[column.offset, column.offset + len(column)]]
    return part in data.slice(int(ends[0]), int(ends[1] - ends[0])).to_pybytes()
