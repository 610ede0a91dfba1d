"""The lease on a remote run folder: taken once its holder ended or fell silent, renewed, released at the end."""

import logging
import threading
import time
import uuid
from collections.abc import Callable

from encore_ray.errors import ClusterError, ConfigError
from encore_ray.folder.driver.entries import Entry, LeaseFiles
from encore_ray.folder.driver.process import Driver
from encore_ray.storage import Folder

logger = logging.getLogger("encore_ray")

RENEWALS = 4  # a term
LOOKS = 20  # a term, of one that watches
SLACK = 1.1  # of the terms that a watcher waits, for clocks that do not run alike
RELEASE_S = 20.0  # for the last word to a store; then a watcher must find out by itself


def boot_clock() -> float:
    """Seconds since this machine was started, those in which it slept included where it counts them."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Lease:
    """A lease that this process holds, or waits for; renewed by a thread of its own while it is held.

    Args:
        run: the run folder.
        driver: this process.
        on_loss: called once, by the thread that finds that another one took over.
        term_s: seconds; see `Entry`.
    """

    def __init__(self, run: Folder, driver: Driver, *, on_loss: Callable[[], object], term_s: float):
        self.run = run
        self.files = LeaseFiles.of_run(run)
        self._driver = driver
        self._on_loss = on_loss
        self._term_s = term_s
        self._holder = uuid.uuid4().hex
        self._number = 0
        self._renewed = 0.0
        self._successor: Entry | None = None
        self._is_told = False
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="encore-ray-lease", daemon=True)

    def take(self, number: int) -> bool:
        """Try to make the file of this number, and keep the lease from then on."""
        sent = boot_clock()
        if not self.files.make(self._entry(number)):
            return False
        self._number, self._renewed = number, sent
        self._thread.start()
        return True

    def release(self) -> None:
        """Let the next driver start at once; nothing happens where another one took over."""
        self._ended.set()
        self._thread.join(RELEASE_S)
        if self._thread.is_alive():
            logger.warning(
                "%s cannot be reached to release its lease: the next driver waits up to %.0f s to see that this one is "
                "gone.",
                self.run.uri,
                self._term_s * SLACK,
            )

    def require(self, *, ask: bool = True) -> None:
        """Raise where another driver took over.

        Args:
            ask: the store, where the last renewal is older than half a term, as after a sleep; False: what is known.

        Raises:
            ClusterError: it did. ConfigError: the store cannot be asked.
        """
        if ask and self._successor is None and boot_clock() - self._renewed > self._term_s / 2:
            self._renew()
        if self._successor is not None:
            self._is_told = True
            raise ClusterError(
                f"This driver was cut off from {self.run.uri}, or stood still, for more than {self._term_s:g} s, and "
                f"another one took over: {self._successor}. It ends without touching what is the other's. Let that one "
                "finish; the same command resumes the run if it does not."
            )

    @property
    def is_told(self) -> bool:
        """Whether `require` has raised that another driver took over."""
        return self._is_told

    def _keep(self) -> None:
        is_away = False
        while not self._ended.wait(self._term_s / RENEWALS):
            try:
                self._renew()
                is_away = False
            except Exception as error:  # whatever it is, the next try may do
                if not is_away:
                    logger.warning("The lease on %s cannot be renewed, which is tried again: %s", self.run.uri, error)
                is_away = True
            if self._successor is not None:
                if not self._is_told:
                    self._on_loss()
                return
        try:
            self._renew(holder="")
        except ConfigError as error:
            logger.warning("The lease on %s could not be released: %s", self.run.uri, error)

    def _renew(self, *, holder: str | None = None) -> None:
        """Make the next file; one without a holder releases the lease."""
        with self._lock:
            while self._successor is None:
                sent = boot_clock()
                if self.files.make(self._entry(self._number + 1, holder=holder)):
                    self._number, self._renewed = self._number + 1, sent
                    return
                latest = self.files.latest()
                if latest is None or latest.holder != self._holder:
                    self._successor = latest or Entry(self._number + 1, "unknown", None)
                elif latest.number > self._number:  # an earlier try, whose success the store did not tell
                    self._number = latest.number
                else:
                    raise ConfigError(f"{self.run.uri}: its store does not list a file that it says is there.")

    def _entry(self, number: int, *, holder: str | None = None) -> Entry:
        return Entry(number, self._holder if holder is None else holder, self._driver, time.time(), self._term_s)


class Watch:
    """Whether the holder of a lease is alive, as seen by one who looks again and again.

    Attributes:
        entry: the last one seen.
        is_alive: whether the holder made a file since the watch began.
        silent_s: seconds without a new one. An outage counts for two looks at most: who cannot see knows nothing.
    """

    def __init__(self) -> None:
        self.entry: Entry | None = None
        self.is_alive = False
        self.silent_s = 0.0
        self._looked = 0.0

    def look(self, entry: Entry) -> None:
        now = boot_clock()
        if self.entry is None or entry.number != self.entry.number:
            self.is_alive = self.entry is not None
            self.silent_s = 0.0
        else:
            self.silent_s += min(now - self._looked, 2 * self.pause_s)
        self.entry, self._looked = entry, now

    @property
    def pause_s(self) -> float:
        """Seconds between two looks."""
        return self.entry.term_s / LOOKS if self.entry else 0.0

    @property
    def most_s(self) -> float:
        """Seconds of silence after which the holder is gone, or cut off."""
        return self.entry.term_s * SLACK if self.entry else 0.0

    @property
    def is_over(self) -> bool:
        return self.silent_s > self.most_s
