"""Chat templates are programs of strangers: they run in a sandbox, with a pinned clock and an end.

What a template may use is what transformers gives it, and it renders the same (tests compare). Beside that it has a
limit of time and of output, looked at in every turn of a loop, at every call, and wherever text is put together.
"""

import re
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from jinja2 import TemplateError, nodes, pass_context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer
from transformers.utils import chat_template_utils

from encore_ray.errors import ModelError
from encore_ray.models.spec.conversation import Message

MOST_SECONDS = 10.0
_SPARE_CHARS = 1 << 20  # that a template may write beside four times the text of a conversation
_WIDTH = re.compile(r"\d{5,}")  # of a format


class TemplateOverrun(Exception):
    """A template ran for too long, or wrote too much."""


class ChatTemplate:
    """One template, compiled; several threads may render by it.

    Args:
        source: in Jinja.
        clock: what it takes the time to be, in ISO 8601.

    Raises:
        ModelError: it cannot be compiled.
    """

    def __init__(self, source: str, clock: str):
        try:
            self._environment = _Environment(datetime.fromisoformat(clock))
            self._template = self._environment.from_string(source)
        except (TemplateError, RecursionError, OverflowError, MemoryError) as error:
            raise ModelError(
                f"The chat template cannot be read: {_said(error)}. Give another (score.template)."
            ) from error

    def render(self, messages: Sequence[Message], variables: Mapping[str, Any]) -> str:
        """The text of a conversation; raises whatever the template does, or TemplateOverrun."""
        budget = self._environment.begin(sum(len(message["content"]) for message in messages))
        parts = []
        values = {"messages": [dict(message) for message in messages], "tools": None, "documents": None, **variables}
        for part in self._template.generate(values):
            budget.tick(len(part))
            parts.append(part)
        return "".join(parts)


@lru_cache(maxsize=64)
def chat_template(source: str, clock: str) -> ChatTemplate:
    """A template, compiled once."""
    return ChatTemplate(source, clock)


def sees_clock(source: str) -> bool:
    """Whether a template asks for the time."""
    return "strftime_now" in source


class _Budget:
    def __init__(self, most_chars: int):
        self._until, self._most_chars, self._chars = time.monotonic() + MOST_SECONDS, most_chars, 0

    def tick(self, chars: int = 0) -> None:
        self._chars += chars
        self.hold(self._chars)
        if time.monotonic() > self._until:
            raise TemplateOverrun(f"it runs for more than {MOST_SECONDS:g} s")

    def hold(self, size: int) -> None:
        if size > self._most_chars:
            raise TemplateOverrun(f"it writes more than {self._most_chars:,} characters")


class _Environment(ImmutableSandboxedEnvironment):
    """transformers' own sandbox, with limits and another clock."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self, clock: datetime):
        given = chat_template_utils._compile_jinja_template("").environment
        extensions = [type(each) for each in given.extensions.values()]
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=extensions)
        self._state = threading.local()
        self.filters.update({**given.filters, "_each": _each, "_bounded": _bounded})
        self.globals.update({**given.globals, "strftime_now": clock.strftime})

    def begin(self, num_chars: int) -> _Budget:
        """A new rendering in this thread."""
        self._state.budget = _Budget(4 * num_chars + _SPARE_CHARS)
        return self._state.budget

    @property
    def budget(self) -> _Budget:
        return getattr(self._state, "budget", None) or self.begin(0)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        _Bounding().visit(tree)
        tree.set_environment(self)
        return tree

    def call(self, context: Any, obj: Any, *args: Any, **kwargs: Any) -> Any:
        self.budget.tick()
        return self.bound(super().call(context, obj, *args, **kwargs))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "*":
            sizes = [len(side) if isinstance(side, str | list | tuple) else side for side in (left, right)]
            if all(isinstance(size, int) for size in sizes) and sizes != [left, right]:
                self.budget.hold(abs(sizes[0] * sizes[1]))
        if operator == "**" and isinstance(left, int) and isinstance(right, int):
            self.budget.hold(left.bit_length() * abs(right))
        if operator == "%" and isinstance(left, str) and _WIDTH.search(left):
            raise TemplateOverrun("it formats something over ten thousand characters")
        return self.bound(super().call_binop(context, operator, left, right))

    def bound(self, value: Any) -> Any:
        if isinstance(value, str | list | tuple):
            self.budget.hold(len(value))
        return value


class _Bounding(NodeTransformer):
    """Puts a filter around what loops go through, and around what is put together by `~`."""

    def visit_For(self, node: nodes.For) -> nodes.Node:
        self.generic_visit(node)
        node.iter = nodes.Filter(node.iter, "_each", [], [], None, None, lineno=node.lineno)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return nodes.Filter(node, "_bounded", [], [], None, None, lineno=node.lineno)


@pass_context  # so that nothing is done when the template is compiled
def _each(context: Any, values: Iterable[Any]) -> Iterator[Any]:
    return _ticking(context.environment, iter(values))


def _ticking(environment: _Environment, values: Iterator[Any]) -> Iterator[Any]:
    for value in values:
        environment.budget.tick()
        yield value


@pass_context
def _bounded(context: Any, value: Any) -> Any:
    return context.environment.bound(value)


def _said(error: BaseException) -> str:
    line = getattr(error, "lineno", None)
    return f"{type(error).__name__}: {error}" + (f" (line {line})" if line else "")
