"""The HTML report: one file that holds what the run says, nothing else, and can be read by anyone anywhere."""

import dataclasses
import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.image import imread

from encore_ray.artifacts import Comparison, WeightsFile
from encore_ray.composition.compare.decision import decide
from encore_ray.corpora.planted.corpus import planted_ratings
from encore_ray.report.charts.lines import picture, reliability_chart, robustness_chart
from encore_ray.report.data.contents import ReportContents, contenders, reported_rules
from encore_ray.report.data.data_tables import report_tables
from encore_ray.report.data.pairs import PairTexts, Turn
from encore_ray.report.drawing.markup import Markup, join, tag
from encore_ray.report.drawing.placement import Box, place_labels
from encore_ray.report.drawing.scales import AxisScale, fit_scale, ticks
from encore_ray.report.page import SCRIPT, STYLES, render_page
from encore_ray.storage import to_json
from encore_ray.visible import visible_lines
from tests.composition.compared import compare
from tests.patience import PATIENCE_S
from tests.report.browser import ask, browse, needs_chromium
from tests.report_contents import make_contents, stats

CSS = "".join(files("encore_ray.report").joinpath(name).read_text("utf-8") for name in STYLES)
SCRIPT_TEXT = files("encore_ray.report").joinpath(SCRIPT).read_text("utf-8")
OF_COMPARISON = {"schemes", "sweep", "histograms", "correlations"}
OF_METRICS = {"margins", "subsets", "rewardbench"}
ALL = (
    {"warnings", "entropy", "rules", "selection", "rows", "settings", "refinement", "pairs"}
    | OF_COMPARISON
    | OF_METRICS
)
NASTY = """</title><script>alert(1)</script>"'&amp; \x00 <!-- ]]> é ‮漢字 {{x}}"""


def parse(page: bytes) -> ET.Element:
    """The page as XML: it would not parse if any text had become markup."""
    return ET.fromstring(page)


def sections(page: bytes) -> set[str]:
    return {str(element.get("id")) for element in parse(page).iter("section")}


def words(element: ET.Element) -> str:
    whole = ET.fromstring(re.sub("<wbr ?/?>(</wbr>)?", "", ET.tostring(element, "unicode")))
    return " ".join(" ".join(whole.itertext()).split())


def decision(root: ET.Element) -> ET.Element:
    """The table of the first screen."""
    return next(found for found in root.iter("table") if "decision" in (found.get("class") or "").split())


def element(root: ET.Element, anchor: str) -> ET.Element:
    return next(found for found in root.iter() if found.get("id") == anchor)


@pytest.mark.parametrize(("num_rules", "num_subsets"), [(1, 0), (3, 1), (100, 60)])
def test_a_page_has_every_section_whatever_the_number_of_rules(num_rules: int, num_subsets: int):
    page = render_page(make_contents(num_rules, num_subsets=num_subsets))
    missing = ({"correlations"} if num_rules == 1 else set()) | ({"subsets"} if num_subsets == 0 else set())
    assert sections(page) == ALL - missing
    assert len(page) < 500_000


@pytest.mark.parametrize(
    ("part", "lost"),
    [
        ("weights", set()),  # comparison.json tells of the rules, too
        ("metrics", OF_METRICS),
        ("comparison", OF_COMPARISON),
        ("rules", set()),
        ("selection", {"selection"}),
        ("config", set()),
    ],
)
def test_a_missing_part_takes_only_its_own_sections_with_it(part: str, lost: set[str]):
    assert sections(render_page(dataclasses.replace(make_contents(), **{part: None}))) == ALL - lost


def test_a_selection_says_how_many_rules_and_which_response_they_prefer():
    told = words(element(parse(render_page(make_contents(3))), "selection"))
    # 600, 340 and 50 of 990
    assert "1 rule for each of 990 pairs, selected by scores: by their sum 60.6% prefer the chosen response, " in told
    assert "34.3% prefer the rejected response, 5.1% are ties." in told
    assert "rule_2 33.3%" in told
    assert "8 one response only" in told


def test_a_run_of_which_nothing_is_known_still_has_a_page():
    page = render_page(ReportContents("runs/new"))
    assert sections(page) == set()
    assert "runs/new" in words(parse(page))


