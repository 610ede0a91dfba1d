"""No text of a user's data steers a terminal, a log, a page, a note or an error."""

import io
import logging
import re
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from encore_ray.artifacts import Metrics, WeightsFile
from encore_ray.composition.measure.problems import Offenders, ScoreProblems
from encore_ray.composition.scales.binning import choose_binning
from encore_ray.console.show import show_comparison, show_left_out, show_metrics, show_weights
from encore_ray.console.terminal import Terminal
from encore_ray.errors import DataError
from encore_ray.redaction import RedactingFormatter
from encore_ray.report.drawing.markup import tag
from encore_ray.report.page import render_page
from encore_ray.report.tables.summary import summary
from encore_ray.rules import Rule, Scale
from encore_ray.visible import MOST_ROWS, MOST_SAID, more, said, short, visible, visible_lines
from tests.report_contents import make_contents, stats

TURNING = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
NASTY = f"\x1b[31mred\x1b]0;title\x07 \r\x08\x00\x9b2J\u2028\u2029\ufeff\U000e0041 {TURNING} \ud800 end"


def steers(text: str) -> set[str]:
    """Characters that a terminal or a page obeys instead of showing them."""
    kinds = ("Cc", "Cs", "Zl", "Zp")
    return {c for c in text if (unicodedata.category(c) in kinds and c != "\n") or c in TURNING}


@given(st.text())
@example(NASTY)
def test_whatever_a_text_holds_it_steers_nothing(text: str):
    assert not steers(visible(text)) and "\n" not in visible(text)
    assert not steers(visible_lines(text)) and visible_lines(text).count("\n") == text.count("\n")
    assert not steers(short(text)) and not steers(said(text)) and not steers(str(DataError(text)))
    assert visible(visible(text)) == visible(text)


@given(st.text(st.characters(categories=["L", "M", "N", "P", "S", "Zs"])))
def test_ordinary_text_of_any_script_is_as_it_was(text: str):
    assert visible(text) == visible_lines(text) == text


def test_what_joins_letters_and_pictures_stays():
    assert visible("می‌خواهم 👩‍🔬") == "می‌خواهم 👩‍🔬"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31m", "\\x1b[31m"),
        ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
        ("\u202eevil", "\\u202eevil"),
        ("\x9b2J", "\\x9b2J"),
        ("\U000e0041", "\\U000e0041"),
    ],
)
def test_what_is_not_shown_is_spelt_out(text: str, shown: str):
    assert visible(text) == shown


def test_long_names_and_messages_are_cut_and_say_so():
    assert short("x" * 5000) == "x" * 80 + "… (5,000 characters)"
    message = said("a" * 50_000 + "b" * 50_000)
    assert len(message) < MOST_SAID + 100 and message.startswith("aaa") and message.endswith("bbb")
    assert "90,000 characters left out" in message
    assert more(9950, "subsets", "metrics.json") == "and 9,950 more subsets: see metrics.json"


def shown(show, *, terminal: bool = False) -> str:
    stream = io.StringIO()
    show(Terminal(file=stream, width=100, force_terminal=terminal, color_system="truecolor" if terminal else None))
    return stream.getvalue()


def test_a_terminal_takes_escapes_from_nobody_but_itself():
    def show(console: Console) -> None:
        console.print(NASTY, markup=False)
        console.print(f"[bold]{escape(NASTY)}[/]", soft_wrap=True)
        table = Table("name", caption=Text(NASTY))
        table.add_row(Text(NASTY, style="red"))
        console.print(table)

    assert not steers(shown(show))
    styles = re.compile(r"\x1b\[[0-9;]*m")
    coloured = shown(show, terminal=True)
    assert styles.search(coloured)
    assert not steers(styles.sub("", coloured.replace("\x1b[31mred", ""))) - {"\x1b"}
    assert "\x1b[31mred" not in coloured and "\x1b]0;" not in coloured


def test_log_lines_steer_nothing():
    stream = io.StringIO()
    handler = RichHandler(console=Terminal(file=stream, width=200), show_time=False, show_path=False)
    handler.setFormatter(RedactingFormatter("%(message)s"))
    handler.handle(logging.LogRecord("x", logging.WARNING, "f", 1, "pair %s", (NASTY,), None))
    assert not steers(stream.getvalue()) and "\\x1b[31mred" in stream.getvalue()


def nasty_metrics(num_subsets: int) -> Metrics:
    names = [f"{NASTY}\n{number} {'x' * 5000}" for number in range(num_subsets)]
    content = make_contents(3).metrics
    assert content
    figures = {name: stats(5 + number % 7, 0, 5) for number, name in enumerate(names)}
    return Metrics.of({**content.content, "subsets": figures})


def test_ten_thousand_subsets_of_nasty_names_are_a_screen_and_a_page():
    metrics = nasty_metrics(10_000)
    told = shown(lambda console: show_metrics(metrics, console=console))
    assert told.count("\n") < 12 * MOST_ROWS and f"{10_000 - MOST_ROWS:,} more" in " ".join(told.split())
    assert not steers(told) and "x" * 200 not in told.replace("\n", "")
    contents = make_contents(3)
    page = render_page(type(contents)(title=NASTY, weights=contents.weights, metrics=metrics))
    assert len(page) < 3_000_000
    assert not steers(page.decode())


def test_thousands_of_rules_are_a_screen_and_a_page():
    contents = make_contents(600, text=NASTY.replace("\ud800", ""))  # JSON holds no half characters
    weights, comparison = contents.weights, contents.comparison
    assert weights and comparison and contents.metrics
    told = shown(lambda console: show_weights(weights, console=console))
    assert told.count("\n") < 4 * MOST_ROWS and "550 more rules" in " ".join(told.split())
    told += shown(lambda console: show_comparison(comparison, console=console))
    told += shown(lambda console: show_left_out([NASTY] * 100, console=console))
    assert "50 more files" in told and not steers(told)
    page = render_page(contents)
    assert not steers(page.decode())
    assert len(page) < 8_000_000


def test_a_note_has_neither_markdown_nor_controls_of_the_data():
    contents = make_contents(60, text=f"{NASTY} ![x](http://a) <b> | `c`\n# title")
    assert contents.weights and contents.metrics
    weights = WeightsFile.of(contents.weights.content)
    note = summary(contents.metrics, weights)
    assert not steers(note) and "\n# title" not in note and "\\[x\\]" in note
    assert "10 more rules of less weight: see weights.json" in note


def test_markup_shows_controls_in_texts_and_attributes():
    assert not steers(tag("p", NASTY, title=NASTY))


def test_mlflow_is_told_of_the_largest_subsets_only():
    figures = nasty_metrics(1000).figures()
    assert sum(name.startswith("accuracy/") for name in figures) == 100


def test_ids_of_the_data_are_one_line_of_an_error():
    problems = ScoreProblems(non_finite=Offenders.of([f"{NASTY}\nencore-ray: all is well", "x" * 5000]))
    rule = Rule("harm", "Is it?", "better", Scale(0.0, 1.0))
    (sentence,) = problems.sentences(rule, binning=choose_binning(rule, num_bins=20), num_responses=9)
    assert not steers(sentence) and "\n" not in sentence and len(sentence) < 1000
