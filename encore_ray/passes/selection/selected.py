"""What a run's relevance/ and selection/ hold, for the passes that go on from them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from encore_ray.arrays import to_numpy
from encore_ray.errors import DataError
from encore_ray.folder.pass_table import PassTable, pass_tables
from encore_ray.folder.reading.columns import floats, places
from encore_ray.folder.reading.table_rules import run_rules
from encore_ray.folder.reading.tables import TableUnit, table_units
from encore_ray.rules import RuleSet
from encore_ray.schema import PAIR_ID, RULES_FILE, SCORES_DIR, relevance_column, selected_column
from encore_ray.storage import Folder


@dataclass(frozen=True)
class Selection:
    """The finished selection of a run.

    Attributes:
        units: of selection/, by name; those of scores/ are called alike.
        facts: `num_rules` a pair, what selected them (`by`), and the start of the table's fingerprint.
    """

    units: Mapping[str, TableUnit]
    facts: Mapping[str, Any]


def find_selection(run: Folder) -> Selection | None:
    """The selection of a run; None where none is finished.

    Raises:
        DataError: the rules of the run's scores have changed since.
    """
    table = pass_tables(run)["select"]
    facts, done = table.standing_facts(), table.sealed()
    if facts is None or done is None:
        return None
    _check_rules(run, table, facts)
    told = {"num_rules": facts["num_rules"], "by": facts["by"], "selection": done["manifest_digest"][:12]}
    return Selection({unit.unit: unit for unit in table_units(table.folder.uri)}, told)


def check_unchanged_rules(selection: str) -> None:
    """DataError where the rules of a run's scores have changed since its selection was made; its labels would be stale.

    Args:
        selection: folder of a table; one that is no run's selection passes.
    """
    run = Folder(selection.rstrip("/").rpartition("/")[0] or "/")
    table = pass_tables(run)["select"]
    facts = table.standing_facts() if table.folder.uri == selection.rstrip("/") else None
    if facts is not None:
        _check_rules(run, table, facts)


def _check_rules(run: Folder, table: PassTable, facts: Mapping[str, Any]) -> None:
    rules = run_rules(run) if run.exists(SCORES_DIR) else None
    if rules is None or facts.get("rules") == rules.fingerprint:
        return
    raise DataError(
        f"Rules differ: {table.folder.uri} was made with the rules {str(facts.get('rules'))[:12]}, but "
        f"{run.path(RULES_FILE)} is {rules.fingerprint[:12]} now, so its rules and labels may be others. "
        "Run `encore-ray select --overwrite`."
    )


def read_selection(unit: TableUnit, pair_ids: pa.ChunkedArray, rules: RuleSet) -> np.ndarray:
    """The selected rules of the given pairs, bool [K, N]; none of a pair that has no selection.

    Raises:
        DataError: the selection is of other rules.
    """
    columns = _read(unit, [selected_column(name) for name in rules.names], "`encore-ray select --overwrite`")
    place_N = places(pair_ids, among=columns.column(PAIR_ID))
    mask_KM = np.array([to_numpy(column) for column in columns.columns[1:]], dtype=bool)
    return _with_end(mask_KM, end=False)[:, place_N]


def read_relevance(unit: TableUnit, pair_ids: pa.ChunkedArray, rules: RuleSet) -> np.ndarray:
    """How much each rule matters to the given pairs, float64 [K, N]; NaN for those of which it is not known.

    Raises:
        DataError: the relevance is of other rules.
    """
    columns = _read(unit, [relevance_column(name) for name in rules.names], "the pass that makes it, with --overwrite")
    place_N = places(pair_ids, among=columns.column(PAIR_ID))
    relevance_KM = np.array([floats(column) for column in columns.columns[1:]], dtype=np.float64)
    return _with_end(relevance_KM, end=np.nan)[:, place_N]


def pairs_with_relevance(relevance_KN: np.ndarray) -> np.ndarray:
    """Bool [N], which pairs have a relevance."""
    return np.asarray(np.isfinite(relevance_KN).any(axis=0))


def _read(unit: TableUnit, names: list[str], remedy: str) -> pa.Table:
    table = unit.read([PAIR_ID, *names])
    missing = [name for name in (PAIR_ID, *names) if name not in table.column_names]
    if missing:
        raise DataError(
            f"Rules differ: {unit.folder.path(unit.file)} lacks {', '.join(missing[:5])}{' …' if missing[5:] else ''}. "
            f"Run {remedy}."
        )
    return table


def _with_end(value_KM: np.ndarray, *, end: Any) -> np.ndarray:
    """The values with one more column, where place -1 leads to."""
    return np.pad(value_KM, ((0, 0), (0, 1)), constant_values=end)