def test_single_responses_have_weights_and_no_accuracy():
    contents = make_contents()
    assert contents.weights
    unknown = dict.fromkeys(("accuracy", "wins", "ties", "losses", "active_pair_share", "contribution_share"))
    rules = [rule | unknown for rule in contents.weights.content["rules"]]
    correlation = dict.fromkeys(("pearson", "pearson_p", "spearman", "spearman_p")) | {"num_rules": 0}
    weights = {**contents.weights.content, "num_pairs": 0, "rules": rules, "entropy_accuracy": correlation}
    page = render_page(ReportContents("run", weights=WeightsFile.of(weights), config=contents.config))
    assert sections(page) == {"warnings", "rules", "settings"}
    assert "None" not in words(parse(page))


def test_a_comparison_as_it_is_really_made_has_every_section():
    planted = planted_ratings("noise_and_degenerate", num_pairs=1500, seed=3)
    subsets = [("a", "b", None)[row % 3] for row in range(1500)]
    found = compare(planted.chosen_NK.T, planted.rejected_NK.T, rules=planted.rules, subsets=subsets)
    contents = ReportContents("run", comparison=Comparison.of(json.loads(to_json(found))), rules=planted.rules)
    page = render_page(contents)
    assert sections(page) == {"warnings", "entropy", "consensus", "rules"} | OF_COMPARISON | {"settings"}
    assert [words(row)[:6] for row in element(parse(page), "schemes").iter("tr")].count("ENCORE") == 2  # x discrepancy
    tables = report_tables(contents)
    assert tables["rules"].num_rows == 13
    # Every scheme but the two that only a pair decides and the mean of random draws has weights, of 13 rules each.
    with_weights = {scheme["name"] for scheme in found["schemes"] if scheme["weights"]}
    assert tables["scheme_weights"].num_rows == 13 * len(with_weights)
    assert {"encore", "uniform", "bradley_terry"} <= with_weights


def test_equal_contents_give_equal_bytes_in_any_process():
    script = (
        "import sys; from tests.report_contents import make_contents; from encore_ray.report.page import render_page;"
        "sys.stdout.buffer.write(render_page(make_contents(20, num_subsets=5)))"
    )
    other = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONHASHSEED": "1"},  # sets of strings have another order in each process
        cwd=Path(__file__).parents[2],
        capture_output=True,
        check=True,
        timeout=PATIENCE_S,
    )
    assert other.stdout == render_page(make_contents(20, num_subsets=5))


def test_text_of_the_run_never_becomes_markup_or_an_address():
    root = parse(render_page(make_contents(3, prefix="<b>rule</b>", text=NASTY)))
    names = {found.tag for found in root.iter()}
    assert not names & {"b>rule", "a>", "iframe", "img", "link", "object"}
    assert [found.text for found in root.iter("script")] == [f"//\n{SCRIPT_TEXT}//\n"]
    assert {found.get("href") for found in root.iter() if found.get("href")} == {f"#{anchor}" for anchor in ALL}
    assert not [found for found in root.iter() if found.get("src") or any(key.startswith("on") for key in found.attrib)]
    shown = visible_lines(NASTY)
    assert words(next(root.iter("title"))).startswith(" ".join(shown.split()))
    assert "<b>rule</b>_1" in words(element(root, "rules"))
    assert " ".join(shown.split()) in words(element(root, "warnings"))


def test_an_html_parser_sees_the_same_elements_as_an_xml_parser():
    class Names(HTMLParser):
        found: list[str]

        def handle_starttag(self, name: str, attrs: list[tuple[str, str | None]]) -> None:
            self.found.append(name)

    parser = Names()
    parser.found = []
    page = render_page(make_contents(5, text=NASTY))
    parser.feed(page.decode())
    assert parser.found == [found.tag.lower() for found in parse(page).iter()]


def test_the_page_asks_for_nothing_and_keeps_credentials_out():
    page = render_page(make_contents()).decode()
    assert re.findall(r"https?[:-]\S*", page) == ['http-equiv="Content-Security-Policy"']
    assert "url(" not in CSS
    assert "@import" not in CSS
    assert "password" not in page  # where a run was recorded decides no result


