"""A terminal that text of a user's data cannot steer, whatever renders it."""

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from encore_ray.visible import visible_lines


class Terminal(Console):
    """A console whose texts are visible: only its own styles and cursor moves reach the terminal as escapes."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As of any console; segments that are no controls of its own are made visible."""
        for segment in super().render(renderable, options):
            text = segment.text if segment.control else visible_lines(segment.text)
            yield segment if text == segment.text else Segment(text, segment.style)
