"""Where the scores of pairs come from: one protocol for a model, a judge, an API, and ratings in the data."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, Self

from encore_ray.engine.pools import ActorPool, Resources, TaskPool
from encore_ray.engine.work.unit_work import Write, unit_task
from encore_ray.folder.pass_table import PassTable
from encore_ray.folder.protocol.commits import Commit, total_counts
from encore_ray.folder.quarantine import Allowance, check_bad_fraction
from encore_ray.folder.reading.tables import TableUnit, table_units
from encore_ray.folder.spec import Pass
from encore_ray.rules import RuleSet
from encore_ray.run import Run
from encore_ray.schema import PAIRS_DIR


class Scorer(Protocol):
    """What makes a table of the pairs of a run, unit by unit."""

    @property
    def rules(self) -> RuleSet:
        """What it scores by; of ratings in the data known once it is `ready`."""
        ...

    @property
    def facts(self) -> Mapping[str, Any]:
        """All that decides what it makes."""
        ...

    @property
    def tags(self) -> Mapping[str, str]:
        """By what a person finds its runs in MLflow."""
        ...

    @property
    def verb(self) -> str:
        """What the terminal calls its work."""
        ...

    @property
    def paths(self) -> Sequence[str]:
        """What its workers must see, beside the run folder."""
        ...

    def numbers(self, run: Run) -> int | None:
        """How many numbers it reads; None where a model does the work."""
        ...

    def resumed(self, standing: Mapping[str, Any]) -> Self:
        """Settled as it was for results that stand, of which these are the facts; nothing is asked or searched for."""
        ...

    def ready(self, run: Run, table: PassTable, units: Sequence[TableUnit], allowed: Allowance) -> Self:
        """Settle what can only be known now, track what it is, and say what it will do.

        Args:
            allowed: how many of the pairs may go to quarantine.
        """
        ...

    def pool(self, resources: Resources, num_units: int) -> ActorPool | TaskPool:
        """Who does so many units."""
        ...

    @property
    def work(self) -> Callable[[], Write]:
        """Makes the work of a worker; picklable."""
        ...

    def end(self, run: Run, counts: Mapping[str, int], max_bad_fraction: float) -> None:
        """Finish what goes beside the table, and say what it took."""
        ...


def fill_table(
    run: Run,
    spec: Pass,
    scorer: Scorer,
    *,
    max_bad_fraction: float,
    on_commit: Callable[[Scorer, int, Commit], None] = lambda scorer, num_units, commit: None,
) -> tuple[Scorer, dict[str, int]]:
    """Do all units of pairs/ by a scorer, resumable; returns it as it was settled, and counts.

    Args:
        spec: the pass, whose table is filled.
        max_bad_fraction: share of pairs that may go to quarantine.
        on_commit: called with the settled scorer, the number of units, and each commit.

    Raises:
        ResumeRefused: the folder holds what another scorer has made. DataError: too many pairs are in quarantine.
    """
    table, units = run.table(spec), table_units(run.path(PAIRS_DIR))
    allowed = Allowance(max_bad_fraction, sum(unit.rows for unit in units))
    settled = scorer.ready(run, table, units, allowed)
    output = table.open(settled.facts, overwrite=run.overwrite)
    counts = finish_scored(
        run,
        output,
        units,
        settled.work,
        pool=lambda num_units: settled.pool(run.engine.resources, num_units),
        max_bad_fraction=max_bad_fraction,
        on_commit=lambda commit: on_commit(settled, len(units), commit),
    )
    settled.end(run, counts, max_bad_fraction)
    return settled, counts


def finish_scored(
    run: Run,
    output: PassTable,
    units: Sequence[TableUnit],
    factory: Callable[[], Write],
    *,
    pool: Callable[[int], ActorPool | TaskPool],
    max_bad_fraction: float,
    on_commit: Callable[[Commit], None] = lambda commit: None,
) -> dict[str, int]:
    """Finish an opened pass whose units count scored and quarantined rows, check the account, and seal it."""
    tasks = [unit_task(unit) for unit in units]
    commits = run.finish(
        output, tasks, factory, pool=pool, leaves_out=True, max_bad_fraction=max_bad_fraction, on_commit=on_commit
    )
    counts = total_counts(commits.values())
    rows_in = sum(unit.rows for unit in units)
    assert counts["scored"] + counts["quarantined"] == rows_in, (counts, rows_in)
    check_bad_fraction(counts, max_bad_fraction, output)
    output.seal([task.unit for task in tasks], commits, counts)
    return counts
