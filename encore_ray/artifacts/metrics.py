"""metrics.json: how the composed reward agrees with the labels, in all, by subset, and beside trivial baselines."""

from typing import ClassVar

from encore_ray.artifacts.artifact import Artifact, Part
from encore_ray.artifacts.figures import Correlations, DecidedByVeto, Stats
from encore_ray.composition.evaluate.rewardbench import partial_sections
from encore_ray.schema import METRICS_FILE

MOST_CURVES = 100  # subsets, the largest, that MLflow is told of

Scores = dict[str, float | None]


class LengthBaselines(Part):
    """What would be right if the shorter, or the longer, response always won; None where lengths are not known."""

    shorter_wins: Stats | None = None
    longer_wins: Stats | None = None


class MarginHistogram(Part):
    """Counts of margins in equal cells: one edge more than counts, 0 in the middle."""

    edges: list[float]
    counts: list[int]


class Margin(Part):
    """How far apart the rewards of a pair are."""

    mean: float
    sd: float
    histogram: MarginHistogram | None = None


class Example(Part):
    """A pair to look at."""

    pair_id: str
    subset: str | None
    margin: float


class Examples(Part):
    """The pairs whose rewards are farthest apart: against the label, and with it; the farthest first."""

    losses: list[Example]
    wins: list[Example]


class Metrics(Artifact):
    """What `evaluate` finds; None for what the rows cannot tell.

    Attributes:
        subsets: by name, in their order.
        rewardbench, rewardbench_2: the score of each section; None where the corpus has not their subsets.
        rm_bench: easy, normal, hard and their mean; None where the corpus has no group of RM-Bench.
        rewardbench_safety: that of `rewardbench`, which older versions tell alone.
        entropy_accuracy: of the weights that composed the rewards.
        margin: over the pairs that no veto decides.
        decided_by_veto: None where no rule has a veto.
        examples: older versions keep none.
    """

    FILE: ClassVar[str] = METRICS_FILE
    MADE_BY: ClassVar[str] = "evaluate"

    overall: Stats
    subsets: dict[str, Stats]
    rewardbench_safety: float | None = None
    rewardbench: Scores | None = None
    rewardbench_2: Scores | None = None
    rm_bench: Scores | None = None
    length_baselines: LengthBaselines | None
    entropy_accuracy: Correlations | None = None
    margin: Margin | None
    decided_by_veto: DecidedByVeto | None = None
    examples: Examples | None = None

    @property
    def largest_subsets(self) -> list[tuple[str, Stats]]:
        """Name and figures of every subset, the largest first."""
        return sorted(self.subsets.items(), key=lambda item: -item[1].num_pairs)

    @property
    def benchmarks(self) -> dict[str, Scores | None]:
        """The scores of each benchmark by its name."""
        return {"rewardbench": self.rewardbench, "rewardbench_2": self.rewardbench_2, "rm_bench": self.rm_bench}

    @property
    def rewardbench_parts(self) -> dict[str, str]:
        """Of the sections of RewardBench that some subsets only are there of, what is there and what is not."""
        return partial_sections(self.subsets.keys()) if self.rewardbench else {}

    @property
    def baselines(self) -> dict[str, Stats | None]:
        """By the name of the trivial rule."""
        found = self.length_baselines or LengthBaselines()
        return {"shorter_wins": found.shorter_wins, "longer_wins": found.longer_wins}

    def figures(self) -> Scores:
        """The figures that are worth a curve or a column in MLflow."""
        all_pairs = self.overall
        flat: Scores = {
            "accuracy": all_pairs.accuracy,
            "accuracy_strict": all_pairs.accuracy_strict,
            "accuracy_low": all_pairs.accuracy_low,
            "accuracy_high": all_pairs.accuracy_high,
            "num_pairs": all_pairs.num_pairs,
            "wins": all_pairs.wins,
            "ties": all_pairs.ties,
            "losses": all_pairs.losses,
        }
        shown = self.subsets.items() if len(self.subsets) <= MOST_CURVES else self.largest_subsets[:MOST_CURVES]
        flat |= {f"accuracy/{name}": stats.accuracy for name, stats in shown}
        flat["rewardbench_safety"] = self.rewardbench_safety
        for benchmark, scores in self.benchmarks.items():
            flat |= {f"{benchmark}/{name}": score for name, score in (scores or {}).items()}
        for name, stats in self.baselines.items():
            flat[f"baseline/{name}"] = stats.accuracy if stats else None
        if self.decided_by_veto:
            flat |= {"decided_by_veto": self.decided_by_veto.num_pairs, "right_by_veto": self.decided_by_veto.right}
        if self.entropy_accuracy:
            flat["entropy_accuracy_pearson"] = self.entropy_accuracy.pearson
        return flat
