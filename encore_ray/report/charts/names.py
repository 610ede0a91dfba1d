"""Names beside the marks of a figure, where there is room for them; marks tell theirs when pointed at."""

from encore_ray.report.drawing.markup import Markup, tag
from encore_ray.report.drawing.placement import NEAR, Label

_FREE = 1.0  # square pixels that a name may share with something else


def leader(x: float, y: float, label: Label) -> Markup | None:
    """A thin line from a mark to a name that stands far from it."""
    if label.distance <= NEAR or label.covered > _FREE:
        return None
    end_x, end_y = label.box.nearest(x, y)
    return tag("line", class_="leader", x1=x, y1=y, x2=end_x, y2=end_y)


def name_text(text: str, label: Label) -> Markup | None:
    """A name in its box."""
    if label.covered > _FREE:
        return None
    middle_x, middle_y = label.box.middle
    return tag("text", text, class_="name", x=middle_x, y=middle_y + 4, text_anchor="middle")
