"""The digest of a file's content that does not depend on how the file was cut up to be read.

A file is a sequence of items (the lines of a text file, the row groups of a Parquet file). Its digest is the
polynomial sum over i of sha256(item_i) * R^i modulo the prime 2^255 - 19. Digests of adjacent ranges add up to
the digest of the whole, whatever the ranges; order matters; a compressed copy of a text has the digest of the text.
It identifies content; it is no defence against somebody who builds two files with one digest on purpose.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

_PRIME = 2**255 - 19
_BASE = int.from_bytes(hashlib.sha256(b"encore-ray content digest").digest(), "big") % _PRIME


class Hashed(Protocol):
    """An item that is not held as a whole."""

    @property
    def sha256(self) -> bytes: ...


@dataclass(frozen=True)
class ContentDigest:
    """Digest of a run of items; `+` appends the run that follows (associative, not commutative)."""

    value: int = 0
    num_items: int = 0

    @classmethod
    def of(cls, items: Iterable[bytes | Hashed]) -> "ContentDigest":
        value, power, num_items = 0, 1, 0
        for item in items:
            digest = hashlib.sha256(item).digest() if isinstance(item, bytes) else item.sha256
            value += int.from_bytes(digest, "big") * power
            power = power * _BASE % _PRIME
            num_items += 1
        return cls(value % _PRIME, num_items)

    def __add__(self, later: "ContentDigest") -> "ContentDigest":
        shifted = later.value * pow(_BASE, self.num_items, _PRIME)
        return ContentDigest((self.value + shifted) % _PRIME, self.num_items + later.num_items)

    @property
    def hex(self) -> str:
        """SHA-256 over value and number of items: 64 hexadecimal digits."""
        return hashlib.sha256(self.value.to_bytes(32, "big") + self.num_items.to_bytes(8, "big")).hexdigest()
