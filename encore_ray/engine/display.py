"""What a person sees while a pass runs: a bar in a terminal, a line now and then elsewhere."""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

if TYPE_CHECKING:
    from encore_ray.engine.progress import Progress as PassProgress

LINE_EVERY_S = 30.0
FIRST_AFTER_S = 1.0  # a pass that is over by then needs no line before its last
SLOW_GAPS = 3  # times the usual pause between units
SHOWN_COUNTS = ("quarantined", "truncated")


class Display:
    """Shows the progress of one pass after another; a context manager that leaves the terminal clean.

    Whatever takes long is seen to go on: a pass whose units are slow, a model that loads, a cluster that starts.

    Args:
        console: where it is shown.
        line_every_s: seconds between lines outside a terminal.
    """

    def __init__(self, console: Console, *, line_every_s: float = LINE_EVERY_S):
        self._console = console
        self._line_every_s = line_every_s
        self._first_after_s = min(FIRST_AFTER_S, line_every_s)
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._last: PassProgress | None = None
        self._noted = ""
        self._told_at = self._line_at = time.monotonic()
        self._first_due = False
        self._ended_passes: set[str] = set()
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
            self._bars = _Bars(*columns, console=self._console, below=self._refreshed)
            self._bars.start()
        else:
            self._heartbeat.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._noted = ""
        if self._bars:
            self._bars.stop()
        else:
            self._ended.set()
            self._heartbeat.join()

    def note(self, text: str) -> None:
        """A line of its own, above the bars."""
        with self._lock:
            self._noted, self._told_at = text, time.monotonic()
            self._line_at = self._told_at
        self._console.print(f"  {text}", highlight=False, markup=False, soft_wrap=True)

    def __call__(self, progress: "PassProgress") -> None:
        """Show how far a pass is; cheap enough to call after every unit."""
        with self._lock:
            begins = self._last is None or self._last.name != progress.name
            if self._bars is not None:
                self._show_bar(self._bars, progress)
            self._last, self._told_at = progress, time.monotonic()
            if self._bars is not None:
                return
            if _finished(progress):
                if progress.name not in self._ended_passes:
                    self._ended_passes.add(progress.name)
                    self._print_line(progress.name, figures(progress))
            elif begins:
                self._first_due = True
            elif self._told_at - self._line_at >= self._line_every_s:
                self._print_line(progress.name, figures(progress))

    def _show_bar(self, bars: Progress, progress: "PassProgress") -> None:
        if progress.name not in self._tasks:
            self._tasks[progress.name] = bars.add_task(progress.name, figures="")
        bars.update(
            self._tasks[progress.name],
            total=max(progress.total_rows, 1),
            completed=progress.done_rows if progress.total_rows else 1,
            figures=figures(progress),
        )

    def _refreshed(self) -> str:
        """Told by every frame of a terminal: brings the bar up to date; what stands below the bars."""
        idle = time.monotonic() - self._told_at
        last = self._last
        if self._bars is not None and last is not None and not _finished(last):
            self._bars.tasks[self._tasks[last.name]].fields["figures"] = self._state(last, idle)
            return ""
        return f"{self._noted} · {duration(idle)}" if self._noted and idle >= self._first_after_s else ""

    def _beat(self) -> None:
        """Outside a terminal: say now and then how far the running pass is, or what is still going on."""
        while not self._ended.wait(self._first_after_s / 2):
            with self._lock:
                now = time.monotonic()
                idle, quiet_s = now - self._told_at, now - self._line_at
                last = self._last
                if last is not None and not _finished(last):
                    if quiet_s >= self._line_every_s or (self._first_due and idle >= self._first_after_s):
                        self._print_line(last.name, self._state(last, idle))
                elif self._noted and quiet_s >= self._line_every_s:
                    self._line_at = now
                    self._console.print(f"  {self._noted} · {duration(idle)} so far", highlight=False, markup=False)

    def _state(self, progress: "PassProgress", idle: float) -> str:
        """How far a pass is after so many seconds in which nothing was heard."""
        return f"{figures(progress, idle=idle)}{self._waiting(progress, idle)}"

    def _waiting(self, progress: "PassProgress", idle: float) -> str:
        """For how long nothing was heard, where that is longer than units take.

        Before the first unit workers start and load what they need.
        """
        if idle < self._first_after_s:
            return ""
        gap = progress.seconds_between_units
        if gap is None:
            return f" · workers start and do their first unit, {duration(idle)}"
        return f" · no unit finished for {duration(idle)}" if idle > SLOW_GAPS * gap else ""

    def _print_line(self, name: str, text: str) -> None:
        self._line_at = time.monotonic()
        self._first_due = False
        self._console.print(f"  {name:<9} {text}", highlight=False, soft_wrap=True)


class _Bars(Progress):
    """Bars with a line below them.

    Args:
        below: called by every frame: the line.
    """

    def __init__(self, *columns: TextColumn | BarColumn, console: Console, below: Callable[[], str]):
        self._below = below
        super().__init__(*columns, console=console)

    def get_renderables(self) -> Iterable[RenderableType]:
        line = self._below()
        yield self.make_tasks_table(self.tasks)
        if line:
            yield Text(f"  {line}", style="dim")


def _finished(progress: "PassProgress") -> bool:
    return progress.done_units == progress.total_units


def figures(progress: "PassProgress", *, idle: float = 0.0) -> str:
    """One line: how much of how much, at which rate, time left, and what went aside.

    Args:
        idle: seconds since the progress was told, which lower its rate. They do not add to the time left: what is in
            work goes on.
    """
    parts = [f"{progress.done_rows:,} of {progress.total_rows:,}"]
    new_rows = progress.done_rows - progress.resumed_rows
    if progress.resumed_rows:
        parts.append(f"{progress.resumed_rows:,} were done before")
    if new_rows and progress.seconds > 0:
        parts.append(f"{replace(progress, seconds=progress.seconds + idle).rows_per_second:,.0f}/s")
    tokens = progress.counts.get("tokens", 0)
    if tokens and new_rows and not progress.resumed_rows:
        parts.append(f"{tokens / progress.seconds:,.0f} tokens/s")
    left = progress.seconds_left
    if left is not None and left > idle and progress.done_rows < progress.total_rows:
        parts.append(f"{duration(left - idle)} left")
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
