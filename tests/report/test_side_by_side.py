"""Runs beside each other: what differs comes first, and what is the same is not repeated."""

import dataclasses
import xml.etree.ElementTree as ET
from typing import Any

from encore_ray.artifacts import WeightsFile
from encore_ray.report.data.contents import ReportContents
from encore_ray.report.page import render_side_by_side
from tests.report.test_page import element, words
from tests.report_contents import make_contents


def two(**changes: Any) -> dict[str, ReportContents]:
    contents = make_contents(3)
    return {"first": contents, "second": dataclasses.replace(contents, **changes)}


def uniform(contents: ReportContents) -> WeightsFile:
    """Other weights of the same scores."""
    assert contents.weights
    rules = [rule | {"weight": 1 / 3} for rule in contents.weights.content["rules"]]
    return WeightsFile.of(
        {**contents.weights.content, "scheme": "uniform", "rules": rules, "fingerprint": "a2" * 32, "temperature": None}
    )


def page_of(runs: dict[str, ReportContents]) -> ET.Element:
    return ET.fromstring(render_side_by_side(runs))


def test_options_and_provenance_that_differ_come_first_and_what_is_the_same_is_said():
    contents = make_contents(3)
    assert contents.config
    config = {**contents.config, "weigh": {"scheme": "uniform", "clip": False}}
    page = page_of(two(weights=uniform(contents), config=config))
    assert next(found.get("id") for found in page.iter("section")) == "differs"
    told = words(element(page, "differs"))
    assert "The same in all: scores, rules, corpus." in told
    assert f"weights {'f1' * 8} {'a2' * 8}" in told
    assert "weigh.scheme encore uniform" in told
    assert "weigh.clip" not in told
    assert "numpy" not in told


def test_a_run_beside_itself_differs_in_nothing():
    assert "Nothing that decides a result." in words(element(page_of(two()), "differs"))


def test_weights_subsets_and_schemes_stand_beside_each_other_with_their_difference():
    page = page_of(two(weights=uniform(make_contents(3))))
    # 3, 2 and 1 sixths against thirds: the heaviest and the lightest differ most
    assert "rule_1 50.0% H 0.80 33.3% H 0.80 −16.7" in words(element(page, "weights"))
    assert "rule_2 33.3% H 1.20 33.3% H 1.20 0.0" in words(element(page, "weights"))
    assert "all pairs 69.5%" in words(element(page, "subsets"))
    assert "ENCORE 71.5%" in words(element(page, "schemes"))
    assert "first encore" in words(element(page, "decisions")) and "second uniform" in words(element(page, "decisions"))


def test_of_runs_of_other_rules_and_subsets_each_has_its_own():
    runs = {"a": make_contents(2, prefix="one"), "b": make_contents(3, prefix="other"), "c": ReportContents("c")}
    page = page_of(runs)
    assert "5 rules, those that differ most first." in words(element(page, "weights"))
    assert "one_1 66.7% H 0.80 – –" in words(element(page, "weights"))
    assert "second − first" not in words(page)  # of three runs there is no one difference
    assert "Not even their scores are the same." in words(element(page, "differs"))