@given(st.text(), st.text())
def test_any_text_comes_back_as_it_was_from_content_and_attribute(text: str, title: str):
    found = ET.fromstring(tag("p", text, title=title))
    legal = re.compile("[\ufdd0-\ufdef\ufffe\uffff]")
    # Controls are made visible; a parser reads the white space of an attribute as spaces.
    assert (found.text or "") == legal.sub("\ufffd", visible_lines(text))
    assert found.get("title") == legal.sub("\ufffd", visible_lines(title)).replace("\n", " ")


def test_children_are_escaped_unless_they_are_markup():
    assert join("<", Markup("<br/>"), None, ["&", (tag("i", "x"),)]) == "&lt;<br/>&amp;<i>x</i>"
    assert tag("line", x1=1.239, stroke_width=2.0, class_=None, hidden=True) == (
        '<line x1="1.24" stroke-width="2" hidden="hidden"/>'
    )
    assert tag("td") == "<td></td>"
    assert tag("p", "\x00\ud800\uffff") == "<p>\\x00\\ud800\ufffd</p>"


@pytest.mark.parametrize("uses_labels", [False, True])
def test_the_accuracy_of_a_learned_reward_is_marked_as_seen(uses_labels: bool):
    contents = make_contents()
    assert contents.weights
    weights = WeightsFile.of({**contents.weights.content, "scheme": "bradley_terry", "uses_labels": uses_labels})
    page = parse(render_page(dataclasses.replace(contents, weights=weights, comparison=None)))
    seen = "learned from most of these pairs " if uses_labels else ""
    assert f"Bradley–Terry this run's {seen}69.5%" in words(decision(page))


def test_the_headline_is_the_decision_where_a_comparison_tells_it():
    contents = make_contents()
    assert contents.comparison
    content = {**contents.comparison.content, "rules": contents.comparison.content["rules"]}
    for line in content["schemes"]:
        line.setdefault("difference_to_uniform_all", line["difference_to_uniform"])
    decided = Comparison.of({**content, "decision": decide(content)})
    assert decided.decision
    page = render_page(dataclasses.replace(contents, comparison=decided))
    assert words(next(parse(page).iter("h1"))) == decided.decision.title


def test_the_headline_of_an_older_comparison_says_what_the_interval_allows():
    contents = make_contents()
    assert contents.comparison
    content = contents.comparison.content

    def headline(low: float, value: float, high: float) -> str:
        encore, *others = content["schemes"]
        changed = encore | {"difference_to_uniform_all": {"value": value, "low": low, "high": high}}
        comparison = Comparison.of({**content, "schemes": [changed, *others]})
        return words(next(parse(render_page(dataclasses.replace(contents, comparison=comparison))).iter("h1")))

    assert headline(0.012, 0.02, 0.028) == "ENCORE beats uniform weights by 2.0 points"
    assert headline(-0.028, -0.02, -0.012) == "ENCORE loses 2.0 points to uniform weights"
    assert headline(-0.01, 0.02, 0.05) == "ENCORE makes no clear difference to uniform weights"


def test_a_run_that_was_not_compared_leads_with_its_own_accuracy():
    page = render_page(dataclasses.replace(make_contents(), comparison=None))
    # (690 + 10 / 2) / 1000
    assert words(next(parse(page).iter("h1"))) == "The composed reward agrees with 69.5% of the labels"


def test_schemes_are_ordered_by_accuracy_and_marked_by_what_they_know():
    contents = make_contents(schemes=("uniform", "bradley_terry"))
    rows = list(element(parse(render_page(contents)), "schemes").iter("tr"))[1:]
    # held out: Bradley-Terry 151 of 200, ENCORE 143, uniform 139, the shorter response 123
    assert [words(row)[:30].split(" temperature")[0] for row in rows] == [
        "Bradley–Terry bradley_terry 75",
        "ENCORE",
        "Uniform 69.5% 62.8 to 75.5% 69",
        "The shorter response wins 61.5",
    ]
    assert [row.get("class") for row in rows] == ["learned", "encore", "uniform", "baseline"]


