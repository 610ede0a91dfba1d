"""The search for the rows that end their worker: exact, with few deaths, and never at a loss for an answer."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encore_ray.engine.outcomes import Death
from encore_ray.engine.work.isolate import MAX_FATAL_ROWS, PARTS, examine
from encore_ray.engine.work.unit_work import Probe, Task
from encore_ray.errors import ClusterError
from encore_ray.schema import Reason

KILLED = Death(Reason.KILLS_WORKER, "killed")
HUNG = Death(Reason.HANGS, "hung")


@dataclass
class Workplace:
    """Attempts as a lone worker makes them: an item that touches a lethal row dies, any other survives.

    Attributes:
        lethal: how the worker dies of a row.
        dies_also: a further cause of death, for an item with these rows at the n-th attempt (from 0 on).
        deaths, rows_tried: counted.
    """

    lethal: dict[int, Death] = field(default_factory=dict)
    dies_also: Callable[[set[int], int], bool] = lambda rows, attempt: False
    attempts: int = 0
    deaths: int = 0
    rows_tried: int = 0

    def attempt(self, item: Task | Probe) -> Any:
        probe = isinstance(item, Probe)
        rows = set(item.rows) if probe else set(range(item.rows)) - {row.row for row in item.left_out}
        number, self.attempts = self.attempts, self.attempts + 1
        self.rows_tried += len(rows) if probe else 0
        death = next((self.lethal[row] for row in sorted(rows) if row in self.lethal), None)
        if death is None and self.dies_also(rows, number):
            death = KILLED
        self.deaths += death is not None
        return death or (None if probe else item)


def unit(rows: int) -> Task:
    return Task("u7", "digest", rows, None, "pairs.jsonl")


def left_out(task: Any) -> dict[int, Reason]:
    assert isinstance(task, Task)
    return {row.row: row.reason for row in task.left_out}


@given(data=st.data(), num_rows=st.integers(0, 3000))
def test_exactly_the_lethal_rows_are_left_out(data: st.DataObject, num_rows: int) -> None:
    rows = st.integers(0, max(num_rows - 1, 0))
    found = data.draw(st.dictionaries(rows, st.sampled_from([KILLED, HUNG]), max_size=min(num_rows, MAX_FATAL_ROWS)))
    done = examine(unit(num_rows), Workplace(found).attempt, leaves_out=True)
    assert left_out(done) == {row: death.reason for row, death in sorted(found.items())}


@pytest.mark.parametrize(("death", "deaths"), [(KILLED, 3), (HUNG, 2)])
def test_one_row_of_a_full_unit_costs_few_deaths(death: Death, deaths: int) -> None:
    """1,024 rows are 32 parts of 32: the part dies, then the row; a kill is confirmed, a hang has been waited for."""
    place = Workplace({700: death})
    examine(unit(1024), place.attempt, leaves_out=True)
    assert PARTS == 32
    assert place.deaths == deaths
    assert place.rows_tried <= 1024 + 32 + 1


def test_a_node_that_leaves_in_between_puts_no_row_in_quarantine() -> None:
    for unlucky in range(40):
        place = Workplace(dies_also=lambda rows, attempt, unlucky=unlucky: attempt == unlucky)
        assert left_out(examine(unit(64), place.attempt, leaves_out=True)) == {}


def test_a_unit_that_is_too_much_as_a_whole_ends_the_pass_with_what_helps() -> None:
    place = Workplace(dies_also=lambda rows, attempt: len(rows) > 500)
    with pytest.raises(ClusterError, match=r"Unit u7 of pairs.jsonl .* none of its rows does .*memory.*unit_pairs"):
        examine(unit(1024), place.attempt, leaves_out=True)


def test_a_worker_that_dies_whatever_it_does_is_given_up_soon() -> None:
    place = Workplace(dies_also=lambda rows, attempt: len(rows) > 0)
    with pytest.raises(ClusterError, match="more than 16 rows end their worker"):
        examine(unit(1024), place.attempt, leaves_out=True)
    assert place.deaths <= 1 + 2 * (MAX_FATAL_ROWS + 1)
    nothing = Workplace(dies_also=lambda rows, attempt: True)
    with pytest.raises(ClusterError, match="before any row is worked on: killed"):
        examine(unit(1024), nothing.attempt, leaves_out=True)
    assert nothing.deaths == 2


def test_work_that_must_not_lose_a_row_is_tried_twice_and_then_named() -> None:
    place = Workplace({3: KILLED})
    with pytest.raises(ClusterError, match=r"Unit u7 of pairs.jsonl ends its worker each time.*killed"):
        examine(unit(8), place.attempt, leaves_out=False)
    assert (place.attempts, place.deaths) == (2, 2)
