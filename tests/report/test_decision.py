"""The first screen: what to use on this corpus beside what it is measured by, and the command for it."""

import dataclasses
import xml.etree.ElementTree as ET
from typing import Any

import pytest

from encore_ray.artifacts import Comparison
from encore_ray.composition.compare.decision import decide
from encore_ray.report.data.contents import ReportContents
from encore_ray.report.page import render_page
from tests.report_contents import make_contents

JOB = {"inputs": [{"path": "/data/hh/test.jsonl"}], "model": "/models/reward/v2", "run": "/runs/my run"}


def decided(num_rules: int = 3, *, best: str = "one_minus_entropy", **changes: Any) -> ReportContents:
    """A run by ENCORE, of rules that all vary, whose comparison decides."""
    contents = make_contents(num_rules, schemes=("uniform", "one_minus_entropy", "bradley_terry"))
    assert contents.comparison and contents.weights
    content = {**contents.comparison.content}
    for line in content["schemes"]:
        value = {best: 0.03}.get(line["name"], -0.01)
        line["all"] = line["all"] and line["all"] | {"accuracy": 0.7 + value}
        line["difference_to_uniform_all"] = {"value": value, "low": value - 0.005, "high": value + 0.005}
    decision = decide(content) | changes
    weights = type(contents.weights).of(
        {**contents.weights.content, "rules": [rule | {"flags": []} for rule in contents.weights.content["rules"]]}
    )
    comparison = Comparison.of({**content, "decision": decision})
    return dataclasses.replace(
        contents, comparison=comparison, weights=weights, place="/runs/my run", made_on="2026-01-31", config=JOB
    )


def page_of(contents: ReportContents) -> ET.Element:
    return ET.fromstring(render_page(contents))


def text_of(element: ET.Element) -> str:
    return " ".join(" ".join(element.itertext()).split())


def rows(contents: ReportContents) -> list[str]:
    page = page_of(contents)
    table = next(found for found in page.iter("table") if "decision" in (found.get("class") or "").split())
    return [text_of(row) for row in table.iter("tr")][1:]


def command(contents: ReportContents) -> str | None:
    box = next((found for found in page_of(contents).iter("div") if found.get("class") == "copy"), None)
    return None if box is None else text_of(box)


def test_the_decision_stands_beside_this_runs_weights_uniform_ones_length_a_coin_and_what_learns():
    found = rows(decided())
    assert found[0].startswith("1 − H / log B one_minus_entropy the ones to use 73.0%")
    assert "+3.0 +2.5 to +3.5" in found[0]
    assert found[1].startswith("ENCORE, temperature τ = 2 this run's 69.0%")
    assert found[2].startswith("Uniform 69.0%") and "points" not in found[2]
    assert found[3].startswith("The shorter response wins ")
    assert found[4] == "A coin 50.0%"
    assert found[5].startswith("Bradley–Terry learned from the other labels; on 200 held-out pairs 75.5%")
    assert len(found) == 6


def test_a_page_names_model_corpus_size_date_and_version():
    page = page_of(decided())
    about = next(found for found in page.iter("ul") if found.get("class") == "about")
    assert [text_of(item) for item in about] == [
        "scored by reward/v2",
        "corpus hh/test.jsonl",
        "1,000 pairs, 200 held out",
        "3 rules that act like 2.1",
        "2026-01-31",
        "encore-ray 0.1.0",
    ]


def test_length_that_does_as_well_is_said_to_come_first():
    contents = decided()
    assert contents.comparison
    baseline = contents.comparison.content["baselines"][0]
    better = baseline | {"all": baseline["all"] | {"accuracy": 0.9}}
    changed = Comparison.of({**contents.comparison.content, "baselines": [better]})
    assert "as good or better: mend the rules" in rows(dataclasses.replace(contents, comparison=changed))[3]


def test_the_command_weighs_as_decided():
    contents = decided()
    expected = "encore-ray run '/runs/my run/config.yaml' --set weigh.scheme=one_minus_entropy --overwrite"
    assert command(contents) == expected
    moved = command(dataclasses.replace(contents, place="/mnt/run"))
    assert moved is not None and moved.startswith("encore-ray run /mnt/run/config.yaml --run /mnt/run --set ")
    by_passes = command(dataclasses.replace(contents, config=None))
    assert by_passes is not None
    weigh, *others = by_passes.split(" && ")
    assert weigh == "encore-ray weigh --run '/runs/my run' --scheme one_minus_entropy --overwrite"
    assert [other.replace(" --run '/runs/my run'", "") for other in others] == [
        "encore-ray compose --overwrite",
        "encore-ray evaluate",
        "encore-ray compare",
    ]


def test_rules_that_hardly_vary_are_dropped_by_the_same_command():
    contents = decided()
    assert contents.weights
    rules = [{**rule} for rule in contents.weights.content["rules"]]
    rules[0] |= {"flags": ["mode_share"], "active_pair_share": 0.01}
    weights = type(contents.weights).of({**contents.weights.content, "rules": rules})
    assert "--set weigh.min_active=0.10" in str(command(dataclasses.replace(contents, weights=weights)))


def test_a_run_that_weighs_as_decided_is_exported():
    contents = decided(best="encore")
    assert command(contents) == "encore-ray export --run '/runs/my run' --output '/runs/my run-trl'"


@pytest.mark.parametrize(("changes", "place"), [({"beats_coin": False}, "/runs/r"), ({}, None)])
def test_there_is_no_command_for_weights_no_better_than_a_coin_nor_for_a_place_unknown(
    changes: dict[str, Any], place: str | None
):
    assert command(dataclasses.replace(decided(**changes), place=place)) is None


def test_a_run_that_was_not_compared_is_to_be_compared():
    contents = dataclasses.replace(decided(), comparison=None)
    assert rows(contents)[0].startswith("ENCORE this run's 69.5%")
    assert command(contents) == "encore-ray compare --run '/runs/my run'"