def test_without_a_held_out_pair_schemes_are_evaluated_on_all_and_those_that_learn_are_left_out():
    contents = make_contents(schemes=("uniform", "bradley_terry"))
    assert contents.comparison
    comparison = dict(contents.comparison.content)
    nobody = {"heldout": stats(0, 0, 0)}
    comparison["schemes"] = [scheme | nobody for scheme in comparison["schemes"]]
    comparison["baselines"] = [baseline | nobody for baseline in comparison["baselines"]]
    comparison["heldout"] = {"num_pairs": 0, "num_keys": 0}
    page = parse(render_page(dataclasses.replace(contents, comparison=Comparison.of(comparison))))
    found = element(page, "schemes")
    assert [row.get("class") for row in list(found.iter("tr"))[1:]] == ["encore", "uniform", "baseline"]
    assert "held-out" not in words(next(found.iter("h2")))
    assert "none of which is held out" in words(found)


def test_a_dot_stands_at_its_value_on_the_axis_of_its_column():
    contents = make_contents(schemes=("uniform",))
    assert contents.comparison
    found = contenders(contents.comparison)
    ends = [end for each in found for end in (each.stats.accuracy_low, each.stats.accuracy_high) if end is not None]
    low, high = min(ends), max(ends)
    margin = 0.06 * (high - low)
    expected = [100 * (each.accuracy - low + margin) / (high - low + 2 * margin) for each in found]
    marks = [mark for mark in element(parse(render_page(contents)), "schemes").iter() if mark.get("class") == "mark"]
    places = [float((mark.get("cx") or mark.get("x") or "").rstrip("%")) for mark in marks]
    assert places == pytest.approx(expected, abs=0.006)


def test_every_flag_of_a_rule_is_explained():
    shown = words(element(parse(render_page(make_contents())), "rules"))
    assert "mode share nearly all responses get the same score" in shown
    assert "rarely active it tells the two responses apart in under 5%" in shown


def test_redundant_rules_are_named_and_without_any_the_closest_are():
    contents = make_contents(4)
    assert contents.comparison
    shown = words(element(parse(render_page(contents)), "correlations"))
    assert "1 pair of rules is nearly the same: rule_1 and rule_2 (+0.97)." in shown
    content = contents.comparison.content
    none = Comparison.of({**content, "correlations": {**content["correlations"], "redundant": []}})
    shown = words(element(parse(render_page(dataclasses.replace(contents, comparison=none))), "correlations"))
    assert "No two rules are redundant; the closest are rule_1 and rule_2 with r = +0.97." in shown


def test_the_sweep_says_how_far_temperature_and_bins_move_the_accuracy():
    shown = words(element(parse(render_page(make_contents())), "sweep"))
    # 5 temperatures .01 apart, 4 numbers of bins .002 apart
    assert "The temperature moves the accuracy by up to 4.0 points, the bins by up to 0.6." in shown
    assert "Best of 20 on these pairs is τ = 0.25 with levels (72.0%): chosen on the pairs it is judged by" in shown


def test_no_row_is_left_out_of_the_account():
    shown = words(element(parse(render_page(make_contents())), "rows"))
    assert "12 of 1,010 rows (1.19%) are in quarantine" in shown
    assert "prepare 1,010 rows = 1,000 kept + 10 in quarantine" in shown
    assert "score 1,000 pairs = 998 scored + 2 in quarantine" in shown
    assert "bad_roles 10 non_finite_score 2" in shown
    assert "21 longer than the model takes" in shown


def test_every_setting_and_fingerprint_that_decided_the_result_is_shown():
    contents = make_contents()
    assert contents.rules is not None
    shown = words(element(parse(render_page(contents)), "settings"))
    for setting in (
        "scheme encore",
        "temperature τ 2",
        "bins 11 levels, 0 to 10",
        "logarithm natural (nats)",
        "estimator plugin",
        "min active not set",
        "clip no",
        "sample size weights known to ± 2.00%; ± 1% needs about 4,000 pairs",
        f"model {'d1' * 32}",
        f"weights {'f1' * 32}",
        f"rules {contents.rules.fingerprint}",
        "numpy 2.1.0",
        "inputs[0].path some/run.jsonl",
        "weigh.clip no",
    ):
        assert setting in shown


