"""Rows in quarantine: how many of them end a pass, and what is said then."""

from pathlib import Path

import pytest

from encore_ray.errors import DataError
from encore_ray.folder.pass_table import PassTable
from encore_ray.folder.quarantine import check_bad_fraction
from encore_ray.storage import Folder


def test_too_many_bad_rows_are_an_error_with_a_table_of_reasons(tmp_path: Path) -> None:
    run = Folder(str(tmp_path))
    table = PassTable(run.child("scores"), run, "score")
    counted = {"rows": 200, "quarantined": 3, "reason.wrong_type": 1, "reason.empty_field": 2}
    check_bad_fraction(counted, 0.015, table)  # 3 of 200 is just allowed
    check_bad_fraction({"rows": 0, "quarantined": 0}, 0.0, table)
    with pytest.raises(DataError) as caught:
        check_bad_fraction(counted, 0.0149, table)
    said = str(caught.value)
    assert "3 of 200 rows (1.50%)" in said
    assert said.index("empty_field") < said.index("wrong_type")  # the most frequent first
    assert table.quarantine_folder.path("score") in said
