"""ENCORE on tables in memory: no run folder, no cluster, the same digits as the commands; and run folders, read.

    weights = encore_ray.weigh(frame, rules=["harm", "honesty"])
    rewards = encore_ray.compose(frame, weights)
    encore_ray.compare(frame, rules=["harm", "honesty"])

Scores are an Arrow table, a pandas or polars frame, a Dataset of Hugging Face, a mapping of arrays, a list of dicts, or
the path of a table: a row a pair, with columns chosen__RULE and rejected__RULE. A row whose rejected scores are all
null, in pandas and numpy NaN, is a single response. A pair_id, and a prompt_id or group_id of pairs that belong
together, are taken where they are there, also from the index of a pandas frame; else every row is a pair of its own.

Columns of other names and tables of other forms are read as the commands read them (`encore_ray.foreign`); the
arguments `chosen`, `rejected` and `columns` say what --chosen, --rejected and --map do. An array of shape (N, K) has
the scores of N single responses, a pair of them those of both sides.
"""

import contextlib
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from os import PathLike, fspath
from typing import Any

import pyarrow as pa

from encore_ray.api.results import ComparedSchemes, Rewards, Weights
from encore_ray.api.runs import RunFolder, open_run
from encore_ray.api.tables import Scores, open_table
from encore_ray.artifacts import Comparison
from encore_ray.composition.weigh.weights import Weights as Content
from encore_ray.config import WeighOptions
from encore_ray.config.sources import make_section, read_rules
from encore_ray.drafts.inferred import known_rules
from encore_ray.engine.local import LocalEngine
from encore_ray.engine.work.reduce import Reducer
from encore_ray.errors import AssumedWarning, ConfigError
from encore_ray.folder.reading.table_rules import fitting_rules, own_rules_beside
from encore_ray.folder.reading.tables import TableUnit
from encore_ray.foreign.form.naming import Naming
from encore_ray.passes.compare import compare_units
from encore_ray.passes.compose import compose_unit, tell_out_of_scale
from encore_ray.passes.second_table import SecondTable, open_ratings
from encore_ray.passes.weigh import weigh_units
from encore_ray.rules import RuleSet
from encore_ray.shell import Word, called_on_tables
from encore_ray.storage import Folder, absolute
from encore_ray.visible import short

__all__ = ["ComparedSchemes", "Rewards", "RunFolder", "Weights", "compare", "compose", "open_run", "weigh"]

Rules = RuleSet | Sequence[str] | str | PathLike[str]
Options = WeighOptions | Mapping[str, Any]


def weigh(
    scores: Scores,
    rules: Rules | None = None,
    *,
    options: Options | None = None,
    chosen: str | None = None,
    rejected: str | None = None,
    columns: Mapping[str, str] | None = None,
) -> Weights:
    """Weights of rules from a table of scores, as `encore-ray weigh` computes them.

    Args:
        scores: a row a pair; see the top of the module.
        rules: a rule set, a rules.yaml, or names alone, whose scale and direction are read off the scores. None: the
            rules that stand with the scores, or those that their columns name. What was read off is told in `assumed`.
        options: of weigh: `{"temperature": 1}`, as in the configuration.
        chosen, rejected: columns of either side's scores, as "score_{rule}_a", or one of lists, structs or numbers.
        columns: other columns by what they hold, as `{"pair_id": "uid"}`.

    Raises:
        ConfigError: options, rules or names of columns are wrong, or several columns may be meant. DataError: there are
            no scores, or one is not finite or outside its scale.
    """
    with _weighable("weigh", scores, rules, options, chosen=chosen, rejected=rejected, columns=columns) as asked:
        reducer = Reducer(LocalEngine())
        weights = weigh_units(
            asked.units, asked.rules, asked.options, reducer, ratings=asked.ratings, rules_in=asked.rules.place
        )
    _warn(asked.heed)
    return Weights(weights, _said(asked.told))


def compose(
    scores: Scores,
    weights: Weights | Content | str | PathLike[str],
    *,
    chosen: str | None = None,
    rejected: str | None = None,
    columns: Mapping[str, str] | None = None,
) -> Rewards:
    """The reward of every response and the margin of every pair, as `encore-ray compose` computes them.

    Args:
        scores: of the rules that were weighed; see the top of the module. A frame whose columns are called as the rules
            has single responses, and so has an array of shape (N, K), in the order of the rules.
        weights: of `weigh` or of a job's result, or the path of a weights.json.
        chosen, rejected, columns: as of `weigh`.

    Raises:
        ConfigError: these are no weights. DataError: a rule's column is missing, or holds something else than numbers.
    """
    found = _weights(weights)
    with (
        called_on_tables("compose(scores, weights", chosen=chosen, rejected=rejected, columns=columns),
        open_table(scores, Naming(chosen, rejected, columns or {}), rules=found.rule_set.names) as table,
    ):
        rules = fitting_rules(table.units, found.rule_set, are_weighed=True)
        parts = [compose_unit(unit, found, rules) for unit in table.units]
        rewards = pa.concat_tables([part for part, _ in parts], promote_options="default")
        counts = sum((Counter(counted) for _, counted in parts), Counter())
        told = _said([*table.sentences, *tell_out_of_scale(counts)])
    _warn(table.left_out)
    return Rewards(rewards, "rewards", told, table.index)