def test_figures_have_titles_and_tables_have_scopes():
    root = parse(render_page(make_contents(20, num_subsets=3)))
    for figure in root.iter("svg"):
        assert figure.get("aria-hidden") == "true" or (figure.get("role") == "img" and figure.find("title") is not None)
    assert all(cell.get("scope") in ("row", "col") for cell in root.iter("th"))
    assert [heading.tag for heading in root.iter() if heading.tag in ("h1", "h2")].count("h1") == 1
    ids = [found.get("id") for found in root.iter() if found.get("id")]
    assert len(ids) == len(set(ids))
    scrolling = [found for found in root.iter("div") if (found.get("class") or "").startswith("scroll")]
    assert scrolling
    assert all(box.get("tabindex") == "0" and box.get("aria-label") for box in scrolling)


def _themes() -> Iterator[dict[str, str]]:
    blocks = re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)
    for block in blocks:
        yield dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6})", block))


def _luminance(color: str) -> float:
    digits = color[1:] if len(color) == 7 else "".join(2 * digit for digit in color[1:])
    channels = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", range(3), ids=["light", "dark", "print"])
def test_text_and_marks_have_contrast_in_every_theme(theme: int):
    colors = list(_themes())[theme]
    used = set(re.findall(r"var\(--([\w-]+)\)", CSS)) - {"radius", "shade"}
    assert used <= colors.keys()

    def contrast(front: str, back: str) -> float:
        low, high = sorted((_luminance(colors[front]), _luminance(colors[back])))
        return (high + 0.05) / (low + 0.05)

    for back in ("paper", "card"):
        assert all(contrast(front, back) >= 4.5 for front in ("ink", "muted", "good", "bad", "blue"))
        assert all(contrast(front, back) >= 3 for front in ("orange", "green", "grey", "violet"))
    assert contrast("bad", "bad-soft") >= 4.5
    assert contrast("good", "good-soft") >= 4.5


@given(st.floats(-1e3, 1e3), st.floats(1e-3, 1e3))
def test_ticks_are_round_and_within_their_scale(low: float, width: float):
    scale = AxisScale(low, low + width)
    found = ticks(scale)
    assert 2 <= len(found) <= 9
    assert all(scale.lo - 1e-6 * width <= tick <= scale.hi + 1e-6 * width for tick in found)


def test_a_scale_shows_every_value_and_equal_values_too():
    assert fit_scale([0.5, 0.7, None], margin=0.1) == AxisScale(pytest.approx(0.48), pytest.approx(0.72))  # type: ignore[arg-type]
    assert fit_scale([0.5, 0.5], least=0.02, margin=0) == AxisScale(pytest.approx(0.49), pytest.approx(0.51))  # type: ignore[arg-type]
    assert fit_scale([]) == AxisScale(0.0, 1.0)


POINTS = st.lists(st.tuples(st.floats(0, 300), st.floats(0, 200)), min_size=1, max_size=12)


@given(POINTS)
def test_a_label_that_says_it_is_free_covers_no_other_label_and_no_point(points: list[tuple[float, float]]):
    inside = Box(0, 0, 300, 200)
    labels = place_labels(points, sizes=[(60.0, 12.0)] * len(points), radii=[3.0] * len(points), inside=inside)
    free = [label.box for label in labels if label.covered == 0]
    for index, box in enumerate(free):
        assert box.overlap(inside) == pytest.approx(box.area)
        assert all(box.overlap(other) == 0 for other in free[:index])
        assert not any(box.x0 < x < box.x1 and box.y0 < y < box.y1 for x, y in points)


