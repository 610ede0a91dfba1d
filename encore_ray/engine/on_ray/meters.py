"""Metrics of the running passes for Prometheus, through Ray's own exporter.

They are fed by the driver from what units committed, so that a unit counts once however often it was tried, and a
resumed job counts on from what was there. Ray puts `ray_` before the names.
"""

from urllib.parse import quote

from ray.util.metrics import Counter, Gauge

from encore_ray.engine.progress import Progress

_LABELS = ("pass", "run")

# By count of the commits: the metric's name, what it counts, and how much of the count one of it is.
_COUNTERS = {
    "quarantined": ("quarantined_rows", "Rows that could not be used.", 1),
    "truncated": ("truncated_pairs", "Pairs of which tokens were cut off.", 1),
    "tokens": ("tokens", "Tokens of all sequences that were scored.", 1),
    "computed_tokens": ("computed_tokens", "Token slots that went through the model.", 1),
    "forward_ms": ("forward_seconds", "Actor seconds with a forward pass running.", 1000),
    "idle_ms": ("wait_seconds", "Actor seconds with no forward pass to run.", 1000),
    "rescored_units": ("rescored_units", "Units that ran out of memory and took a smaller budget.", 1),
}


class Meters:
    """The metrics of one run's passes; told of the progress after each unit, as a display is.

    Args:
        run: label that tells the jobs of a cluster apart. Ray takes ASCII alone: another is shown as in a URL.
    """

    def __init__(self, run: str):
        self._run = run if run.isascii() else quote(run)
        self._rows = _counter("rows", "Rows finished: pairs, or source rows while preparing.")
        self._units = _counter("units", "Units committed.")
        self._lost_units = _counter("lost_units", "Units whose worker died under them, and that were tried again.")
        self._total_rows = Gauge("encore_ray_total_rows", "Rows that the pass has in all.", tag_keys=_LABELS)
        self._workers = Gauge("encore_ray_workers", "Processes that units came from lately.", tag_keys=_LABELS)
        self._counters = {count: _counter(name, text) for count, (name, text, _) in _COUNTERS.items()}
        self._told: dict[tuple[str, str], int] = {}

    def __call__(self, progress: Progress) -> None:
        labels = {"pass": progress.name, "run": self._run}
        self._total_rows.set(progress.total_rows, labels)
        self._workers.set(progress.workers, labels)
        self._bring(self._rows, progress.name, "rows", progress.done_rows)
        self._bring(self._units, progress.name, "units", progress.done_units)
        self._bring(self._lost_units, progress.name, "lost_units", progress.lost_units)
        for count, (_, _, one) in _COUNTERS.items():
            self._bring(self._counters[count], progress.name, count, progress.counts.get(count, 0), one=one)

    def _bring(self, counter: Counter, pass_name: str, count: str, value: int, *, one: int = 1) -> None:
        """Bring a counter up to a sum over all commits."""
        more = value - self._told.get((pass_name, count), 0)
        if more > 0:
            self._told[pass_name, count] = value
            counter.inc(more / one, {"pass": pass_name, "run": self._run})


def _counter(name: str, description: str) -> Counter:
    return Counter(f"encore_ray_{name}", description, tag_keys=_LABELS)
