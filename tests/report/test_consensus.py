"""What the report shows of the consensus: the verdict on top, the figure, and both sets of weights side by side."""

import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest

from encore_ray.artifacts import Comparison, WeightsFile
from encore_ray.composition.weigh.weighing import weigh
from encore_ray.corpora.planted.corpus import World, planted_ratings
from encore_ray.report.charts.lines import picture
from encore_ray.report.charts.loadings import HEIGHT, WIDTH, loadings_chart
from encore_ray.report.data.contents import ReportContents, reported_rules
from encore_ray.report.page import render_page
from tests.composition.builders import measure
from tests.composition.compared import compare
from tests.report_contents import make_contents

SVG = "{http://www.w3.org/2000/svg}"


def compared(world: World) -> dict[str, Any]:
    planted = planted_ratings(world, num_pairs=600, seed=3)
    return compare(planted.chosen_NK.T, planted.rejected_NK.T, rules=planted.rules)


def page_of(contents: ReportContents) -> str:
    root = ET.fromstring(render_page(contents))
    return " ".join(" ".join(root.itertext()).split())


def test_the_verdict_without_labels_is_on_top_of_the_page():
    comparison = Comparison.of(compared("signal"))
    assert comparison.consensus is not None
    text = page_of(ReportContents("run", comparison=comparison))
    assert "Without labels: signal drives entropy: rules with lower entropy go less far" in text
    assert text.index("Without labels: signal") < text.index("Over all 600 pairs")
    assert "What the rules have in common" in text


def test_the_figure_has_a_mark_a_rule_by_its_accuracy_and_a_cell_for_every_two():
    comparison = Comparison.of(compared("noise_and_wrong_sign"))
    assert comparison.consensus is not None
    rules = reported_rules(ReportContents("run", comparison=comparison))
    chart = picture(loadings_chart(comparison.consensus, rules, unit="nats"), width=WIDTH, height=HEIGHT)
    root = ET.fromstring(chart)
    marks = [mark.get("class") for mark in root.iter(f"{SVG}circle")]
    assert sorted(marks) == ["mark right"] * 10 + ["mark wrong"]
    cells = [cell for cell in root.iter(f"{SVG}rect") if cell.get("class") in ("positive", "negative")]
    assert len(cells) == 11 * 10  # agreement below the diagonal, residuals above it


@pytest.mark.parametrize("prompts", ["shared", "alone"])
def test_single_responses_say_what_can_be_told_of_them(prompts: str):
    planted = planted_ratings("noise", num_pairs=600, seed=3)
    both_KN = np.concatenate([planted.chosen_NK, planted.rejected_NK]).T
    keys = [f"p{row % 600 if prompts == 'shared' else row}" for row in range(1200)]
    statistics = measure(
        both_KN, np.full_like(both_KN, np.nan), rules=planted.rules, has_rejected_N=np.zeros(1200, dtype=bool),
        keys=keys, with_products=True,
    )  # fmt: skip
    text = page_of(ReportContents("run", weights=WeightsFile.of_weights(weigh(statistics))))
    if prompts == "shared":
        assert "Without labels: noise drives entropy" in text
        assert "600 pairs of responses" in text
    else:
        assert "Without labels nothing can be said of what drives entropy here" in text


def test_weights_by_the_entropies_of_ratings_stand_beside_those_of_the_scores():
    contents = make_contents(2)
    assert contents.weights is not None
    content = dict(contents.weights.content)
    names = [rule["name"] for rule in content["rules"]]
    by_scores = {"entropies": dict.fromkeys(names, 1.234), "weights": dict.fromkeys(names, 0.4321)}
    content["ratings"] = {"table": "ratings", "counts_sha256": "c0", "num_responses": 9, "by_scores": by_scores}
    text = page_of(ReportContents("run", weights=WeightsFile.of(content)))
    assert "entropy of the ratings, nats entropy of the scores weight by it" in text
    assert text.count("1.234") == text.count("43.2%") == 2
