"""Where ENCORE helps and where not, with and without labels, on ratings with planted truth: docs/which-weights.md.

python benchmarks/planted.py [--pairs 20000] [--seed 3] [--ratings FOLDER] [--json FILE]

FOLDER holds further tables of ratings, each NAME.parquet with NAME.rules.yaml beside it.
"""

import argparse
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import pyarrow as pa

import encore_ray
from benchmarks.tables import show, write_json
from encore_ray.composition.inference.agreement import Tally
from encore_ray.composition.weigh.rewards import margin_tolerance
from encore_ray.corpora.planted.corpus import WORLDS, World, planted_ratings
from encore_ray.rules import RuleSet
from encore_ray.schema import MARGIN, chosen_column, rejected_column

NUM_PAIRS, SEED = 20_000, 3
SCHEMES = {
    "uniform": {"scheme": "uniform"},
    "encore_2": {"temperature": 2.0},
    "encore_.5": {"temperature": 0.5},
    "consensus": {"scheme": "consensus"},
    "forced": {"scheme": "consensus", "force_consensus": True},
}


@dataclass(frozen=True)
class Figures:
    """What one table of ratings shows.

    Attributes:
        entropy_accuracy, entropy_loading: Pearson r over the rules, with and without labels.
        explained, num_groups, trusted: of the consensus.
        accuracies: over all pairs, of each of SCHEMES.
    """

    entropy_accuracy: float | None
    entropy_loading: float | None
    explained: float | None
    num_groups: int
    trusted: bool
    accuracies: dict[str, float]


def figures(scores: pa.Table | Path, rules: RuleSet | Path) -> Figures:
    """The figures of one table, its scores added up as they are."""
    accuracies, weights = {}, None
    for name, options in SCHEMES.items():
        weights = encore_ray.weigh(scores, rules, options={**options, "score_range": "raw"}).weights
        margin_N = encore_ray.compose(scores, weights).table[MARGIN].to_numpy()
        accuracy = Tally.of(margin_N, tolerance=margin_tolerance(weights)).accuracy
        assert accuracy is not None, "a table without a pair"
        accuracies[name] = accuracy
    assert weights is not None
    assert weights.consensus is not None, "the last scheme looks at it"
    return Figures(
        entropy_accuracy=weights.entropy_accuracy.pearson,
        entropy_loading=weights.consensus.entropy_loading.pearson,
        explained=weights.consensus.explained,
        num_groups=len(weights.consensus.groups),
        trusted=weights.consensus.trusted,
        accuracies=accuracies,
    )


def planted(world: World, *, num_pairs: int, seed: int) -> Figures:
    """The figures of one planted world."""
    made = planted_ratings(world, num_pairs=num_pairs, seed=seed)
    columns = {}
    for k, name in enumerate(made.rules.names):
        columns |= {chosen_column(name): made.chosen_NK[:, k], rejected_column(name): made.rejected_NK[:, k]}
    return figures(pa.table(columns), made.rules)


def cells(found: Figures) -> list[str]:
    """One line of the table."""
    correlations = ["" if r is None else f"{r:+.2f}" for r in (found.entropy_accuracy, found.entropy_loading)]
    explained = f"{found.explained or 0:.3f}, {found.num_groups}{'' if found.trusted else ': not trusted'}"
    return [*correlations, explained, *(f"{accuracy:.3f}" for accuracy in found.accuracies.values())]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=NUM_PAIRS)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--ratings", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = {world: planted(world, num_pairs=options.pairs, seed=options.seed) for world in WORLDS}
    tables = sorted(options.ratings.glob("*.parquet")) if options.ratings else []
    found |= {table.stem: figures(table, table.with_suffix(".rules.yaml")) for table in tables}
    header = ["ratings", "r(H, accuracy)", "r(H, loading)", "explained, groups"]
    show([*header, *SCHEMES], [[name, *cells(each)] for name, each in found.items()])
    write_json(options.json, {name: asdict(each) for name, each in found.items()})


if __name__ == "__main__":
    main()
