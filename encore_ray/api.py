"""ENCORE on tables in memory: no run folder, no cluster, the same digits as the commands.

    weights = encore_ray.weigh(frame, rules=["harm", "honesty"])
    rewards = encore_ray.compose(frame, weights)
    encore_ray.compare(frame, rules=["harm", "honesty"])

Scores are an Arrow table, a pandas or polars frame, a mapping of arrays, or the path of a table: a row a pair, with
columns chosen__RULE and rejected__RULE. A row whose rejected scores are all null, in pandas and numpy NaN, is a single
response. A pair_id, and a prompt_id or group_id of pairs that belong together, are taken where they are there, also
from the index of a pandas frame; else every row is a pair of its own.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from encore_ray.artifacts import Comparison, WeightsFile, read_weights
from encore_ray.composition.weigh.weights import Weights
from encore_ray.config import WeighOptions
from encore_ray.config.sources import make_section, read_rules
from encore_ray.engine.local import LocalEngine
from encore_ray.engine.work.reduce import Reducer
from encore_ray.errors import ConfigError, DataError
from encore_ray.files import durable
from encore_ray.folder.reading.memory import MemoryUnit
from encore_ray.folder.reading.tables import TableUnit, carried_rules, table_rules, table_units
from encore_ray.passes.compare import compare_units
from encore_ray.passes.compose import compose_unit
from encore_ray.passes.weigh import weigh_units
from encore_ray.rules import Rule, RuleSet, Scale
from encore_ray.schema import CHOSEN, GROUP_ID, PAIR_ID, PROMPT_ID, REJECTED, SIDE_SEPARATOR, SUBSET
from encore_ray.storage import Folder, absolute

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
        """A row a rule: its weight, entropy, accuracy and flags, and where any rule has them its veto and points."""
        import pandas as pd

        keys = ["name", "higher_is", "weight", "entropy", "entropy_low", "entropy_high", "accuracy", "flags"]
        rules = self.weights.to_dict()["rules"]
        keys += [key for key in ("veto", "points") if any(key in rule for rule in rules)]
        rows = [{**{key: rule.get(key) for key in keys}, "flags": ", ".join(rule["flags"])} for rule in rules]
        return pd.DataFrame(rows, columns=keys)

    def save(self, path: str | PathLike[str]) -> None:
        """Write weights.json, as `encore-ray weigh` does."""
        durable.replace_file(absolute(fspath(path)), [WeightsFile.of_weights(self.weights).to_json()])

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
        table: a row a pair: its ids, chosen_reward, rejected_reward, margin, and its further columns; under hard rules
            also chosen_vetoes and rejected_vetoes, the names of those that each response breaks. A pair of which just
            one response breaks any is lost by it, and has no margin.
        index: of the pandas frame that held the scores; None for others.
    """

    table: pa.Table
    index: "pd.Index | None" = None

    def to_pandas(self) -> "pd.DataFrame":
        """The rows as a pandas frame, under the index of the scores' frame where they were one."""
        frame = self.table.to_pandas()
        return frame if self.index is None else frame.set_axis(self.index, axis=0)

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
        assumed: as of `WeighedRules`.
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
        return f"<comparison: {self.verdict}>"

    def _repr_html_(self) -> str:
        notes = [self.assumed, self.verdict] if self.assumed else [self.verdict]
        return super()._repr_html_() + "".join(f"<p>{_escaped(note)}</p>" for note in notes)


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


def compose(scores: Scores, weights: WeighedRules | Weights | str | PathLike[str]) -> Rewards:
    """The reward of every response and the margin of every pair, as `encore-ray compose` computes them.

    Args:
        scores: of the rules that were weighed; see the top of the module.
        weights: of `weigh` or of a job's result, or the path of a weights.json.

    Raises:
        ConfigError: these are no weights. DataError: a rule's column is missing, or holds something else than numbers.
    """
    found = _weights(weights)
    units = _units(scores)
    rules = table_rules(units, found.rule_set)
    parts = [compose_unit(unit, found, rules)[0] for unit in units]
    return Rewards(pa.concat_tables(parts, promote_options="default"), scores.index if _is_pandas(scores) else None)


def compare(scores: Scores, rules: Rules | None = None, *, options: Options | None = None) -> ComparedSchemes:
    """All weight schemes on the same pairs, as `encore-ray compare` counts them; arguments as of `weigh`."""
    units = _units(scores)
    found, assumed = _rules(units, rules)
    made = compare_units(units, found, _options(options), Reducer(LocalEngine()))
    return ComparedSchemes(Comparison.of(made), assumed)


def _weights(weights: Any) -> Weights:
    if isinstance(weights, str | PathLike):
        folder, _, name = absolute(str(weights)).rpartition("/")
        return read_weights(Folder(folder or "/"), name)
    found = weights.weights if isinstance(weights, WeighedRules) else weights
    if not isinstance(found, Weights):
        raise ConfigError(
            f"weights: expected what `encore_ray.weigh` gives, Weights, or the path of a weights.json; found "
            f"{type(weights).__name__}."
        )
    return found


def _options(options: Options | None) -> WeighOptions:
    if isinstance(options, WeighOptions):
        return options
    if options is not None and not isinstance(options, Mapping):
        raise ConfigError(f"options: expected a mapping, as {{'temperature': 1}}; found {type(options).__name__}.")
    return make_section(WeighOptions, options or {}, where="options")


def _units(scores: Scores) -> Sequence[TableUnit]:
    if isinstance(scores, str | PathLike):
        return table_units(absolute(str(scores)))
    table = _as_arrow(scores)
    if not table.num_rows:
        raise DataError("scores is empty: it has no row.")
    return [MemoryUnit.of(_with_ids(table))]


