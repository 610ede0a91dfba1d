"""Sums of what not every part knows."""

from typing import Any, Protocol, Self, TypeVar


class Addable(Protocol):
    """What adds up with its like."""

    def __add__(self, other: Any, /) -> Self: ...


Sum = TypeVar("Sum", bound=Addable)


def add_known(one: Sum | None, other: Sum | None) -> Sum | None:
    """The sum of two parts; None where either is not known."""
    return None if one is None or other is None else one + other
