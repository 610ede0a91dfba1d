"""ENCORE on tables in memory: no run folder, no cluster, the same digits as the commands.

    weights = encore_ray.weigh(frame, rules=["harm", "honesty"])
    rewards = encore_ray.compose(frame, weights)
    encore_ray.compare(frame, rules=["harm", "honesty"])

Scores are an Arrow table, a pandas or polars frame, a mapping of arrays, or the path of a table: a row a pair, with
columns chosen__RULE and rejected__RULE. A pair_id, and a prompt_id or group_id of pairs that belong together, are taken
where they are there; else every row is a pair of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from encore_ray.artifacts import Comparison, WeightsFile
from encore_ray.composition.weigh.weights import Weights
from encore_ray.config import WeighOptions
from encore_ray.config.sources import make_section, read_rules
from encore_ray.engine.local import LocalEngine
from encore_ray.engine.reduce import Reducer
from encore_ray.errors import ConfigError
from encore_ray.folder.memory import MemoryUnit
from encore_ray.folder.tables import TableUnit, stored_rules, table_rules, table_units
from encore_ray.passes.compare import compare_units
from encore_ray.passes.compose import compose_unit
from encore_ray.passes.weigh import weigh_units
from encore_ray.rules import Rule, RuleSet, Scale
from encore_ray.schema import CHOSEN, GROUP_ID, PAIR_ID, PROMPT_ID, SIDE_SEPARATOR, SUBSET, rejected_column
from encore_ray.storage import absolute

if TYPE_CHECKING:
    import pandas as pd

Scores = Any  # an Arrow table, a frame, a mapping of arrays, or a path
Rules = RuleSet | Sequence[str] | str | PathLike[str]
Options = WeighOptions | Mapping[str, Any]

_TEXTS = (PAIR_ID, PROMPT_ID, GROUP_ID, SUBSET)
USUAL = Scale(0.0, 1.0)


class _Table:
    """A result that is looked at as a table."""

    def to_pandas(self) -> "pd.DataFrame":
        """The rows as a pandas frame."""
        raise NotImplementedError

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return self.to_pandas().to_html(index=False)


@dataclass(frozen=True, repr=False)
class WeighedRules(_Table):
    """The weights of rules, and what they rest on.

    Attributes:
        weights: as `encore-ray weigh` stores them.
        assumed: what was taken for granted of rules that were given by name; empty where nothing was.
    """

    weights: Weights
    assumed: str = ""

    def to_pandas(self) -> "pd.DataFrame":
        """A row a rule: its weight, entropy, accuracy and flags."""
        import pandas as pd

        keys = ("name", "higher_is", "weight", "entropy", "entropy_low", "entropy_high", "accuracy", "flags")
        rules = self.weights.to_dict()["rules"]
        return pd.DataFrame([{**{key: rule[key] for key in keys}, "flags": ", ".join(rule["flags"])} for rule in rules])

    def save(self, path: str | PathLike[str]) -> None:
        """Write weights.json, as `encore-ray weigh` does."""
        with open(path, "wb") as file:
            file.write(WeightsFile.of_weights(self.weights).to_json())

    def __repr__(self) -> str:
        told = ", ".join(f"{rule.name} {rule.weight:.3g}" for rule in self.weights.rules[:6])
        more = " …" if len(self.weights.rules) > 6 else ""
        return f"<{self.weights.scheme} weights of {len(self.weights.rules)} rules: {told}{more}>"

    def _repr_html_(self) -> str:
        notes = [self.assumed, *self.weights.warnings] if self.assumed else list(self.weights.warnings)
        return super()._repr_html_() + "".join(f"<p>{_escaped(note)}</p>" for note in notes)


@dataclass(frozen=True, repr=False)
class Rewards(_Table):
    """The rewards of pairs.

    Attributes:
        table: a row a pair: its ids, chosen_reward, rejected_reward, margin, and its further columns.
    """

    table: pa.Table

    def to_pandas(self) -> "pd.DataFrame":
        return self.table.to_pandas()

    def __repr__(self) -> str:
        return f"<rewards of {self.table.num_rows:,} pairs>"

    def _repr_html_(self) -> str:
        shown = self.table.slice(0, 20).to_pandas().to_html(index=False)
        return f"{shown}<p>{self.table.num_rows:,} pairs</p>"


@dataclass(frozen=True, repr=False)
class ComparedSchemes(_Table):
    """Every weight scheme on the same pairs.

    Attributes:
        comparison: as `encore-ray compare` stores it.
    """

    comparison: Comparison

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
        return f"<comparison: {self.verdict}>"

    def _repr_html_(self) -> str:
        return super()._repr_html_() + f"<p>{_escaped(self.verdict)}</p>"


def weigh(scores: Scores, rules: Rules | None = None, *, options: Options | None = None) -> WeighedRules:
    """Weights of rules from a table of scores, as `encore-ray weigh` computes them.

    Args:
        scores: a row a pair; see the top of the module.
        rules: a rule set, a rules.yaml, or names alone, for scores from 0 to 1 of which more is better. None: the rules
            that stand with the scores, or a name for each column chosen__RULE.
        options: of weigh: `{"temperature": 1}`, as in the configuration.

    Raises:
        ConfigError: options or rules are wrong. DataError: a score is not finite or outside its scale.
    """
    units = _units(scores)
    found, assumed = _rules(units, rules)
    return WeighedRules(weigh_units(units, found, _options(options), Reducer(LocalEngine())), assumed)


def compose(scores: Scores, weights: WeighedRules | Weights) -> Rewards:
    """The reward of every response and the margin of every pair, as `encore-ray compose` computes them.

    Args:
        scores: of the rules that were weighed; see the top of the module.
        weights: of `weigh`, or `Weights` that were read from a file.
    """
    weights = weights.weights if isinstance(weights, WeighedRules) else weights
    units = _units(scores)
    rules = table_rules(units, weights.rule_set)
    parts = [compose_unit(unit, weights, rules)[0] for unit in units]
    return Rewards(pa.concat_tables(parts, promote_options="default"))


def compare(scores: Scores, rules: Rules | None = None, *, options: Options | None = None) -> ComparedSchemes:
    """All weight schemes on the same pairs, as `encore-ray compare` counts them; arguments as of `weigh`."""
    units = _units(scores)
    found, _ = _rules(units, rules)
    made = compare_units(units, found, _options(options), Reducer(LocalEngine()))
    return ComparedSchemes(Comparison.of(made))


def _options(options: Options | None) -> WeighOptions:
    if isinstance(options, WeighOptions):
        return options
    return make_section(WeighOptions, options or {}, where="options")


def _units(scores: Scores) -> Sequence[TableUnit]:
    if isinstance(scores, str | PathLike):
        return table_units(absolute(str(scores)))
    return [MemoryUnit.of(_with_ids(_as_arrow(scores)))]


def _as_arrow(scores: Scores) -> pa.Table:
    if isinstance(scores, pa.Table):
        return scores
    if isinstance(scores, Mapping):
        return pa.table(dict(scores))
    if hasattr(scores, "__arrow_c_stream__"):
        return pa.table(scores)
    raise ConfigError(
        f"scores: expected an Arrow table, a pandas or polars frame, a mapping of arrays, or a path; found "
        f"{type(scores).__name__}."
    )


def _with_ids(table: pa.Table) -> pa.Table:
    """The table with a pair_id, its texts as plain strings."""
    if PAIR_ID not in table.column_names:
        table = table.add_column(0, PAIR_ID, pa.array([str(row) for row in range(table.num_rows)]))
    for name in _TEXTS:
        if name in table.column_names and not pa.types.is_string(table.schema.field(name).type):
            place = table.column_names.index(name)
            table = table.set_column(place, name, table.column(name).cast(pa.string()))
    return table


def _rules(units: Sequence[TableUnit], rules: Rules | None) -> tuple[RuleSet, str]:
    """The rules, and what is assumed of those that are known by name alone."""
    if isinstance(rules, RuleSet):
        return table_rules(units, rules), ""
    if isinstance(rules, str | PathLike):
        return table_rules(units, read_rules(absolute(str(rules)))), ""
    if rules is None and units and (stored := stored_rules(units[0])) is not None:
        return table_rules(units, stored), ""
    names = list(rules) if rules is not None else _named_by_columns(units)
    if not names:
        return table_rules(units, None), ""
    named = RuleSet(Rule(name, name, "better", USUAL) for name in names)
    return table_rules(units, named), f"Of {', '.join(names)} a higher score is taken to be better, from 0 to 1."


def _named_by_columns(units: Sequence[TableUnit]) -> list[str]:
    names = units[0].schema.names if units else []
    prefix = f"{CHOSEN}{SIDE_SEPARATOR}"
    found = [name.removeprefix(prefix) for name in names if name.startswith(prefix)]
    return [name for name in found if rejected_column(name) in names]


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")
