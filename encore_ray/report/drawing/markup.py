"""HTML and SVG from Python values, escaped by construction: a string is text unless it is already `Markup`.

What comes out is well-formed XML as well as HTML, so a parser can prove that nothing of the data became markup.
"""

import re
from collections.abc import Iterable
from typing import TypeAlias

from encore_ray.visible import visible_lines

_VOID = frozenset({"br", "col", "hr", "img", "link", "meta"})
_SHAPES = frozenset({"circle", "ellipse", "line", "path", "polygon", "polyline", "rect", "use"})
_ILLEGAL = re.compile("[\ufdd0-\ufdef\ufffe\uffff]")
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;"})


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


Child: TypeAlias = "str | Iterable[Child] | None"
Value: TypeAlias = "str | float | bool | None"


def escape(text: str) -> Markup:
    """Text as HTML, controls made visible; other characters that no document may hold become U+FFFD."""
    return Markup(_ILLEGAL.sub("\ufffd", visible_lines(text)).translate(_ENTITIES))


def join(*children: Child) -> Markup:
    """Children one after another: strings are escaped, None is nothing, sequences are flattened."""
    return Markup("".join(_pieces(children)))


def tag(name: str, *children: Child, **attributes: Value) -> Markup:
    """An element.

    Args:
        children: see `join`.
        attributes: class_ is class and stroke_width is stroke-width; None and False leave one out, True gives its
            own name. Floats have at most two decimals: fine enough for pixels and percent.
    """
    opening = "".join([name, *(_attribute(key, value) for key, value in attributes.items())])
    content = join(*children)
    if name in _VOID or (name in _SHAPES and not content):
        return Markup(f"<{opening}/>")
    return Markup(f"<{opening}>{content}</{name}>")


def decimal(value: float) -> str:
    """A number of at most two decimals, as short as it goes."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _pieces(children: Iterable[Child]) -> Iterable[str]:
    for child in children:
        if isinstance(child, Markup):
            yield child
        elif isinstance(child, str):
            yield escape(child)
        elif child is not None:
            yield from _pieces(child)


def _attribute(key: str, value: Value) -> str:
    name = key.rstrip("_").replace("_", "-")
    if value is None or value is False:
        return ""
    if value is True:
        return f' {name}="{name}"'
    return f' {name}="{decimal(value) if isinstance(value, int | float) else escape(value)}"'
