"""The journal: every fact of a run folder's jobs, in order, in a few files that only ever grow.

    tracking/events-000001.json        events in order; the next file begins when one is full
    tracking/files/<sha256>-<name>     contents that events refer to
    tracking/delivered-<store>.json    how far one MLflow store has got (see `delivery`)

The last file is rewritten atomically as events come in, so a long job leaves tens of files, not thousands, on any
file system, and a killed driver leaves no torn one.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from encore_ray.errors import DataError
from encore_ray.schema import SCHEMA_VERSION, TRACKING_DIR
from encore_ray.storage import Folder

SEGMENT_EVENTS = 256

_SEGMENT = re.compile(r"events-(\d{6,})\.json")


@dataclass(frozen=True)
class Event:
    """One fact about one MLflow run.

    Attributes:
        job: id of the job, the same after a resume.
        pass_name: the pass, whose run is nested in the job's; "" for the job itself.
        kind: begin, params, tags, metrics, input, artifact, composer or end.
        time_ms: when it happened, milliseconds since 1970; a late delivery keeps it.
        body: what the kind needs, JSON values only.
    """

    job: str
    pass_name: str
    kind: str
    time_ms: int
    body: dict[str, Any]

    @property
    def run_key(self) -> str:
        """Names the MLflow run of this event, once and for all."""
        return f"{self.job}/{self.pass_name}" if self.pass_name else self.job


@dataclass(frozen=True, order=True)
class Position:
    """A place in the journal: after so many events of a segment (from 1)."""

    segment: int = 1
    events: int = 0


class Journal:
    """The journal of one run folder, to append to (one driver at a time) and to read."""

    def __init__(self, run_folder: Folder):
        self.folder = run_folder.child(TRACKING_DIR)
        self._segment: int | None = None
        self._events: list[dict[str, Any]] = []

    def append(self, events: Sequence[Event]) -> None:
        """Add events at the end: on return they are in the run folder; after an error, none of them is."""
        added = [asdict(event) for event in events]
        if self._segment is not None and len(self._events) < SEGMENT_EVENTS:
            self.folder.write_atomic(_file(self._segment), _segment_bytes(self._events + added))
            self._events += added
            return
        numbers = self._segments()
        segment = numbers[-1] + 1 if numbers else 1
        while not self.folder.create_once(_file(segment), _segment_bytes(added)):
            segment += 1
        self._segment, self._events = segment, added

    def read(self, after: Position) -> Iterator[tuple[Position, Event]]:
        """Events after a position, each with the position that follows it; DataError names a damaged file."""
        for segment in self._segments():
            if segment < after.segment:
                continue
            done = after.events if segment == after.segment else 0
            value = self.folder.read_json(_file(segment))
            try:
                events = [Event(**event) for event in value["events"]]
            except (KeyError, TypeError) as error:
                raise DataError(f"{self.folder.path(_file(segment))} is no journal of events: {error!r}.") from None
            for number, event in enumerate(events[done:], start=done + 1):
                yield Position(segment, number), event

    def last_job(self) -> str | None:
        """Id of the job that wrote last; None for a new journal."""
        numbers = self._segments()
        events = list(self.read(Position(numbers[-1], 0))) if numbers else []
        return events[-1][1].job if events else None

    def store_file(self, name: str, data: bytes) -> str:
        """Keep a content for an event to refer to; the same content is kept once.

        Returns:
            Its name in the journal, for `read_file`.
        """
        file = f"files/{hashlib.sha256(data).hexdigest()[:32]}-{name.rsplit('/', 1)[-1]}"
        self.folder.create_once(file, data)
        return file

    def read_file(self, file: str) -> bytes:
        return self.folder.read_bytes(file)

    def _segments(self) -> list[int]:
        matches = (_SEGMENT.fullmatch(name) for name in self.folder.names())
        return sorted(int(match[1]) for match in matches if match)


def _file(segment: int) -> str:
    return f"events-{segment:06d}.json"


def _segment_bytes(events: list[dict[str, Any]]) -> bytes:
    # One event a line: half the size of indented JSON, and still easy to read and to grep.
    lines = ",\n".join(json.dumps(event, ensure_ascii=False, allow_nan=False) for event in events)
    return f'{{"schema_version": {SCHEMA_VERSION}, "events": [\n{lines}\n]}}\n'.encode()
