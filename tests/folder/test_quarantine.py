"""A pass stops once it cannot end well, never before, and says what is most often wrong."""

from pathlib import Path

import numpy as np
import pytest

from encore_ray.errors import DataError
from encore_ray.folder.pass_table import PassTable
from encore_ray.folder.protocol.commits import Commit
from encore_ray.folder.quarantine import (
    EVIDENCE,
    FIRST_UNITS,
    Allowance,
    QuarantineGuard,
    check_bad_fraction,
    commonest_line,
    spread,
)
from encore_ray.storage import Folder


def commit(number: int, *, rows: int, bad: int) -> Commit:
    counts = {"rows": rows, "quarantined": bad, "reason.template_refused": bad}
    return Commit(f"u{number}", "", "", (), None, counts, {}, 0.0, 0.0)


def units_before_the_stop(folder: Path, bads: list[int], *, rows: int, allowed: Allowance) -> int | None:
    """How many units a pass does before it stops; None where it does not."""
    run = Folder(str(folder))
    guard = QuarantineGuard(PassTable(run.child("scores"), run, "score"), allowed)
    for number, bad in enumerate(bads):
        try:
            guard(commit(number, rows=rows, bad=bad))
        except DataError:
            return number + 1
    return None


@pytest.mark.parametrize(
    ("bads", "allowed", "stops_after"),
    [
        ([10, 10, 10], Allowance(0.01, 300), 1),  # 10 of 20 rows; no more than 3 of 300 may be
        ([3, 0, 0, 1], Allowance(0.01, 300), 4),  # the fourth bad row is one too many
        ([3, 0, 0, 0], Allowance(0.01, 300), None),
        ([0, 1], Allowance(0.0, 300), 2),
        ([20, 20, 20], Allowance(0.01, 1_000_000), 2),  # 50.5 * 50.5 is past 500
        ([10, 10, 10], Allowance(0.01, 1_000_000), 2),  # 25.5 * 25.5 = 650
        ([20, 0, 0, 0], Allowance(0.01, 1_000_000), None),  # one unit alone may be the only bad one
        ([20] * 9, Allowance(1.0, 1_000_000), None),
        ([20] * 20, Allowance(0.5, 1_000_000), 16),  # 1.5 to the 16th is 657
    ],
)
def test_a_pass_stops_when_too_many_rows_are_bad_or_its_units_show_that_they_will_be(
    tmp_path: Path, bads: list[int], allowed: Allowance, stops_after: int | None
) -> None:
    assert units_before_the_stop(tmp_path, bads, rows=20, allowed=allowed) == stops_after


@pytest.mark.parametrize("clump", [1, 20], ids=["bad rows anywhere", "bad units as a whole"])
def test_a_job_that_can_end_well_is_hardly_ever_stopped(tmp_path: Path, clump: int) -> None:
    rng = np.random.default_rng(0)
    allowed, stopped, jobs = Allowance(0.05, 20 * 200), 0, 400
    for _ in range(jobs):
        is_bad = np.repeat(rng.permutation(4000 // clump) < 200 // clump, clump)  # 200 of 4,000: just what may be
        bads = is_bad.reshape(200, 20).sum(axis=1).tolist()
        stopped += units_before_the_stop(tmp_path, bads, rows=20, allowed=allowed) is not None
    assert stopped <= 3 * jobs / EVIDENCE + 2


def test_the_first_units_are_from_all_over_the_corpus_and_none_is_lost() -> None:
    assert spread(range(12))[:FIRST_UNITS] == [0, 3, 6, 9]
    for num in range(20):
        assert sorted(spread(range(num))) == list(range(num))


def test_the_message_names_the_commonest_detail_by_an_example_and_what_to_set(tmp_path: Path) -> None:
    rows = [
        {"reason": "template_refused", "detail": f"pair p{i}: no system", "source": "a", "line": i, "pair_id": f"p{i}"}
        for i in range(3)
    ]
    rows.append({"reason": "wrong_type", "detail": "a number", "source": "b", "line": 9, "pair_id": None})
    assert commonest_line(rows) == "Most often (3 of 4), as for pair p0, line 0 of a: pair p0: no system\n"
    assert commonest_line([]) == ""
    run = Folder(str(tmp_path))
    counts = {"rows": 10, "quarantined": 4, "reason.template_refused": 3, "reason.wrong_type": 1}
    with pytest.raises(DataError, match=r"(?s)4 of 10 rows \(40.00%\).*template_refused +3\n.*score\.system to merge"):
        check_bad_fraction(counts, 0.1, PassTable(run.child("scores"), run, "score"))


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
