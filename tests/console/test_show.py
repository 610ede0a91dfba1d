"""What a command says when it has ended."""

import io

import pytest
from rich.console import Console

from encore_ray.console.doctor import tell_processors
from encore_ray.console.sentences import tell_prepared, tell_scored, tell_status
from encore_ray.console.show import show_counts
from encore_ray.folder.status import PassStatus


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


def test_a_sentence_of_scores_says_how_many_under_how_many_rules_and_what_is_aside() -> None:
    assert tell_scored("rated", {"scored": 1, "quarantined": 0}, 1, "run/scores") == (
        "1 pair is rated under 1 rule: run/scores."
    )
    assert tell_scored("scored", {"scored": 1998, "quarantined": 2}, 10, "run/scores") == (
        "1,998 pairs are scored under 10 rules; 2 in quarantine: run/scores."
    )
    counts = {"rows": 5, "pairs": 3, "singles": 1, "quarantined": 1}
    assert tell_prepared(counts, "run/pairs") == (
        "3 pairs and 1 single response from 5 rows are in run/pairs; 1 in quarantine."
    )


def test_a_sentence_of_a_run_says_where_it_stopped_or_what_is_next() -> None:
    done = PassStatus("prepare", "finished")
    assert tell_status([done], None) == "All passes of the run are finished."
    assert tell_status([done, PassStatus("score", "not started")], None) == (
        "1 of 2 passes are finished; score has not begun."
    )
    # 300 rows are left at 10 a second: 30 s.
    works = PassStatus("score", "unfinished", 7, 10, 700, 1000, rows_per_second=10.0)
    assert tell_status([done, works], "process 7") == "score has done 700 of 1,000 rows, and about 30 s are left."
    assert tell_status([done, works], None) == "score has done 700 of 1,000 rows, and no command works on it now."


def test_a_load_is_told_as_what_it_is() -> None:
    assert tell_processors(2, 8, 0.25) == "2 of 8 CPUs; load average 0.2 in the last minute"
    assert tell_processors(2, 2, 9.0) == (
        "2 of 2 CPUs; load average 9.0 in the last minute: more processes than CPUs, so that a job takes longer"
    )
