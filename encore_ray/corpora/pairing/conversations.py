"""Conversations of many pairs at once: as a column, and as the JSON text whose hash is an id.

A conversation is `[["user","Hi."],...]` there, a pair `[prompt,chosen,rejected]` of them, where rejected may be null.
"""

import hashlib
from collections.abc import Iterable, Sequence
from itertools import accumulate, chain, islice
from json.encoder import encode_basestring

import numpy as np
import pyarrow as pa

from encore_ray.arrays import to_arrow, utf8_to_texts
from encore_ray.corpora.turns.transcripts import ASSISTANT, SYSTEM, USER, Turn
from encore_ray.schema import MESSAGES

_ROLES = {role: role.encode() for role in (SYSTEM, USER, ASSISTANT)}
_OPENINGS = {role: b'["%b","' % name for role, name in _ROLES.items()}
_ESCAPED = tuple(encode_basestring(chr(code))[1:-1].encode() for code in range(128))


class Conversations:
    """The turns of each conversation; None where there is none."""

    def __init__(self, turns: Sequence[Sequence[Turn] | None]):
        self._sizes = [-1 if one is None else len(one) for one in turns]
        flat = list(chain.from_iterable(one for one in turns if one))
        self._roles = [role for role, _ in flat]
        self._contents = [content.encode() for _, content in flat]

    @property
    def column(self) -> pa.Array:
        """As schema.MESSAGES, from flat arrays: several times faster than from Python dictionaries."""
        roles, contents = utf8_to_texts([_ROLES[role] for role in self._roles]), utf8_to_texts(self._contents)
        structs = pa.StructArray.from_arrays([roles, contents], fields=list(MESSAGES.value_type))
        ends = np.array([0, *accumulate(max(size, 0) for size in self._sizes)], dtype=np.int32)
        missing = pa.array([size < 0 for size in self._sizes], pa.bool_()) if -1 in self._sizes else None
        return pa.ListArray.from_arrays(to_arrow(ends), structs, type=MESSAGES, mask=missing)

    @property
    def json(self) -> list[bytes]:
        """As text in UTF-8."""
        quoted = zip(self._roles, between_quotes(self._contents), strict=True)
        turns = iter([_OPENINGS[role] + text + b'"]' for role, text in quoted])
        return [b"null" if size < 0 else b"[%b]" % b",".join(islice(turns, size)) for size in self._sizes]


def single_turns(role: str, texts: pa.StringArray) -> tuple[pa.Array, list[bytes]]:
    """Texts without nulls as conversations of one turn each: the column, and the JSON."""
    roles = utf8_to_texts([_ROLES[role]] * len(texts))
    structs = pa.StructArray.from_arrays([roles, texts], fields=list(MESSAGES.value_type))
    column = pa.ListArray.from_arrays(to_arrow(np.arange(len(texts) + 1, dtype=np.int32)), structs, type=MESSAGES)
    opening = b"[" + _OPENINGS[role]
    return column, [opening + text + b'"]]' for text in between_quotes(texts.cast(pa.binary()).to_pylist())]


def content_ids(prompts: Iterable[bytes], chosen: Iterable[bytes], rejected: Iterable[bytes]) -> pa.StringArray:
    """128-bit hashes of pairs, from the JSON of their parts."""
    return short_hashes(b"[%b,%b,%b]" % parts for parts in zip(prompts, chosen, rejected, strict=True))


def short_hash(text: str) -> str:
    """The first 128 bits of SHA-256 as 32 hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def short_hashes(texts: Iterable[bytes]) -> pa.StringArray:
    """The same of many texts in UTF-8, as a column."""
    sha256 = hashlib.sha256
    digits = b"".join([sha256(text).digest()[:16] for text in texts]).hex().encode()
    ends = np.arange(0, len(digits) + 1, 32, dtype=np.int32)
    return pa.Array.from_buffers(pa.string(), len(ends) - 1, [None, pa.py_buffer(ends), pa.py_buffer(digits)])


def between_quotes(texts: Sequence[bytes]) -> list[bytes]:
    """Each text as JSON has it between quotes: all at once, since to look at each costs more than what is changed."""
    joined = b"\0".join(texts)
    if joined.count(b"\0") >= max(len(texts), 1):
        return [encode_basestring(text.decode())[1:-1].encode() for text in texts]
    byte_B = np.frombuffer(joined, dtype=np.uint8)
    for code in (ord("\\"), ord('"'), *np.unique(byte_B[byte_B < ord(" ")]).tolist()):
        if code:
            joined = joined.replace(bytes([code]), _ESCAPED[code])
    return joined.split(b"\0") if texts else []
