"""Where to write the names of points so that they cover neither each other nor the points: geometry only."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

_DIRECTIONS = tuple(math.radians(degrees) for degrees in (0, 180, 45, 135, -45, -135, 90, -90, 20, 160, -20, -160))
_DISTANCES = (3, 9, 18, 30, 45, 62)
NEAR = _DISTANCES[1]  # a name farther from its point needs a line to it


@dataclass(frozen=True)
class Box:
    """A rectangle, x0 <= x1 and y0 <= y1."""

    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def area(self) -> float:
        return (self.x1 - self.x0) * (self.y1 - self.y0)

    @property
    def middle(self) -> tuple[float, float]:
        return (self.x0 + self.x1) / 2, (self.y0 + self.y1) / 2

    def nearest(self, x: float, y: float) -> tuple[float, float]:
        """The box's point that is nearest to (x, y)."""
        return min(max(x, self.x0), self.x1), min(max(y, self.y0), self.y1)

    def overlap(self, other: "Box") -> float:
        """Area that both cover."""
        width = min(self.x1, other.x1) - max(self.x0, other.x0)
        height = min(self.y1, other.y1) - max(self.y0, other.y0)
        return max(width, 0.0) * max(height, 0.0)


@dataclass(frozen=True)
class Label:
    """A placed name: its box, how far that is from its point, and the area that lies on something else."""

    box: Box
    distance: float
    covered: float


def place_labels(
    points: Sequence[tuple[float, float]],
    *,
    sizes: Sequence[tuple[float, float]],
    radii: Sequence[float],
    inside: Box,
    unit: float = 1.0,
) -> list[Label]:
    """Find a place for each name, the first ones closest to their points.

    Args:
        points: of all marks; those after the last size get no name but are kept free.
        sizes: width and height of each name of the first points.
        radii: of all marks.
        inside: where names may stand.
        unit: length of a point (1/72 inch) in the unit of the other arguments.
    """
    taken = [Box(x - r, y - r, x + r, y + r) for (x, y), r in zip(points, radii, strict=True)]
    labels: list[Label] = []
    for point, size, radius in zip(points, sizes, radii, strict=False):
        places = (
            _beside(point, size, direction, radius + distance * unit, distance, taken, inside)
            for distance in _DISTANCES
            for direction in _DIRECTIONS
        )
        label = min(places, key=lambda place: (place.covered, place.distance))
        taken.append(label.box)
        labels.append(label)
    return labels


def _beside(
    point: tuple[float, float],
    size: tuple[float, float],
    direction: float,
    reach: float,
    distance: float,
    taken: Sequence[Box],
    inside: Box,
) -> Label:
    """The name with its nearest edge at a distance from the point."""
    (x, y), (width, height) = point, size
    dx, dy = math.cos(direction), math.sin(direction)
    middle_x = x + dx * reach + 0.5 * width * (1 if dx > 0.1 else -1 if dx < -0.1 else 0)
    middle_y = y + dy * (reach + 0.5 * height)
    box = Box(middle_x - width / 2, middle_y - height / 2, middle_x + width / 2, middle_y + height / 2)
    outside = box.area - box.overlap(inside)
    return Label(box, distance, outside + sum(box.overlap(other) for other in taken))
