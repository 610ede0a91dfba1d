"""Names beside the points of a scatter plot by matplotlib, placed so that they can be read."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patheffects import withStroke

from encore_ray.report.drawing.placement import NEAR, Box, place_labels

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
    texts = [
        axes.annotate(
            name,
            centre,
            xycoords="figure pixels",
            xytext=centre,
            textcoords="figure pixels",
            ha="center",
            va="center",
            fontsize=_FONT_SIZE_PT,
            color=color,
            annotation_clip=False,
            zorder=5,
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
        )
        for name, centre in zip(names, centres, strict=False)
    ]
    extents = [text.get_window_extent(renderer) for text in texts]
    labels = place_labels(
        centres,
        sizes=[(extent.width, extent.height) for extent in extents],
        radii=[radius_pt * pixels_a_pt for radius_pt in radii_pt],
        inside=Box(*axes.get_window_extent(renderer).extents),
        unit=pixels_a_pt,
    )
    to_data = axes.transData.inverted()
    for text, label, (x, y) in zip(texts, labels, centres, strict=False):
        text.set_position(label.box.middle)
        if label.distance > NEAR:
            (x0, y0), (x1, y1) = to_data.transform((x, y)), to_data.transform(label.box.nearest(x, y))
            axes.plot([x0, x1], [y0, y1], color=color, linewidth=0.5, alpha=0.5, zorder=1.5)
