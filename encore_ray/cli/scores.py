"""Tables of scores that a command is told of: as their owner has them, with or without rules."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import tyro

from encore_ray.cli.flags import flag, named_columns
from encore_ray.errors import ConfigError
from encore_ray.rules import RuleSet
from encore_ray.shell import again, command, near

if TYPE_CHECKING:
    from encore_ray.foreign.form.naming import Naming
    from encore_ray.run import Run


@dataclass(frozen=True, kw_only=True)
class ScoreColumns:
    """Which columns of --scores hold what, where they are not called as ours and their names do not tell it."""

    chosen: Annotated[str | None, flag("COLUMN")] = None
    """Columns of the chosen responses' scores, as 'score_{rule}_a'; or one of lists, structs or one rule's scores."""
    rejected: Annotated[str | None, flag("COLUMN")] = None
    """The same of rejected responses. With a row a score, both name what the column side says."""
    map: Annotated[list[str], flag("NAME=COLUMN")] = field(default_factory=list)
    """Other columns, as pair_id=uid prompt_id=.. subset=..; with a row a score also rule=.. side=.. score=.., with a
    row a response side=.."""

    @property
    def naming(self) -> "Naming":
        """What they say."""
        from encore_ray.foreign.form.naming import Naming

        return Naming(self.chosen, self.rejected, named_columns(self.map, example="pair_id=uid"))

    @property
    def words(self) -> list[str]:
        """The same as one would type it, for a command on the same table."""
        sides = [("--chosen", self.chosen), ("--rejected", self.rejected)]
        told = [word for flag, column in sides if column is not None for word in (flag, column)]
        return [*told, *(["--map", *self.map] if self.map else [])]


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

    Rules that nobody gives are read off the scores, and kept beside the results once the pass has ended well.

    Raises:
        ConfigError, DataError: as of `score_table`, `known_rules` and `keep_draft`.
    """
    from encore_ray.folder.reading.table_rules import own_rules_beside
    from encore_ray.foreign.table import score_table

    naming = columns.naming
    if uri is None:
        if naming.says_something:
            raise ConfigError("--chosen, --rejected and --map name columns of --scores; with --run there are none.")
        yield Scores(None, rules)
        return
    from encore_ray.composition.measure.correcting import UnfitScores
    from encore_ray.drafts.inferred import keep_draft, known_rules
    from encore_ray.folder.reading.tables import table_units

    own = rules or (own_rules_beside(uri) if known is None else None)
    names = own.names if own is not None else known
    with score_table(uri, naming, rules=names, scratch=run.folder) as table:
        labels: dict[str, str] = {}
        if table.account is not None:
            labels = table.account.rules
            _tell(run, table.account.sentences())
        units = table_units(table.uri)
        found = known_rules(units, rules, weighed=known, texts=labels)
        draft = keep_draft(found.draft.text, units, run.folder) if found.draft else None
        if draft is not None:
            run.note("no rules are given, so they are read off the scores")
        for sentence in [*(f"assumed: {each}" for each in found.assumed), *found.sentences]:
            run.note(sentence)
        try:
            yield Scores(table.uri, found.rules)
        except UnfitScores as error:
            if draft is None or draft.is_there or columns.chosen or columns.rejected:
                raise
            init = command("encore-ray", "init", near(uri), *columns.words)
            raise UnfitScores(f"{error}\nTo have a rules.yaml with scales to correct:\n  {init}") from None
        if draft is not None:
            draft.write()
            run.note(f"rules: {draft.path} ({draft.told})")
            run.note(f"to count by them once they are corrected: {again(rules=near(draft.path), overwrite=True)}")


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
            _tell(run, table.account.sentences(of_rules=False))
        yield table.uri


def _tell(run: "Run", sentences: Sequence[str]) -> None:
    """How a table in another form was read."""
    for sentence in sentences:
        run.note(sentence)
    run.note(f"turned into a table of ours, in {run.folder.uri} for as long as this takes")