def compare(
    scores: Scores,
    rules: Rules | None = None,
    *,
    options: Options | None = None,
    chosen: str | None = None,
    rejected: str | None = None,
    columns: Mapping[str, str] | None = None,
) -> ComparedSchemes:
    """All weight schemes on the same pairs, as `encore-ray compare` counts them; arguments as of `weigh`."""
    with _weighable("compare", scores, rules, options, chosen=chosen, rejected=rejected, columns=columns) as asked:
        reducer = Reducer(LocalEngine())
        made = compare_units(
            asked.units, asked.rules, asked.options, reducer, ratings=asked.ratings, rules_in=asked.rules.place
        )
    _warn(asked.heed)
    return ComparedSchemes(Comparison.of(made), _said(asked.told))


@dataclass(frozen=True)
class _Weighable:
    """What is asked for where rules are weighed.

    Attributes:
        told: how tables were read, and what is assumed of rules that nobody gave.
        heed: what of it changes the result: rows that are left out, rules that are taken the other way round.
    """

    units: Sequence[TableUnit]
    rules: RuleSet
    options: WeighOptions
    ratings: SecondTable | None
    told: Sequence[str]
    heed: Sequence[str]


@contextlib.contextmanager
def _weighable(
    function: str,
    scores: Scores,
    rules: Any,
    options: Options | None,
    *,
    chosen: str | None,
    rejected: str | None,
    columns: Mapping[str, str] | None,
) -> Iterator[_Weighable]:
    """Scores in the form of ours, with their rules, and ratings where the options name any.

    Args:
        function: that is called; the others as it takes them.
    """
    named = rules if rules is None or isinstance(rules, str | list) else Word("rules")
    mapped = options if options is None or isinstance(options, Mapping) else Word("options")
    with contextlib.ExitStack() as held:
        sides = {"chosen": chosen, "rejected": rejected, "columns": columns}
        held.enter_context(called_on_tables(f"{function}(scores", rules=named, options=mapped, **sides))
        given, asked = _given(rules), _options(options)
        naming = Naming(chosen, rejected, columns or {})
        table = held.enter_context(open_table(scores, naming, rules=_names(given, scores)))
        known = known_rules(table.units, given, texts=table.account.rules if table.account else None)
        assert known.rules is not None
        scratch = Folder(held.enter_context(tempfile.TemporaryDirectory(prefix="encore-ray-")))
        ratings = held.enter_context(open_ratings(asked, known.rules, scratch=scratch))
        told = [*table.sentences, *known.assumed, *known.sentences, *(ratings.sentences if ratings else ())]
        guessed = known.draft.rules if known.draft else ()
        turned = ", ".join(short(rule.name) for rule in guessed if rule.higher_is == "worse")
        heed = [*table.left_out, *([f"of {turned} a higher score is taken to be worse"] if turned else [])]
        yield _Weighable(table.units, known.rules, asked, ratings, told, heed)


def _warn(heed: Sequence[str]) -> None:
    """One warning of what changes the result, at the line that called."""
    if heed:
        text = f"{_said(heed)} `.assumed` of the result says how the table was read."
        warnings.warn(text, AssumedWarning, stacklevel=3)  # this and the function


def _weights(weights: Any) -> Content:
    if isinstance(weights, str | PathLike):
        return Weights.load(fspath(weights)).weights
    found = weights.weights if isinstance(weights, Weights) else weights
    if not isinstance(found, Content):
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


def _given(rules: Any) -> RuleSet | list[str] | None:
    """The rules that a person gives, or their names."""
    if rules is None or isinstance(rules, RuleSet):
        return rules
    return read_rules(absolute(fspath(rules))) if isinstance(rules, str | PathLike) else _named(rules)


def _names(given: RuleSet | list[str] | None, scores: Scores) -> list[str] | None:
    """Names of the rules, where they are known before the table is read."""
    if given is None and isinstance(scores, str | PathLike):
        given = own_rules_beside(absolute(fspath(scores)))
    return given.names if isinstance(given, RuleSet) else given


def _said(sentences: Sequence[str]) -> str:
    return " ".join(f"{sentence[0].upper()}{sentence[1:]}." for sentence in sentences)


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
