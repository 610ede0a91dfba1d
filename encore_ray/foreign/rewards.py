"""A table of rewards by its path: one that `compose` made is read where it lies, one in another form is turned once."""

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager

import pyarrow as pa
import pyarrow.compute as pc

from encore_ray.artifacts import read_weights
from encore_ray.composition.weigh.weights import Weights
from encore_ray.errors import ConfigError
from encore_ray.folder.reading.foreign import parquet_files
from encore_ray.folder.reading.tables import is_pass_folder
from encore_ray.foreign.form.naming import Naming
from encore_ray.foreign.table import ScoreTable, place_of, turned_table
from encore_ray.schema import (
    CHOSEN_REWARD,
    GROUP_ID,
    MARGIN,
    PROMPT_ID,
    REJECTED_REWARD,
    SUBSET,
    WEIGHTS_FILE,
    chosen_column,
    rejected_column,
)
from encore_ray.shell import again, option
from encore_ray.storage import Folder

_REWARD = "score"  # what `find_form` calls a single rule


@contextlib.contextmanager
def reward_table(uri: str, naming: Naming, *, weights: Weights | None, scratch: Folder) -> Iterator[ScoreTable]:
    """Open a table of rewards, with the weights that they are of beside it.

    Args:
        uri: absolute path or URL of a file or folder.
        naming: what a person says of its columns; unsaid, rewards are in chosen_reward and rejected_reward.
        weights: that they were composed by; None: those in a weights.json beside them.
        scratch: folder that every worker sees, for what is made of it.

    Raises:
        ConfigError: there are no weights, or columns are named of several rules. DataError: as of `score_table`.
    """
    folder = Folder(uri)
    has_own = not naming.says_something and weights is None
    if not folder.exists() or is_pass_folder(folder) or (has_own and _is_whole(folder)):
        if not has_own:
            raise ConfigError(
                f"{uri} was made by `compose`, with its weights beside it. Leave out {option('weights')} "
                f"and {option('map')}."
            )
        yield ScoreTable(uri)
        return
    found = weights or _weights_beside(uri)
    if found.hard_rules:
        raise ConfigError(
            f"{uri}: which vetoes decide a pair stands in the folder that `compose` makes. Name that one."
        )
    with turned_rewards(uri, naming, scratch=scratch) as table:
        Folder(table.uri).write_json(WEIGHTS_FILE, found.to_dict())
        yield table


def turned_rewards(uri: str, naming: Naming, *, scratch: Folder) -> AbstractContextManager[ScoreTable]:
    """A table of rewards in another form, under our names and with margins; see `turned_table`.

    Args:
        naming: unsaid, rewards are in chosen_reward and rejected_reward.

    Raises:
        ConfigError: columns of several rules are named.
    """
    if naming.is_pattern:
        raise ConfigError(f"{option('chosen', naming.chosen)}: a pair has one reward a side. Name one column each.")
    named = naming if naming.chosen else Naming(CHOSEN_REWARD, REJECTED_REWARD, naming.columns)
    return turned_table(uri, named, rules=None, scratch=scratch, finish=_with_margins)


def _is_whole(folder: Folder) -> bool:
    """Whether it is Parquet with the weights beside it, as a copy of what `compose` makes."""
    return folder.exists(WEIGHTS_FILE) and bool(parquet_files(folder.uri))


def _weights_beside(uri: str) -> Weights:
    for folder in (Folder(uri), place_of(uri)[0]):
        if folder.exists(WEIGHTS_FILE):
            return read_weights(folder)
    raise ConfigError(
        f"{uri} has no {WEIGHTS_FILE} beside it: name the weights of these rewards:\n  {again(weights=WEIGHTS_FILE)}"
    )


def _with_margins(table: pa.Table) -> pa.Table:
    """Rewards under our names, with their difference."""
    sides = [table.column(column(_REWARD)).cast(pa.float64()) for column in (chosen_column, rejected_column)]
    ours = (chosen_column(_REWARD), rejected_column(_REWARD), CHOSEN_REWARD, REJECTED_REWARD, MARGIN)
    columns = {name: table.column(name) for name in table.column_names if name not in ours}
    for name in (SUBSET, PROMPT_ID, GROUP_ID):
        columns.setdefault(name, pa.nulls(table.num_rows, pa.string()))
    margin = pc.call_function("subtract", sides)
    return pa.table(columns | {CHOSEN_REWARD: sides[0], REJECTED_REWARD: sides[1], MARGIN: margin})
