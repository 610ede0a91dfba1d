"""What the report calls each line of a comparison."""

from encore_ray.composition.compare.lineup import BY_GROUP, BY_RATINGS, SELECTED
from encore_ray.composition.measure.baselines import BASELINES
from encore_ray.composition.weigh.schemes import SCHEMES

LABELS: dict[str, str] = {
    **{scheme.name: scheme.label for scheme in SCHEMES},
    BY_GROUP: "ENCORE, weights a subset",
    BY_RATINGS: "ENCORE, entropies of the ratings",
    **SELECTED,
    **{baseline.name: baseline.label for baseline in BASELINES},
}
