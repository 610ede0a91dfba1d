"""The pages say what the code does: keys, commands, layouts, exit codes, and the examples of files that they show."""

import re

import pytest
import yaml

from encore_ray import errors, make_config
from encore_ray.cli import COMMANDS
from encore_ray.corpora.formats import format_names
from encore_ray.rule_pools import rule_pool
from encore_ray.rules import RuleSet
from tests.docs.generated import GENERATED, standing
from tests.docs.pages import DOCS, README, blocks, commands, listed_pages, text_of

MOST_LINES = 220  # of a page that is read from end to end


def yaml_blocks(start: str) -> list[str]:
    """Those of all pages that begin so."""
    return [text for page in listed_pages() for _, text in blocks(page, "yaml") if text.startswith(start)]


@pytest.mark.parametrize("marker", GENERATED)
def test_a_generated_part_is_what_the_code_knows(marker: str) -> None:
    assert standing(marker) == GENERATED[marker][1](), "python -m tests.docs writes it"


def test_the_first_page_is_short_and_lists_every_page_once() -> None:
    assert len(text_of(README).splitlines()) <= MOST_LINES
    pages = listed_pages()
    assert len(set(pages)) == len(pages)
    assert {page for page in pages if page.parent == DOCS} == set(DOCS.glob("*.md"))


@pytest.mark.parametrize("page", listed_pages(), ids=lambda page: page.stem)
def test_a_page_has_one_title_at_its_top(page) -> None:
    titles = re.findall(r"^# .+", re.sub(r"^```.*?^```", "", text_of(page), flags=re.M | re.S), flags=re.M)
    assert len(titles) == 1 and text_of(page).startswith(titles[0])


def test_the_pages_show_every_command() -> None:
    assert set(COMMANDS) <= {command[0] for command in commands()} | {"demo"}


def test_the_page_of_formats_lists_every_layout() -> None:
    assert re.findall(r"^\| `([a-z0-9-]+)` \|", text_of(DOCS / "formats.md"), flags=re.M) == format_names()


def test_the_jobs_that_the_pages_show_are_valid() -> None:
    jobs = yaml_blocks("inputs:")
    assert len(jobs) == 4
    for job in jobs:
        make_config(yaml.safe_load(job))


def test_the_rules_that_the_pages_show_are_valid() -> None:
    assert [len(RuleSet.from_yaml(rules)) for rules in yaml_blocks("- name:")] == [2]


def test_the_pages_say_how_many_rules_come_along() -> None:
    num_rules = len(rule_pool("all"))
    assert f"{num_rules} rules" in text_of(README)
    assert f"{num_rules} safety rules" in text_of(DOCS / "rules.md")


def test_a_figure_that_the_first_page_links_to_stands_behind_the_link() -> None:
    links = re.findall(r"\[([^\]]*\d[^\]]*)\]\(docs/([a-z-]+\.md)#[a-z-]+\)", text_of(README))
    figures = {(figure, page) for told, page in links for figure in re.findall(r"\d[\d,.]*", told)}
    assert len(figures) >= 2
    assert all(re.search(rf"\b{figure}\b", text_of(DOCS / page)) for figure, page in figures)


def test_the_exit_codes_are_those_of_the_errors() -> None:
    section = text_of(DOCS / "cli.md").partition("## Exit codes")[2].partition("<!--")[0]
    codes = set(re.findall(r"^\| (\d+)", section, flags=re.M))
    raised = {kind.exit_code for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "exit_code")}
    assert {str(code) for code in raised} | {"0", "1", "130"} == codes