def _as_arrow(scores: Scores) -> pa.Table:
    """The table; ConfigError for what is none, DataError for one that Arrow cannot hold."""
    if _is_pandas(scores):
        in_index = [name for name in scores.index.names if name in _TEXTS and name not in scores.columns]
        if not scores.columns.is_unique:
            _refuse_repeated([str(name) for name in scores.columns])
        scores = scores.reset_index(level=in_index) if in_index else scores
    elif not isinstance(scores, pa.Table | Mapping) and not hasattr(scores, "__arrow_c_stream__"):
        raise ConfigError(
            f"scores: expected an Arrow table, a pandas or polars frame, a mapping of arrays, or a path; found "
            f"{type(scores).__name__}."
        )
    try:
        if isinstance(scores, pa.Table):
            table = scores
        elif _is_pandas(scores):
            table = pa.Table.from_pandas(scores, preserve_index=False)
        else:
            table = pa.table(_arrays(scores) if isinstance(scores, Mapping) else scores)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        told = "; ".join(map(str, error.args))
        raise DataError(f"scores cannot be read as a table, each column as long as the others: {told}.") from None
    _refuse_repeated(table.column_names)
    return table


def _is_pandas(scores: Scores) -> bool:
    pandas = sys.modules.get("pandas")  # whoever has a frame has loaded it
    return pandas is not None and isinstance(scores, pandas.DataFrame)


def _arrays(columns: Mapping[Any, Any]) -> dict[str, Any]:
    """Columns of a mapping as Arrow's, NaN as null, as in a pandas frame."""
    found = {}
    for name, column in columns.items():
        try:
            is_arrow = isinstance(column, pa.Array | pa.ChunkedArray)
            found[str(name)] = column if is_arrow else pa.array(column, from_pandas=True)
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            raise DataError(f"scores: column {name} cannot be read as an array: {error}.") from None
    return found


def _refuse_repeated(names: Sequence[str]) -> None:
    repeated = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if repeated:
        raise DataError(f"scores has the column {', '.join(repeated)} more than once: rename or drop one.")


def _with_ids(table: pa.Table) -> pa.Table:
    """The table with a pair_id, its texts as plain strings."""
    if PAIR_ID not in table.column_names:
        table = table.add_column(0, PAIR_ID, pa.array([str(row) for row in range(table.num_rows)], pa.string()))
    for name in _TEXTS:
        if name in table.column_names and not pa.types.is_string(table.schema.field(name).type):
            place = table.column_names.index(name)
            table = table.set_column(place, name, _as_text(name, table.column(name)))
    return table


def _as_text(name: str, column: pa.ChunkedArray) -> pa.ChunkedArray | pa.Array:
    """Ids and names of subsets as text; DataError where they are neither texts nor numbers."""
    if not pa.types.is_nested(column.type):
        try:
            return column.cast(pa.string())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):  # as of categories whose names are views
            values = column.to_pylist()
            if all(value is None or isinstance(value, str) for value in values):
                return pa.array(values, pa.string())
    raise DataError(f"scores: column {name} must hold texts or numbers, found {column.type}.")


def _rules(units: Sequence[TableUnit], rules: Rules | None) -> tuple[RuleSet, str]:
    """The rules, and what is assumed of those that are known by name alone."""
    if isinstance(rules, RuleSet):
        return table_rules(units, rules), ""
    if isinstance(rules, str | PathLike):
        return table_rules(units, read_rules(absolute(str(rules)))), ""
    if rules is None and units and (carried := carried_rules(units[0])) is not None:
        return table_rules(units, carried), ""
    names = _named_by_columns(units) if rules is None else _named(rules)
    named = RuleSet(Rule(name, name, "better", USUAL) for name in names)
    return table_rules(units, named), f"Of {', '.join(names)} a higher score is taken to be better, from 0 to 1."


def _named(rules: Any) -> list[str]:
    """Rules that are given by name."""
    ordered = isinstance(rules, Iterable) and not isinstance(rules, Mapping | Set)
    names = list(rules) if ordered else []
    if not names or not all(isinstance(name, str) for name in names):
        raise ConfigError(
            "rules: expected names in their order, as ['harm', 'honesty'], a RuleSet, or the path of a rules.yaml; "
            f"found {rules!r:.200}."
        )
    return [str(name) for name in names]


def _named_by_columns(units: Sequence[TableUnit]) -> list[str]:
    """A rule for each column chosen__RULE; DataError where its other side is missing, or there is none."""
    if not units:
        return table_rules(units, None).names  # which says that the table is empty
    names = units[0].schema.names
    chosen, rejected = (
        [name.removeprefix(prefix) for name in names if name.startswith(prefix)]
        for prefix in (f"{side}{SIDE_SEPARATOR}" for side in (CHOSEN, REJECTED))
    )
    odd = [rule for rule in dict.fromkeys([*chosen, *rejected]) if rule not in chosen or rule not in rejected]
    if odd or not chosen:
        what = f"of {', '.join(odd[:6])} it has one of the two" if odd else f"found {', '.join(names[:6])}"
        raise DataError(
            f"{units[0].table_name}: expected the columns {CHOSEN}{SIDE_SEPARATOR}RULE and "
            f"{REJECTED}{SIDE_SEPARATOR}RULE of each rule; {what}{' …' if len(odd or names) > 6 else ''}. Name the "
            "rules that count by `rules`."
        )
    return chosen


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")