def test_tables_hold_what_the_page_shows():
    contents = make_contents(4, num_subsets=2, schemes=("uniform", "bradley_terry"))
    tables = report_tables(contents)
    rules = tables["rules"].to_pylist()
    assert [rule["name"] for rule in rules] == [rule.name for rule in reported_rules(contents)]
    assert rules[3]["flags"] == ["mode_share", "rarely_active"]
    assert rules[0]["text"] == "The response is some/run."
    schemes = tables["schemes"].to_pylist()
    assert [(row["name"], row["pairs"], row["is_baseline"]) for row in schemes] == [
        ("encore", "all", False),
        ("encore", "heldout", False),
        ("uniform", "all", False),
        ("uniform", "heldout", False),
        ("bradley_terry", "heldout", False),
        ("shorter_wins", "all", True),
        ("shorter_wins", "heldout", True),
    ]
    assert schemes[1]["accuracy"] == (142 + 2 / 2) / 200
    assert schemes[1]["difference_to_uniform"] == 0.02
    assert tables["correlations"].num_rows == 4 * 3 / 2
    assert tables["correlations"].to_pylist()[0] == {"a": "rule_1", "b": "rule_2", "r": 0.97}
    assert tables["sweep"].num_rows == 20
    assert tables["histograms"].num_rows == 4 * 11
    assert contents.metrics and contents.metrics.margin and contents.metrics.margin.histogram
    assert tables["margins"].column("num_pairs").to_pylist() == contents.metrics.margin.histogram.counts
    assert tables["subsets"].num_rows == 2
    refinement = tables["refinement"].to_pylist()
    assert [(row["rule"], row["noise"], row["name"]) for row in refinement[8:10]] == [
        (None, 0.35, "refined"),
        ("rule_1", 0.0, "base"),
    ]
    assert (refinement[8]["accuracy"], refinement[8]["difference_to_base"]) == (0.685, -0.015)
    assert tables["reliability"].column("is_used").to_pylist() == [True] * 10 + [False] * 10
    assert {row["count"]: row["rows"] for row in tables["rows"].to_pylist()}["truncated"] == 21
    assert {"pass": "select", "count": "ties", "rows": 50} in tables["rows"].to_pylist()


def test_tables_without_rows_are_left_out():
    assert report_tables(ReportContents("run")) == {}
    assert "sweep" not in report_tables(dataclasses.replace(make_contents(), comparison=None))


MEASURE = """
const shown = [...found.querySelectorAll(".scatter")].find(chart => chart.getBoundingClientRect().width > 0);
const boxes = [...shown.querySelectorAll(".name")].map(name => name.getBoundingClientRect());
let overlaps = 0;
boxes.forEach((a, i) => boxes.slice(0, i).forEach(b => {
  const x = Math.min(a.right, b.right) - Math.max(a.left, b.left);
  const y = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
  if (x > 1 && y > 4) overlaps += 1;
}));
return [found.documentElement.scrollWidth, boxes.length, overlaps];
"""


@needs_chromium
@pytest.mark.parametrize("width", [390, 1280])
def test_in_a_browser_the_page_never_scrolls_sideways_and_names_do_not_overlap(width: int, tmp_path: Path):
    page = render_page(make_contents(40, num_subsets=60, prefix="a_rule_of_a_very_long_name_that_never_ends"))
    scroll_width, num_names, overlaps = ask(page, MEASURE, width=width, folder=tmp_path)
    assert scroll_width <= width
    assert num_names >= 3
    assert overlaps == 0


def series(chart: ET.Element, kind: str) -> ET.Element:
    return next(found for found in chart.iter("g") if found.get("class") == f"series {kind}")


