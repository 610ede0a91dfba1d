"""What messages call a row of a table: its number, or the label that its frame has for it."""

import contextlib
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import Any

from encore_ray.visible import short

_LABELS: ContextVar[Sequence[Any] | None] = ContextVar("labels", default=None)


@contextlib.contextmanager
def rows_called_by(labels: Sequence[Any] | None) -> Iterator[None]:
    """While it lasts, rows are called by the labels of a frame's index; by their numbers where there is none."""
    token = _LABELS.set(labels)
    try:
        yield
    finally:
        _LABELS.reset(token)


def row_called(number: int) -> str:
    """What to call a row.

    Args:
        number: in its table, from 1.
    """
    labels = _LABELS.get()
    return f"row {number}" if labels is None else f"index {short(str(labels[number - 1]))}"
