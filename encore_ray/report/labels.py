"""Names beside the points of a scatter plot, placed so that they cover neither each other nor the points."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Bbox

_DIRECTIONS = tuple(math.radians(degrees) for degrees in (0, 180, 45, 135, -45, -135, 90, -90, 20, 160, -20, -160))
_DISTANCES_PT = (3, 9, 18, 30, 45, 62)
_FONT_SIZE_PT = 8.0


def label_points(
    axes: Axes,
    canvas: FigureCanvasAgg,
    *,
    points: Sequence[tuple[float, float]],
    names: Sequence[str],
    radii_pt: Sequence[float],
    color: str,
) -> None:
    """Write each name next to its point, the first ones closest; a name that must move away gets a thin line.

    The figure's layout must be final: places are found in pixels.

    Args:
        axes: with the points drawn and the limits set.
        canvas: of the figure.
        points: in data units; those after the last name get none but are kept free.
        names: of the first points.
        radii_pt: radius of each point's marker, in points.
        color: of the names.
    """
    pixels_a_pt = axes.figure.dpi / 72
    renderer = canvas.get_renderer()
    centres = [tuple(axes.transData.transform(point)) for point in points]
    taken = [
        Bbox.from_extents(x - r * pixels_a_pt, y - r * pixels_a_pt, x + r * pixels_a_pt, y + r * pixels_a_pt)
        for (x, y), r in zip(centres, radii_pt, strict=True)
    ]
    inside = axes.get_window_extent(renderer)
    for name, (x, y), radius_pt in zip(names, centres, radii_pt, strict=False):
        text = axes.annotate(
            name,
            (x, y),
            xycoords="figure pixels",
            xytext=(x, y),
            textcoords="figure pixels",
            ha="center",
            va="center",
            fontsize=_FONT_SIZE_PT,
            color=color,
            annotation_clip=False,
            zorder=5,
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
        )
        size = text.get_window_extent(renderer)
        box, distance_pt = min(
            (
                (_beside(x, y, size, direction, (radius_pt + distance_pt) * pixels_a_pt), distance_pt)
                for distance_pt in _DISTANCES_PT
                for direction in _DIRECTIONS
            ),
            key=lambda place: (_covered(place[0], taken, inside), place[1]),
        )
        taken.append(box)
        middle = ((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2)
        text.set_position(middle)
        if distance_pt > _DISTANCES_PT[1]:
            end = (min(max(x, box.x0), box.x1), min(max(y, box.y0), box.y1))
            to_data = axes.transData.inverted()
            (x0, y0), (x1, y1) = to_data.transform((x, y)), to_data.transform(end)
            axes.plot([x0, x1], [y0, y1], color=color, linewidth=0.5, alpha=0.5, zorder=1.5)


def _beside(x: float, y: float, size: Bbox, direction: float, distance: float) -> Bbox:
    """The label's box with its nearest edge at a distance from the point, in pixels."""
    dx, dy = math.cos(direction), math.sin(direction)
    centre_x = x + dx * distance + (0.5 * size.width * (1 if dx > 0.1 else -1 if dx < -0.1 else 0))
    centre_y = y + dy * (distance + 0.5 * size.height)
    return Bbox.from_bounds(centre_x - size.width / 2, centre_y - size.height / 2, size.width, size.height)


def _covered(box: Bbox, taken: Sequence[Bbox], inside: Bbox) -> float:
    """Square pixels of the box that lie on something else or outside the axes; 0 is a free place."""
    within = Bbox.intersection(box, inside)
    area = box.width * box.height - (within.width * within.height if within else 0.0)
    for other in taken:
        common = Bbox.intersection(box, other)
        area += common.width * common.height if common else 0.0
    return area
