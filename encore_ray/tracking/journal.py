"""The journal: every fact of a run folder's jobs, in order, in a few files that only ever grow.

    tracking/events-000001.json        events in order; the next file begins when one is full
    tracking/files/<sha256>-<name>     contents that events refer to
    tracking/delivered-<store>.json    how far one MLflow store has got (see `delivery`)

The last file is rewritten atomically as events come in, so a long job leaves tens of files, not thousands, on any
file system, and a killed driver leaves no torn one.
"""

import contextlib
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from encore_ray.errors import DataError
from encore_ray.redaction import redact
from encore_ray.schema import SCHEMA_VERSION, TRACKING_DIR
from encore_ray.storage import Folder

FINISHED = "FINISHED"  # how a run ends that did not fail
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


@dataclass(frozen=True)
class LastJob:
    """How the job that wrote last has ended.

    Attributes:
        job: its id. name: its first; "" where the journal does not tell it any more.
        finished: names of its passes that ended well.
        is_finished: whether the job itself did, and nothing has begun since.
    """

    job: str
    finished: frozenset[str]
    is_finished: bool
    name: str = ""


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
            for number, event in enumerate(self._events_of(segment)[done:], start=done + 1):
                yield Position(segment, number), event

    def _events_of(self, segment: int) -> list[Event]:
        value = self.folder.read_json(_file(segment))
        try:
            return [Event(**event) for event in value["events"]]
        except (KeyError, TypeError) as error:
            raise DataError(f"{self.folder.path(_file(segment))} is no journal of events: {error!r}.") from None

    def last_job(self) -> LastJob | None:
        """The job that wrote last; None for a new journal."""
        *earlier, last = [0, *self._segments()]
        events = self._events_of(last) if last else []
        if not events:
            return None
        job, ended = events[-1].job, dict[str, str | None]()
        for segment in reversed(earlier[1:]):
            with contextlib.suppress(DataError):  # its pass counts as one that has not ended
                events = self._events_of(segment) + events
        for event in events:
            if event.job == job and event.kind in ("begin", "end"):
                ended[event.pass_name] = event.body.get("status")
        finished = frozenset(name for name, status in ended.items() if status == FINISHED)
        begun = (event for event in events if (event.job, event.kind, event.pass_name) == (job, "begin", ""))
        first = next(begun, None)
        return LastJob(job, finished - {""}, "" in finished, first.body["name"] if first else "")

    def is_delivered(self, uri: str) -> bool:
        """Whether a store has got all there is, and refused none of it."""
        name = delivered_file(uri)
        if not self.folder.exists(name):
            return False
        state = self.folder.read_json(name)
        return not state["failed"] and not any(True for _ in self.read(Position(*state["position"])))

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


def delivered_file(uri: str) -> str:
    """The file of the journal that says how far a store has got."""
    return f"delivered-{store_digest(uri)}.json"


def store_digest(uri: str) -> str:
    """What a store is known by in names of files, without its credentials."""
    return hashlib.sha256(redact(uri).encode()).hexdigest()[:12]


def _file(segment: int) -> str:
    return f"events-{segment:06d}.json"


def _segment_bytes(events: list[dict[str, Any]]) -> bytes:
    # One event a line: half the size of indented JSON, and still easy to read and to grep.
    lines = ",\n".join(json.dumps(event, ensure_ascii=False, allow_nan=False) for event in events)
    return f'{{"schema_version": {SCHEMA_VERSION}, "events": [\n{lines}\n]}}\n'.encode()
