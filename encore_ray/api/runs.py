"""A run folder, looked at: what its passes have made. Nothing in it is held, started or changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike, fspath

import pyarrow as pa

from encore_ray.api.results import ComparedSchemes, EvaluatedRewards, Rewards, Rows, Weights
from encore_ray.artifacts import Comparison, Metrics, read_weights
from encore_ray.errors import ConfigError
from encore_ray.folder.reading.table_rules import run_rules
from encore_ray.folder.reading.tables import table_units
from encore_ray.folder.spec import COMPARE, COMPOSE, EVALUATE, SCORE, WEIGH, Pass
from encore_ray.folder.status import run_status
from encore_ray.rules import RuleSet
from encore_ray.schema import PAIR_ID, REWARDS_DIR, SCORES_DIR, SUCCESS_FILE, WEIGHTS_FILE
from encore_ray.shell import command
from encore_ray.storage import Folder, absolute, require_paths


def open_run(path: str | PathLike[str]) -> "RunFolder":
    """Look at a run folder, local or at a URL, while a command works on it or not.

    Raises:
        ConfigError: it is not there, or no pass has begun in it.
    """
    folder = Folder(absolute(fspath(path)))
    require_paths([folder.uri])
    run_status(folder)
    return RunFolder(folder)


@dataclass(frozen=True, repr=False)
class RunFolder:
    """What a run has made so far, read anew each time that it is asked for.

    Attributes:
        folder: where it is.

    Raises:
        ConfigError: of each part, where its pass was not done or has not finished. DataError: a file is damaged.
    """

    folder: Folder

    @property
    def rules(self) -> RuleSet | None:
        """Its rules as they are now; None before it was scored."""
        return run_rules(self.folder)

    @property
    def weights(self) -> Weights:
        """What `weigh` made."""
        self._require(WEIGHTS_FILE, WEIGH)
        return Weights(read_weights(self.folder))

    @property
    def metrics(self) -> EvaluatedRewards:
        """What `evaluate` found."""
        self._require(Metrics.FILE, EVALUATE)
        return EvaluatedRewards(Metrics.read(self.folder))

    @property
    def comparison(self) -> ComparedSchemes:
        """What `compare` found."""
        self._require(Comparison.FILE, COMPARE)
        return ComparedSchemes(Comparison.read(self.folder))

    def scores(self, columns: Sequence[str] | None = None) -> Rows:
        """Its scores, all of them in memory.

        Args:
            columns: to be read; None for all.
        """
        return Rows(self._table(SCORES_DIR, SCORE, columns), "scores")

    def rewards(self, columns: Sequence[str] | None = None) -> Rewards:
        """Its rewards, with what was carried along; arguments as of `scores`."""
        return Rewards(self._table(REWARDS_DIR, COMPOSE, columns), "rewards")

    def _table(self, name: str, spec: Pass, columns: Sequence[str] | None) -> pa.Table:
        self._require(f"{name}/{SUCCESS_FILE}", spec)
        units = table_units(self.folder.path(name))
        parts = [unit.read_all() if columns is None else unit.read([PAIR_ID, *columns]) for unit in units]
        missing = [column for column in columns or () if parts and column not in parts[0].column_names]
        if missing:
            raise ConfigError(f"{self.folder.path(name)} has no column {missing[0]}.")
        return pa.concat_tables(parts, promote_options="permissive").replace_schema_metadata(None)

    def _require(self, name: str, spec: Pass) -> None:
        if not self.folder.exists(name):
            raise ConfigError(
                f"{self.folder.path(name)} is not there: {spec.name} was not done, or has not finished. "
                f"`{command('encore-ray', 'status', self.folder.uri)}` says how far the run is."
            )

    def __repr__(self) -> str:
        done = [status.name for status in run_status(self.folder) if status.state == "finished"]
        return f"<run {self.folder.uri}: {', '.join(done) or 'no pass'} finished>"
