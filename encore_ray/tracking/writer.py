"""The thread that moves events from memory into the journal, every few seconds, and samples the machine."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import psutil

from encore_ray.tracking.journal import Event, Journal

logger = logging.getLogger("encore_ray")

WRITE_INTERVAL_S = 2.0
SYSTEM_INTERVAL_S = 10.0


class Writer:
    """Takes events without blocking and writes them to the journal in the background.

    Args:
        journal: where the events go.
        on_written: called on the writer's thread after each write.
        holds_back: keep events in memory until `release`.
    """

    def __init__(self, journal: Journal, *, on_written: Callable[[], None], holds_back: bool = False):
        self._journal = journal
        self._on_written = on_written
        self._lock = threading.Lock()
        self._pending: list[Event] = []
        self._wake = threading.Event()
        self._closing = False
        self._holds_back = holds_back
        self._forgets = False
        self._warned = False
        self._system_job: str | None = None
        self._thread = threading.Thread(target=self._run, name="encore-ray-tracking", daemon=True)

    def start(self, *, system_metrics_of: str) -> None:
        self._system_job = system_metrics_of
        psutil.cpu_percent()  # the first call only sets the mark from which the next one measures
        self._thread.start()

    def put(self, event: Event) -> None:
        """Take an event; metrics wait for the next write, anything else asks for one now."""
        with self._lock:
            if not self._forgets:
                self._pending.append(event)
        if event.kind != "metrics":
            self._wake.set()

    def release(self) -> None:
        """Write what was held back, and all that comes."""
        self._holds_back = False
        self._wake.set()

    def forget(self) -> bool:
        """Never write what is held back, nor what comes; False where nothing is held back."""
        with self._lock:
            self._forgets = self._holds_back
            if self._forgets:
                self._pending.clear()
        return self._forgets

    def close(self, *, timeout_s: float) -> int:
        """Write what is left and stop; returns how many events could not be written in time."""
        self._closing = True
        self._wake.set()
        self._thread.join(timeout_s)
        with self._lock:
            return len(self._pending)

    def _run(self) -> None:
        sample_at = time.monotonic() + SYSTEM_INTERVAL_S
        while True:
            self._wake.wait(WRITE_INTERVAL_S)
            self._wake.clear()
            closing = self._closing  # read after clear: a close from here on wakes the next wait
            if time.monotonic() >= sample_at:
                sample_at = time.monotonic() + SYSTEM_INTERVAL_S
                self.put(self._sample())
            self._write()
            if closing:
                return

    def _write(self) -> None:
        with self._lock:
            events = list(self._pending)
        if not events or self._holds_back:
            return
        try:
            self._journal.append([self._with_stored_content(event) for event in events])
        except Exception as error:  # a full disk or a store that is away for a while must not stop the job
            if not self._warned:
                logger.warning(
                    "Cannot write the tracking journal in %s: %s. The job goes on; its records are kept in memory and "
                    "written when that works again.",
                    self._journal.folder.uri,
                    error,
                )
                self._warned = True
            return
        with self._lock:
            del self._pending[: len(events)]
        self._on_written()

    def _with_stored_content(self, event: Event) -> Event:
        data = event.body.get("data")
        if data is None:
            return event
        file = self._journal.store_file(event.body["name"], data)
        return Event(event.job, event.pass_name, event.kind, event.time_ms, {"name": event.body["name"], "file": file})

    def _sample(self) -> Event:
        """CPU and memory of the driver's machine, under the names MLflow shows as system metrics."""
        assert self._system_job is not None
        memory = psutil.virtual_memory()
        values: dict[str, Any] = {
            "system/cpu_utilization_percentage": psutil.cpu_percent(),
            "system/system_memory_usage_megabytes": round(memory.used / 1e6, 1),
            "system/system_memory_usage_percentage": memory.percent,
        }
        now = time.time()
        return Event(self._system_job, "", "metrics", int(now * 1000), {"values": values, "step": int(now)})