def marks(chart: ET.Element, kind: str) -> list[tuple[float, float]]:
    """Where the marks of a reward or source are."""
    places = []
    for mark in (found for found in series(chart, kind) if found.get("class") == "mark"):
        corners = mark.get("points") or f"{mark.get('cx')},{mark.get('cy')}"
        xs, ys = zip(*(map(float, corner.split(",")) for corner in corners.split()), strict=True)
        places.append(((min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2))
    return places


def test_the_robustness_chart_has_each_reward_at_its_accuracy_under_each_noise():
    refined = make_contents().refined
    assert refined
    chart = parse(robustness_chart(refined.controls).encode())
    base, refit, better = (marks(chart, kind) for kind in ("base", "refit", "refined"))
    assert len({y for _, y in base}) == 1  # 70.0% at each level of noise
    # 73.0, 69.0 and 60.0%; 72.0, 71.5 and 68.5%: in pixels a point
    step = (refit[2][1] - refit[0][1]) / 13
    assert [y - base[0][1] for _, y in refit] == pytest.approx([-3 * step, step, 10 * step], abs=0.1)
    assert [y - base[0][1] for _, y in better] == pytest.approx([-2 * step, -1.5 * step, 1.5 * step], abs=0.1)
    xs = [x for x, _ in refit]
    assert (xs[1] - xs[0]) / (xs[2] - xs[0]) == pytest.approx(0.2 / 0.35, abs=0.01)


def test_the_reliability_chart_leaves_empty_cells_out_and_shows_intervals_of_what_is_used():
    refined = make_contents().refined
    assert refined
    chart = parse(reliability_chart(refined.calibration).encode())
    whiskers = [sum(part.get("class") == "whisker" for part in series(chart, kind)) for kind in ("refined", "base")]
    assert whiskers == [9, 0]
    used, other = marks(chart, "refined"), marks(chart, "base")
    assert len(used) == len(other) == 9  # of ten cells the last is empty
    # Of density 2.5% apart from the diagonal by turns .03, of the margin .06: twice as far.
    (diagonal,) = (line for line in chart.iter("line") if line.get("class") == "chance")
    x0, y0, x1, y1 = (float(diagonal.get(name) or 0) for name in ("x1", "y1", "x2", "y2"))

    def off(place: tuple[float, float]) -> float:
        return place[1] - (y0 + (place[0] - x0) * (y1 - y0) / (x1 - x0))

    assert [off(b) for b in other] == pytest.approx([2 * off(a) for a in used], abs=0.1)


@needs_chromium
def test_a_picture_is_a_file_of_its_own_that_is_dark_for_who_likes_it_dark(tmp_path: Path):
    refined = make_contents().refined
    assert refined
    (tmp_path / "chart.svg").write_bytes(picture(robustness_chart(refined.controls)))
    shot = tmp_path / "shot.png"
    look = ["--blink-settings=preferredColorScheme=0", f"--screenshot={shot}", "--window-size=400,340"]
    browse(tmp_path, *look, (tmp_path / "chart.svg").as_uri())
    pixel_YXC = np.round(255 * imread(shot)[:, :, :3]).astype(int)
    assert pixel_YXC[338, 200].tolist() == [0x1B, 0x1E, 0x24]  # the card
    found = set(map(tuple, pixel_YXC.reshape(-1, 3).tolist()))
    assert {(0x7F, 0xB0, 0xFF), (0x54, 0xCF, 0xA6), (0x99, 0xA1, 0xAC)} <= found  # refined, refit, base


def test_a_refinement_without_one_of_its_parts_still_has_a_section():
    contents = make_contents()
    for part in ("refined", "refined_rules"):
        page = parse(render_page(dataclasses.replace(contents, **{part: None})))
        assert "refinement" in {found.get("id") for found in page.iter("section")}
    shown = words(element(parse(render_page(contents)), "refinement"))
    assert "On 200 held-out pairs refined rewards agree with 72.0%" in shown
    assert "chosen on the pairs that calibrate: energy density." in shown
    assert "refined 35% 68.5%" in shown
    assert "rule_1 60.0% 62.0% 65.0% +5.0" in shown


def test_pairs_are_named_where_no_texts_are_known_and_shown_with_their_texts_where_they_are():
    contents = make_contents()
    shown = words(element(parse(render_page(contents)), "pairs"))
    assert "No texts stand beside these rewards: the pairs are named." in shown
    assert "Against the label (largest losses), 2 pairs margin −1 rule losses 1 margin −0.5 rule losses 2" in shown
    assert "Improbable labels (likely label errors), 10 pairs 0.10% probable some/run 1" in shown
    texts = PairTexts(
        [Turn.of("user", "Is it safe?")],
        [Turn.of("assistant", "Yes. " * 400)],
        [Turn.of("assistant", "No.")],
        left_out=3,
        parts={"rule_1": -0.75, "rule_2": 0.25},
    )
    found = element(parse(render_page(dataclasses.replace(contents, examples={"rule losses 1": texts}))), "pairs")
    told = words(found)
    assert "3 earlier turns left out user Is it safe?" in told
    assert "… 2,000 characters in all" in told
    assert "for the rejected one: rule_1 −0.75 for the chosen one: rule_2 +0.25" in told
    assert [chip.get("data-rule") for chip in found.iter("span") if chip.get("data-rule")] == ["rule_1", "rule_2"]
