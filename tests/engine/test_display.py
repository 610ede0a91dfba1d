"""What a person sees while a pass runs."""

import io
import threading
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from encore_ray.engine.display import Display, duration, figures
from encore_ray.engine.progress import Progress


def progress(done_rows: int, *, total_rows: int = 1000, resumed_rows: int = 0, **counts: int) -> Progress:
    return Progress("score", done_rows, total_rows, done_rows // 100, total_rows // 100, resumed_rows, 10.0, counts)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (8.4, "8 s"),
        (59.6, "1 min"),
        (200, "3 min 20 s"),
        (3600, "1 h"),
        (7500, "2 h 5 min"),
        (276_000, "3 days 4 h"),
        (-3, "0 s"),
    ],
)
def test_a_duration_is_told_in_two_units(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@given(st.integers(0, 10**7))
def test_a_duration_is_short_by_less_than_its_smaller_unit(seconds: int) -> None:
    sizes = {"s": 1, "min": 60, "h": 3600, "days": 86400}
    words = duration(seconds).split()
    told = sum(int(number) * sizes[unit] for number, unit in zip(words[::2], words[1::2], strict=True))
    biggest = max(size for size in sizes.values() if size <= max(seconds, 1))
    smaller = {1: 1, 60: 1, 3600: 60, 86400: 3600}[biggest]
    assert 0 <= seconds - told < smaller


def test_a_line_tells_how_much_the_rate_and_the_time_left() -> None:
    # 400 rows in 10 s are 40/s; 600 are left: 15 s.
    assert figures(progress(400)) == "400 of 1,000 · 40/s · 15 s left"


def test_rows_done_before_do_not_count_into_the_rate() -> None:
    # (400 - 200) / 10 s = 20/s; 600 left: 30 s.
    assert figures(progress(400, resumed_rows=200)) == "400 of 1,000 · 200 were done before · 20/s · 30 s left"
    assert figures(progress(200, resumed_rows=200)) == "200 of 1,000 · 200 were done before"


def test_what_went_aside_and_the_tokens_are_told() -> None:
    line = figures(progress(400, tokens=8000, quarantined=3, truncated=0, kept=397))
    assert line == "400 of 1,000 · 40/s · 800 tokens/s · 15 s left · 3 quarantined"


def test_workers_are_told_while_they_work_and_their_deaths_to_the_end() -> None:
    manned = replace(progress(400), workers=12, lost_units=1)
    assert figures(manned) == "400 of 1,000 · 40/s · 15 s left · 12 workers · 1 unit lost its worker"
    assert figures(replace(manned, workers=1, lost_units=2)).endswith(" · 1 worker · 2 units lost their worker")
    assert figures(replace(manned, done_rows=1000, done_units=10)) == "1,000 of 1,000 · 100/s · 1 unit lost its worker"


def test_nothing_is_left_at_the_end() -> None:
    assert figures(progress(1000)) == "1,000 of 1,000 · 100/s"


def shown(*steps: Progress, terminal: bool) -> str:
    console = Console(file=io.StringIO(), width=80, force_terminal=terminal, color_system=None)
    with Display(console) as display:
        for step in steps:
            display(step)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_log_gets_the_last_line_of_every_pass_once() -> None:
    steps = [progress(done) for done in range(0, 1001, 100)]
    assert shown(*steps, steps[0], steps[-1], terminal=False).splitlines() == ["  score     1,000 of 1,000 · 100/s"]


def test_time_that_passes_without_a_unit_is_not_added_to_what_is_left() -> None:
    # 400 rows in 10 s are 40/s: 15 s are left, of which 5 s have passed; over 15 s they are 27/s.
    assert figures(progress(400), idle=5) == "400 of 1,000 · 27/s · 10 s left"
    assert figures(progress(400), idle=20) == "400 of 1,000 · 13/s"


class Log(io.StringIO):
    """A log file that lets a test wait for a line."""

    def __init__(self, awaited: str) -> None:
        super().__init__()
        self.awaited = awaited
        self.found = threading.Event()

    def write(self, text: str) -> int:
        written = super().write(text)
        if self.awaited in text:
            self.found.set()
        return written


@pytest.mark.parametrize(
    ("seconds", "rows", "awaited"),
    [
        (10.0, 0, "0 of 1,000 · workers start and do their first unit, 0 s"),
        (0.001, 100, "no unit finished for 0 s"),  # one unit took 1 ms
    ],
)
def test_a_log_tells_what_is_waited_for(seconds: float, rows: int, awaited: str) -> None:
    log = Log(awaited)
    with Display(Console(file=log, width=80), line_every_s=0.02) as display:
        display(replace(progress(rows), seconds=seconds))
        assert log.found.wait(timeout=10)


def test_slow_units_are_no_idle_ones() -> None:
    log = Log("100 of 1,000 · 2/s")  # 100 rows in 60 s: a unit a minute is what they take
    with Display(Console(file=log, width=80), line_every_s=0.02) as display:
        display(replace(progress(100), seconds=60.0))
        assert log.found.wait(timeout=10)
    assert "no unit finished" not in log.getvalue()


def test_what_takes_long_before_a_pass_is_told_to_go_on() -> None:
    log = Log("starts a Ray of its own · 0 s so far")
    with Display(Console(file=log, width=80), line_every_s=0.02) as display:
        display.note("starts a Ray of its own")
        assert log.found.wait(timeout=10)


def test_a_finished_pass_and_a_display_that_ended_are_silent() -> None:
    log = Log("first unit")
    with Display(Console(file=log, width=80), line_every_s=0.02) as display:
        display(progress(1000))
        assert not log.found.wait(timeout=0.1)
    with Display(Console(file=log, width=80), line_every_s=60) as display:
        display(progress(0))
    assert "encore-ray-progress" not in [thread.name for thread in threading.enumerate()]


def test_a_log_has_no_control_characters() -> None:
    assert "\x1b" not in shown(progress(0), progress(1000), terminal=False)


def test_a_terminal_gets_a_bar_a_pass() -> None:
    prepare = Progress("prepare", 10, 10, 1, 1, 0, 1.0)
    text = shown(prepare, progress(400), terminal=True)
    for part in ("prepare", "━", "400 of 1,000 · 40/s · 15 s left"):
        assert part in text
    assert text.count("\x1b[?25h") == 1  # the cursor is back


def test_a_pass_without_rows_is_shown_as_done() -> None:
    empty = Progress("compose", 0, 0, 0, 0, 0, 0.0)
    assert shown(empty, terminal=False) == "  compose   0 of 0\n"
    assert "0 of 0" in shown(empty, terminal=True)
