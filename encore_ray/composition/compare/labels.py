"""What a reader is shown for each name of a comparison."""

from encore_ray.composition.compare.comparison import BASELINES
from encore_ray.composition.compare.entrants import BY_GROUP, SELECTED
from encore_ray.composition.weigh.schemes import SCHEMES

LABELS: dict[str, str] = {
    **{scheme.name: scheme.label for scheme in SCHEMES},
    BY_GROUP: "ENCORE, weights a subset",
    **SELECTED,
    **BASELINES,
}
