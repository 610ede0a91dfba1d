"""Where ENCORE helps and where it does not, on ratings with planted truth: the README's table.

python benchmarks/planted.py
"""

from encore_ray.composition.measure.agreement import Tally
from encore_ray.composition.measure.binning import choose_binning
from encore_ray.composition.measure.statistics import RuleStatistics
from encore_ray.composition.weigh.rewards import compose, margin_tolerance
from encore_ray.composition.weigh.schemes import Encore, Uniform
from encore_ray.composition.weigh.weighing import weigh
from encore_ray.corpora.planted.corpus import WORLDS, World, planted_ratings

NUM_PAIRS, SEED = 20_000, 3
SCHEMES = (Uniform(), Encore(2.0), Encore(0.5))


def row(world: World) -> str:
    """One line of the table: correlation of entropy with accuracy, and the accuracy under each scheme."""
    planted = planted_ratings(world, num_pairs=NUM_PAIRS, seed=SEED)
    sides = list(planted.chosen_NK.T), list(planted.rejected_NK.T)
    ids = [str(number) for number in range(NUM_PAIRS)]
    statistics = RuleStatistics.measure(
        *sides,
        rules=planted.rules,
        binnings=[choose_binning(rule) for rule in planted.rules],
        has_rejected_N=[True] * NUM_PAIRS,
        pair_ids=ids,
        keys=ids,
    )
    accuracies = []
    for scheme in SCHEMES:
        weights = weigh(statistics, scheme=scheme)
        margin_N = compose(*sides, weights=weights).margin_N
        accuracies.append(Tally.of(margin_N, tolerance=margin_tolerance(weights)).accuracy)
    pearson = weigh(statistics).entropy_accuracy.pearson
    return " | ".join([f"| {world:<21}", f"{pearson:+.2f}", *(f"{accuracy:.3f}" for accuracy in accuracies)]) + " |"


if __name__ == "__main__":
    print("| world                 | r(entropy, accuracy) | uniform | ENCORE, tau 2 | ENCORE, tau 0.5 |")
    for world in WORLDS:
        print(row(world))
