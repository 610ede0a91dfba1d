"""What becomes of a piece of work: its result, its own error, or the death of the process that did it."""

import pickle
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cloudpickle

from encore_ray.errors import EncoreError
from encore_ray.schema import Reason


class WorkerError(Exception):
    """A defect of ours in a worker: carries the worker's traceback."""


@dataclass(frozen=True)
class Lost:
    """In place of a result: a worker that had this unit died.

    Attributes:
        unit: what it had; in a worker's answer its number.
        how: the process that died and its log, or what Ray says.
    """

    unit: Any
    how: str


@dataclass(frozen=True)
class Death:
    """A worker died while it had just one thing to do.

    Attributes:
        reason: KILLS_WORKER, or HANGS where it was ended for its hanging.
        detail: a sentence with the process and its log.
    """

    reason: Reason
    detail: str


def answered(work: Callable[[], Any]) -> bytes:
    """The result of some work, or its error, for `open_answer`."""
    try:
        return cloudpickle.dumps(("done", work()))
    except EncoreError as error:
        return cloudpickle.dumps(("mistake", error))
    except Exception:
        return cloudpickle.dumps(("defect", traceback.format_exc()))


def open_answer(answer: bytes) -> Any:
    """The result in a worker's answer; or its error, raised with its own type."""
    kind, value = pickle.loads(answer)  # noqa: S301  made by our own worker
    if kind == "mistake":
        raise value
    if kind == "defect":
        raise WorkerError(value)
    return value
