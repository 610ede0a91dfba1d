"""Rewards made elsewhere, pair by pair: what counts as known, as a tie, and what is no table of rewards."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from encore_ray.errors import DataError
from encore_ray.folder.reading.tables import table_units
from encore_ray.passes.external_rewards import open_rewards, other_margins
from encore_ray.storage import Folder

IDS = ["a", "b", "c", "d"]


def margins(place: Path, **columns: Any) -> np.ndarray:
    """Of a table of rewards, for pairs a to d."""
    Folder(str(place)).write_table("scores/t.parquet", pa.table({"pair_id": IDS}))
    Folder(str(place)).write_table("rewards/t.parquet", pa.table(columns))
    scores = table_units(str(place / "scores"))
    return other_margins(open_rewards("mine", str(place / "rewards"), scores), scores[0].unit, IDS)


def test_pairs_are_found_by_id_and_equal_rewards_tie(tmp_path: Path) -> None:
    found = margins(
        tmp_path, pair_id=["d", "c", "a"], chosen_reward=[0.1 + 0.2, 2.0, 3.0], rejected_reward=[0.3, 0.5, None]
    )
    np.testing.assert_array_equal(found, [np.nan, np.nan, 1.5, 0.0])


def test_a_reward_that_is_not_finite_is_none_and_no_tie(tmp_path: Path) -> None:
    # The third margin overflows: its rounding is infinite, and so would all be within it.
    found = margins(
        tmp_path, pair_id=IDS, chosen_reward=[np.inf, 1.0, 1e308, np.nan], rejected_reward=[1.0, -np.inf, -1e308, 0.0]
    )
    assert np.isnan(found).all()


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"pair_id": IDS, "chosen_reward": list("1234")}, "column chosen_reward must hold numbers, found string"),
        ({"pair_id": IDS, "chosen_reward": [[1.0]] * 4}, "column chosen_reward must hold numbers, found list"),
        ({"pair_id": IDS, "chosen_reward": [2**60 + 1] * 4}, "column chosen_reward cannot be read as float64"),
        ({"chosen_reward": [1.0] * 4}, r"mine: .* lacks the column pair_id\."),
    ],
)
def test_what_is_no_table_of_rewards_is_named(tmp_path: Path, columns: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        margins(tmp_path, **columns, rejected_reward=[0.0] * 4)
