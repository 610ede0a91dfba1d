"""Tables of scores that a command is told of: as their owner has them, with or without rules."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import tyro

from encore_ray.cli.flags import flag, named_columns
from encore_ray.errors import ConfigError
from encore_ray.rules import RuleSet

if TYPE_CHECKING:
    from encore_ray.foreign.naming import Naming
    from encore_ray.run import Run


@dataclass(frozen=True, kw_only=True)
class ScoreColumns:
    """Which columns of --scores hold what, where they are not called as ours and their names do not tell it."""

    chosen: Annotated[str | None, flag("COLUMN")] = None
    """Columns of the chosen responses' scores, as 'score_{rule}_a'; or one of lists, structs or one rule's scores."""
    rejected: Annotated[str | None, flag("COLUMN")] = None
    """The same of rejected responses. With a row a score, both name what the column side says."""
    map: Annotated[list[str], flag("NAME=COLUMN")] = field(default_factory=list)
    """Other columns, as pair_id=uid prompt_id=.. subset=..; with a row a score also rule=.. side=.. score=.."""

    @property
    def naming(self) -> "Naming":
        """What they say."""
        from encore_ray.foreign.naming import Naming

        return Naming(self.chosen, self.rejected, named_columns(self.map, example="pair_id=uid"))


ScoreColumnFlags = Annotated[ScoreColumns, tyro.conf.arg(name="")]


@dataclass(frozen=True)
class Scores:
    """A table of scores in the form of ours, and its rules where they are known.

    Attributes:
        uri: where it is; None for the run's own.
    """

    uri: str | None
    rules: RuleSet | None


@contextlib.contextmanager
def open_scores(
    run: "Run", uri: str | None, columns: ScoreColumns, rules: RuleSet | None, *, known: Sequence[str] | None = None
) -> Iterator[Scores]:
    """A table of scores for a pass; what was found and assumed of one in another form is told.

    Args:
        uri: of the table; None for the run's own.
        rules: that a person names.
        known: names of the rules where weights tell them; then none are inferred.

    Raises:
        ConfigError, DataError: as of `score_table` and `infer_rules`; a drafted rules.yaml was changed since.
    """
    from encore_ray.foreign.table import score_table

    naming = columns.naming
    if uri is None:
        if naming.says_something:
            raise ConfigError("--chosen, --rejected and --map name columns of --scores; with --run there are none.")
        yield Scores(None, rules)
        return
    names = rules.names if rules is not None else known
    with score_table(uri, naming, rules=names, scratch=run.folder) as table:
        labels: dict[str, str] = {}
        if table.account is not None:
            labels = table.account.rules
            _tell(run, table.account.sentences())
        if rules is None and known is None:
            rules = _inferred(run, table.uri, labels)
        yield Scores(table.uri, rules)


@contextlib.contextmanager
def open_rewards(run: "Run", uri: str | None, columns: ScoreColumns, weights: str | None) -> Iterator[str | None]:
    """A table of rewards for a pass, see `open_scores`; None for the run's own.

    Args:
        weights: path of a weights.json, where none stands beside them.
    """
    from encore_ray.artifacts import read_weights
    from encore_ray.foreign.rewards import reward_table
    from encore_ray.foreign.table import place_of
    from encore_ray.storage import absolute

    naming = columns.naming
    if uri is None:
        if weights is not None or naming.says_something:
            raise ConfigError("--weights, --chosen, --rejected and --map are of --rewards; with --run there are none.")
        yield None
        return
    found = read_weights(*place_of(absolute(weights))) if weights else None
    with reward_table(uri, naming, weights=found, scratch=run.folder) as table:
        if table.account is not None:
            _tell(run, [f"{uri}: {table.account.num_pairs:,} pairs", *table.account.sentences()[1:]])
        yield table.uri


def _tell(run: "Run", sentences: Sequence[str]) -> None:
    """How a table in another form was read."""
    for sentence in sentences:
        run.note(sentence)
    run.note(f"turned into a table of ours, in {run.folder.uri} for as long as this takes")


def _inferred(run: "Run", uri: str, labels: dict[str, str]) -> RuleSet | None:
    """Rules read off the scores, where none stand with them; written beside the results, to be edited."""
    from encore_ray.drafts.files import Draft
    from encore_ray.drafts.inferred import infer_rules
    from encore_ray.folder.reading.tables import carried_rules, table_units
    from encore_ray.passes.scorers.by_ratings import rated_rules
    from encore_ray.schema import RULES_FILE

    units = table_units(uri)
    if not units or carried_rules(units[0]) is not None or not (rated := rated_rules(units)):
        return None
    drafted = infer_rules(units, rated, texts=labels)
    path = run.path(RULES_FILE)
    remedy = f"Take it by --rules {path}, or have it drafted anew by --overwrite."
    Draft({RULES_FILE: drafted.text}, (), ()).write(run.folder.uri, overwrite=run.overwrite, remedy=remedy)
    run.note(f"no rules are given, so they are read off the scores; correct {path} and give it by --rules")
    for sentence in drafted.assumed:
        run.note(f"assumed: {sentence}")
    return drafted.rules
