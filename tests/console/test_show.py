"""What a command says when it has ended."""

import io

import pytest
from rich.console import Console

from encore_ray.console.show import show_counts


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        (
            {"identical": 0, "kept": 1998, "pairs": 1900, "quarantined": 2, "rows": 2000, "singles": 98, "ties": 3},
            "2,000 rows = 1,998 kept + 2 quarantined; 1,900 pairs, 98 singles, 3 ties",
        ),
        (
            {"quarantined": 0, "rows": 7, "scored": 7, "truncated": 0, "reason.empty_field": 0},
            "7 rows = 7 scored + 0 quarantined",
        ),
        ({"pairs": 5, "rows": 5, "decided_by_veto": 2}, "5 rows; 5 pairs, 2 decided by veto"),
    ],
)
def test_counts_begin_with_the_account_of_the_rows_and_leave_out_what_is_none(
    counts: dict[str, int], said: str
) -> None:
    console = Console(file=io.StringIO(), width=120)
    show_counts(counts, console=console)
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().splitlines()[0] == said
