"""A lease on a remote run folder, by nothing but files that the first writer wins.

    .encore-ray-lease/000000000042    the one of the highest number counts: who drives the folder, or that nobody does

To take the lease, to renew it and to release it is the same step: make the file of the next number, look that none is
higher, delete the lower ones. Whoever loses that race holds nothing, so that at any time one holds it at most. The
highest is never deleted: a number is never used for two things that count.

Nobody compares the clocks of two hosts. Who finds a lease watches it: a holder that makes a new file is alive; one
that makes none for a term, by the watcher's own clock and while the watcher itself reaches the store, is gone or cut
off, and the next number is another's. A holder learns that from the store at its next renewal.
"""

import re
from dataclasses import dataclass
from typing import Any, Self

from encore_ray.folder.driver.process import Driver, moment
from encore_ray.storage import Folder, from_json, to_json

LEASE_DIR = ".encore-ray-lease"
TERM_S = 60.0
MOST_TERM_S = 3600.0  # that is believed of a file

_NUMBER = re.compile(r"\d{12}")


@dataclass(frozen=True)
class Entry:
    """What a lease's file says.

    Attributes:
        number: its name.
        holder: id of the hold; "" once it is released.
        driver: whose it is, or was; None where the file is damaged.
        renewed_at: when it was made, seconds since 1970 by the driver's clock: for people, never compared.
        term_s: seconds without a new file after which the holder is taken to be gone.
    """

    number: int
    holder: str
    driver: Driver | None
    renewed_at: float = 0.0
    term_s: float = TERM_S

    @classmethod
    def of_bytes(cls, number: int, data: bytes) -> Self:
        """What a file holds; one that is damaged is held by somebody."""
        try:
            found = from_json(data)
            driver, term_s = Driver.of_json(found["driver"]), float(found["term_s"])
            if not 0 < term_s <= MOST_TERM_S:
                raise ValueError
            return cls(number, str(found["holder"]), driver, float(found["renewed_at"]), term_s)
        except (KeyError, TypeError, ValueError):
            return cls(number, "unknown", None)

    def to_bytes(self) -> bytes:
        content: dict[str, Any] = {"holder": self.holder, "driver": self.driver and self.driver.to_json()}
        return to_json({**content, "renewed_at": self.renewed_at, "term_s": self.term_s})

    @property
    def is_free(self) -> bool:
        """Whether nobody holds the lease any more, as far as can be told at once."""
        return not self.holder or (self.driver is not None and self.driver.is_gone)

    def __str__(self) -> str:
        if self.driver is None:
            return f"a process that cannot be told (file {self.number})"
        return f"{self.driver}, last renewal {moment(self.renewed_at)}"


@dataclass(frozen=True)
class LeaseFiles:
    """The files of the lease on a run folder."""

    folder: Folder

    @classmethod
    def of_run(cls, run: Folder) -> Self:
        return cls(run.child(LEASE_DIR))

    def latest(self, known: Entry | None = None) -> Entry | None:
        """The one that counts, which need not be read where it is known; None where the folder was never driven."""
        while numbers := self.numbers():
            if known is not None and known.number == numbers[-1]:
                return known
            try:
                return Entry.of_bytes(numbers[-1], self.folder.read_bytes(_name(numbers[-1])))
            except FileNotFoundError:  # replaced since by a higher one
                continue
        return None

    def make(self, entry: Entry) -> bool:
        """Whether this entry is the one that counts now; else nothing is left of it."""
        name = _name(entry.number)
        if not self.folder.create_once(name, entry.to_bytes()):
            return False
        numbers = self.numbers()
        if numbers[-1:] != [entry.number]:  # listed long ago: a file of this number was there before
            self.folder.delete(name)
            return False
        for number in numbers[:-1]:
            self.folder.delete(_name(number))
        return True

    def numbers(self) -> list[int]:
        return [int(name) for name in self.folder.names() if _NUMBER.fullmatch(name)]


def _name(number: int) -> str:
    return f"{number:012d}"
