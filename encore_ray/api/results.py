"""What the functions on tables give, and what a run folder holds: short in a line, tables in a notebook."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from os import PathLike, fspath
from textwrap import shorten
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa

from encore_ray.artifacts import Comparison, Metrics, WeightsFile, read_weights
from encore_ray.artifacts.figures import Stats
from encore_ray.composition.weigh.weights import RuleWeight
from encore_ray.composition.weigh.weights import Weights as Content
from encore_ray.files import durable
from encore_ray.storage import Folder, absolute

if TYPE_CHECKING:
    import pandas as pd

_MOST_SHOWN = 20  # rows of a long table in a notebook


class _Shown:
    """A result that is looked at as a table."""

    def to_pandas(self) -> "pd.DataFrame":
        """The rows as a pandas frame."""
        raise NotImplementedError

    def _notes(self) -> Sequence[str]:
        """Sentences below the table."""
        return ()

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        notes = "".join(f"<p>{escape(note, quote=False)}</p>" for note in self._notes() if note)
        return self.to_pandas().to_html(index=False) + notes


@dataclass(frozen=True, repr=False)
class Weights(_Shown):
    """The weights of rules, and what they rest on.

    Attributes:
        weights: all of them, as `encore-ray weigh` stores it.
        assumed: how a table in another form was read, where its rules are, and what was taken for granted of rules that
            nobody gave; empty where nothing was.
    """

    weights: Content
    assumed: str = ""

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Self:
        """Those in a weights.json, local or at a URL.

        Raises:
            DataError: it is not there, is none, or was changed after it was written.
        """
        folder, _, name = absolute(fspath(path)).rpartition("/")
        return cls(read_weights(Folder(folder or "/"), name))

    def save(self, path: str | PathLike[str]) -> None:
        """Write weights.json, as `encore-ray weigh` does."""
        durable.replace_file(absolute(fspath(path)), [WeightsFile.of_weights(self.weights).to_json()])

    @property
    def rules(self) -> tuple[RuleWeight, ...]:
        """Each rule with its weight, in their order."""
        return self.weights.rules

    def to_pandas(self) -> "pd.DataFrame":
        """A row a rule: its weight, entropy, accuracy and flags, and where any rule has them its veto and points."""
        import pandas as pd

        keys = ["name", "higher_is", "weight", "entropy", "entropy_low", "entropy_high", "accuracy", "flags"]
        rules = self.weights.to_dict()["rules"]
        keys += [key for key in ("veto", "points") if any(key in rule for rule in rules)]
        rows = [{**{key: rule.get(key) for key in keys}, "flags": ", ".join(rule["flags"])} for rule in rules]
        return pd.DataFrame(rows, columns=keys)

    def __repr__(self) -> str:
        return repr(self.weights)

    def _notes(self) -> Sequence[str]:
        return [self.assumed, *self.weights.warnings]


@dataclass(frozen=True, repr=False)
class Rows(_Shown):
    """Rows of a table, a pair each.

    Attributes:
        table: as an Arrow table.
        what: what they are.
        assumed: how a table in another form was read, and what of its scores is to be heeded; else empty.
        index: of the pandas frame that they were made of; None for others.
    """

    table: pa.Table
    what: str
    assumed: str = ""
    index: "pd.Index | None" = None

    def to_pandas(self) -> "pd.DataFrame":
        """The rows as a pandas frame, under the index of the scores' frame where they were one."""
        frame = self.table.to_pandas()
        return frame if self.index is None else frame.set_axis(self.index, axis=0)

    def __len__(self) -> int:
        return self.table.num_rows

    def __repr__(self) -> str:
        return f"<{self.what} of {self.table.num_rows:,} pairs>"

    def _repr_html_(self) -> str:
        shown = Rows(self.table.slice(0, _MOST_SHOWN), self.what)
        notes = [f"{self.table.num_rows:,} pairs", self.assumed]
        return shown.to_pandas().to_html(index=False) + "".join(
            f"<p>{escape(note, quote=False)}</p>" for note in notes if note
        )


class Rewards(Rows):
    """The rewards of pairs.

    A row has the ids of a pair, chosen_reward, rejected_reward, margin, and the further columns of its scores; under
    hard rules also chosen_vetoes and rejected_vetoes, the names of those that each response breaks. A pair of which
    just one response breaks any is lost by it, and has no margin.
    """


@dataclass(frozen=True, repr=False)
class ComparedSchemes(_Shown):
    """Every weight scheme on the same pairs.

    Attributes:
        comparison: as `encore-ray compare` stores it.
        assumed: as of `Weights`.
    """

    comparison: Comparison
    assumed: str = ""

    def to_pandas(self) -> "pd.DataFrame":
        """A row a scheme or trivial baseline: its accuracy on all and on held-out pairs, and how much above uniform."""
        import pandas as pd

        rows = [
            {
                "scheme": line.name,
                "accuracy": line.all.accuracy if line.all else None,
                "accuracy_heldout": line.heldout.accuracy,
                "above_uniform": line.difference_to_uniform.value,
                "above_uniform_low": line.difference_to_uniform.low,
                "above_uniform_high": line.difference_to_uniform.high,
            }
            for line in self.comparison.lines
        ]
        return pd.DataFrame(rows)

    @property
    def verdict(self) -> str:
        """What to make of it, in words."""
        return self.comparison.verdict

    def __repr__(self) -> str:
        return f"<comparison of {len(self.comparison.schemes)} schemes: {shorten(self.verdict, 200, placeholder=' …')}>"

    def _notes(self) -> Sequence[str]:
        return [self.assumed, self.verdict]


@dataclass(frozen=True, repr=False)
class EvaluatedRewards(_Shown):
    """How often composed rewards agree with the labels.

    Attributes:
        metrics: as `encore-ray evaluate` stores it.
    """

    metrics: Metrics

    @property
    def overall(self) -> Stats:
        """Of all pairs."""
        return self.metrics.overall

    @property
    def subsets(self) -> dict[str, Stats]:
        """Of each subset."""
        return self.metrics.subsets

    def to_pandas(self) -> "pd.DataFrame":
        """A row for all pairs, and one for each subset."""
        import pandas as pd

        rows: list[dict[str, Any]] = [{"pairs": "all", **self.overall.model_dump()}]
        rows += [{"pairs": name, **stats.model_dump()} for name, stats in self.subsets.items()]
        return pd.DataFrame(rows)

    def __repr__(self) -> str:
        accuracy = self.overall.accuracy
        told = "no pair" if accuracy is None else f"accuracy {accuracy:.1%} of {self.overall.num_pairs:,} pairs"
        return f"<metrics: {told}>"
