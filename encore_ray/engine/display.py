"""What a person sees while a pass runs: a bar in a terminal, a line every few seconds elsewhere."""

import threading
import time
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

if TYPE_CHECKING:
    from encore_ray.engine.progress import Progress as PassProgress

LINE_EVERY_S = 5.0
SHOWN_COUNTS = ("quarantined", "truncated")


class Display:
    """Shows the progress of one pass after another; a context manager that leaves the terminal clean.

    Outside a terminal a thread goes on printing lines while no unit finishes, so that a slow pass does not look dead.

    Args:
        console: where it is shown.
        line_every_s: seconds between lines outside a terminal.
    """

    def __init__(self, console: Console, *, line_every_s: float = LINE_EVERY_S):
        self._console = console
        self._line_every_s = line_every_s
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._last: PassProgress | None = None
        self._last_told = self._last_line = 0.0
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._heartbeat = threading.Thread(target=self._beat, name="encore-ray-progress", daemon=True)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            columns = (
                TextColumn("  {task.description:<9}"),
                BarColumn(bar_width=30),
                TextColumn("{task.fields[figures]}"),
            )
            self._bars = Progress(*columns, console=self._console)
            self._bars.start()
        else:
            self._heartbeat.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._bars:
            self._bars.stop()
        else:
            self._ended.set()
            self._heartbeat.join()

    def note(self, text: str) -> None:
        """A line of its own, above the bars."""
        self._console.print(f"  {text}", highlight=False, markup=False, soft_wrap=True)

    def __call__(self, progress: "PassProgress") -> None:
        """Show how far a pass is; cheap enough to call after every unit."""
        if self._bars is not None:
            if progress.name not in self._tasks:
                self._tasks[progress.name] = self._bars.add_task(progress.name, figures="")
            self._bars.update(
                self._tasks[progress.name],
                total=max(progress.total_rows, 1),
                completed=progress.done_rows if progress.total_rows else 1,
                figures=figures(progress),
            )
            return
        with self._lock:
            first = self._last is None or self._last.name != progress.name
            self._last, self._last_told = progress, time.monotonic()
            if first or _finished(progress) or self._last_told - self._last_line >= self._line_every_s:
                self._print_line(progress.name, figures(progress))

    def _beat(self) -> None:
        """Repeat the last state of the running pass, with the rate that it has come down to since."""
        while not self._ended.wait(self._line_every_s / 5):
            with self._lock:
                now = time.monotonic()
                if self._last and not _finished(self._last) and now - self._last_line >= self._line_every_s:
                    idle = now - self._last_told
                    state = figures(replace(self._last, seconds=self._last.seconds + idle))
                    self._print_line(self._last.name, f"{state}{self._waiting(idle)}")

    def _waiting(self, idle: float) -> str:
        """How long nothing was heard; before the first unit that is the time that workers take to start, too."""
        if idle <= self._line_every_s / 2:
            return ""
        begun = self._last is not None and self._last.done_rows > self._last.resumed_rows
        return f" · {'no unit finished for' if begun else 'waiting for the first unit,'} {duration(idle)}"

    def _print_line(self, name: str, text: str) -> None:
        self._last_line = time.monotonic()
        self._console.print(f"  {name:<9} {text}", highlight=False, soft_wrap=True)


def _finished(progress: "PassProgress") -> bool:
    return progress.done_units == progress.total_units


def figures(progress: "PassProgress") -> str:
    """One line: how much of how much, at which rate, time left, and what went aside."""
    parts = [f"{progress.done_rows:,} of {progress.total_rows:,}"]
    new_rows = progress.done_rows - progress.resumed_rows
    if progress.resumed_rows:
        parts.append(f"{progress.resumed_rows:,} were done before")
    if new_rows and progress.seconds > 0:
        parts.append(f"{progress.rows_per_second:,.0f}/s")
    tokens = progress.counts.get("tokens", 0)
    if tokens and new_rows and not progress.resumed_rows:
        parts.append(f"{tokens / progress.seconds:,.0f} tokens/s")
    left = progress.seconds_left
    if left is not None and progress.done_rows < progress.total_rows:
        parts.append(f"{duration(left)} left")
    if progress.workers and not _finished(progress):
        parts.append("1 worker" if progress.workers == 1 else f"{progress.workers:,} workers")
    parts += [f"{progress.counts[name]:,} {name}" for name in SHOWN_COUNTS if progress.counts.get(name)]
    if progress.lost_units:
        lost = progress.lost_units
        parts.append("1 unit lost its worker" if lost == 1 else f"{lost:,} units lost their worker")
    return " · ".join(parts)


def duration(seconds: float) -> str:
    """A time for people: 8 s, 3 min 20 s, 2 h 5 min, 3 days 4 h."""
    whole = max(0, round(seconds))
    for unit, size, small, small_size in (("days", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if whole >= size:
            rest = whole % size // small_size
            return f"{whole // size} {unit}" + (f" {rest} {small}" if rest else "")
    return f"{whole} s"
