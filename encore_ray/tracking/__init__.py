"""MLflow tracking that can neither lose nor delay a result.

Every fact of a job goes first into a journal in the run folder (`journal`, written by `writer`). A process of
its own (`courier`, running `delivery`) carries the journal to MLflow, as fast as the server takes it. A server
that is slow, down or refusing therefore costs the job nothing: what it missed stays in the journal, and `replay`
delivers it later. Delivering twice makes no doubles.
"""

from encore_ray.tracking.courier import ReplayReport, replay
from encore_ray.tracking.tracker import PassTracker, Tracker, find_store, open_tracker, untracked
from encore_ray.tracking.uris import SERVED_HERE, default_uri, how_to_open, is_server

__all__ = [
    "SERVED_HERE",
    "PassTracker",
    "ReplayReport",
    "Tracker",
    "default_uri",
    "find_store",
    "how_to_open",
    "is_server",
    "open_tracker",
    "replay",
    "untracked",
]
