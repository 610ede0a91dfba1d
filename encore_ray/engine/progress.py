"""How far a pass is, as whoever watches it is told."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Progress:
    """How far a pass is: rows are pairs, or source rows while preparing; counts are summed over finished units.

    `workers` are the processes that units came from lately, `lost_units` those whose worker died under them.
    """

    name: str
    done_rows: int
    total_rows: int
    done_units: int
    total_units: int
    resumed_rows: int
    seconds: float
    counts: Mapping[str, int] = field(default_factory=dict)
    workers: int = 0
    lost_units: int = 0

    @property
    def rows_per_second(self) -> float:
        """Rate of this process's own work, without what earlier ones had committed."""
        return (self.done_rows - self.resumed_rows) / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        rate = self.rows_per_second
        return (self.total_rows - self.done_rows) / rate if rate > 0 else None

    @property
    def seconds_between_units(self) -> float | None:
        """From the end of one unit to that of the next, on average; None before the first of this process."""
        new_rows = self.done_rows - self.resumed_rows
        return self.seconds * self.total_rows / self.total_units / new_rows if new_rows else None


Watch = Callable[[Progress], None]


def ignore_progress(progress: Progress) -> None:
    """A Watch for callers who do not look."""
