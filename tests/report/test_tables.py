"""The first sight of a run: tables that fit a terminal and a figure whose labels can be read."""

import io
import xml.etree.ElementTree as ET
from typing import Any

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imread
from rich.console import Console
from rich.table import Table

from encore_ray.artifacts import Metrics, WeightsFile
from encore_ray.artifacts.figures import Correlations
from encore_ray.composition.inference.agreement import Tally
from encore_ray.composition.weigh import flags
from encore_ray.report.drawing.labels import label_points
from encore_ray.report.figure import MAX_BARS, evaluation_figure
from encore_ray.report.tables.weights import (
    FLAG_MEANINGS,
    entropy_against_accuracy,
    flag_legend,
    metrics_table,
    weights_table,
)

NO_PAIRS = Tally(0, 0, 0).to_dict(num_keys=0)


def _rule(number: int, num_rules: int, *, pairs: bool = True, flagged: list[str] | None = None) -> dict[str, Any]:
    entropy = 0.4 + 1.8 * number / num_rules
    wins = 800 - 300 * number // num_rules
    return {
        "name": f"rule_number_{number}_of_many",
        "higher_is": "worse" if number % 3 == 0 else "better",
        "binning": {"kind": "bins", "lo": 0.0, "hi": 1.0, "num_bins": 20},
        "entropy": entropy,
        "entropy_low": entropy - 0.02,
        "entropy_high": entropy + 0.03,
        "weight": (num_rules - number) / (num_rules * (num_rules + 1) / 2),
        "mode_share": 0.3,
        "active_pair_share": 0.6 if pairs else None,
        "contribution_share": 1 / num_rules if pairs else None,
        "wins": wins if pairs else None,
        "ties": 10 if pairs else None,
        "losses": 990 - wins if pairs else None,
        "accuracy": (wins + 5) / 1000 if pairs else None,
        "flags": flagged or [],
    }


def _correlation(r: float | None, p: float, *, num_rules: int) -> dict[str, Any]:
    p_or_none = None if r is None else p
    return {"pearson": r, "pearson_p": p_or_none, "spearman": r, "spearman_p": p_or_none, "num_rules": num_rules}


def _weights(num_rules: int, *, pairs: bool = True) -> WeightsFile:
    return WeightsFile.of(_weights_content(num_rules, pairs=pairs))


def _weights_content(num_rules: int, *, pairs: bool = True) -> dict[str, Any]:
    rules = [_rule(number, num_rules, pairs=pairs) for number in range(num_rules)]
    rules[0]["flags"] = ["mode_share", "low_entropy"]
    return {
        "schema_version": 1,
        "scheme": "encore",
        "params": {},
        "temperature": 2.0,
        "log_base": "e",
        "num_pairs": 1000 if pairs else 0,
        "num_responses": 2000,
        "counts_sha256": "c0" * 32,
        "effective_num_rules": num_rules * 0.7,
        "rules": rules,
        "entropy_accuracy": _correlation(-0.93 if pairs else None, 0.0004, num_rules=num_rules),
        "warnings": ["10.0% of the weight is on 1 rule."],
        "fingerprint": "f1" * 32,
    }


def _metrics(num_subsets: int, *, pairs: bool = True) -> Metrics:
    return Metrics.of(_metrics_content(num_subsets, pairs=pairs))


def _metrics_content(num_subsets: int, *, pairs: bool = True) -> dict[str, Any]:
    some = Tally(700, 10, 290).to_dict(num_keys=900)
    subsets = {f"subset-{n}": Tally(70 - n, 0, 30 + n).to_dict(num_keys=100) for n in range(num_subsets)}
    baseline = Tally(520, 0, 480).to_dict(num_keys=1000)
    return {
        "schema_version": 1,
        "overall": some if pairs else NO_PAIRS,
        "subsets": subsets,
        "rewardbench_safety": 0.82 if num_subsets else None,
        "rewardbench": {"chat": None, "chat_hard": 0.6, "safety": 0.82, "overall": None} if num_subsets else None,
        "rewardbench_2": {"precise_if": 0.4125, "ties": None} if num_subsets else None,
        "length_baselines": {"shorter_wins": baseline if pairs else None, "longer_wins": None},
        "entropy_accuracy": None,
        "margin": None,
    }


def _printed(table: Table, *, width: int = 100) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(("num_rules", "num_subsets", "pairs"), [(20, 20, True), (1, 0, True), (3, 0, False)])
def test_a_figure_is_drawn_whatever_is_known(num_rules: int, num_subsets: int, pairs: bool):
    png = evaluation_figure(_metrics(num_subsets, pairs=pairs), _weights(num_rules, pairs=pairs))
    height, width, _ = imread(io.BytesIO(png)).shape
    assert width == 2160  # 13.5 inches at 160 dots
    assert height >= 864  # 5.4 inches


def test_fitted_weights_of_either_sign_are_drawn_and_written_as_numbers():
    content = _weights_content(4)
    for rule, weight in zip(content["rules"], (0.5, -3.25, 1.5, -0.125), strict=True):
        rule["weight"] = weight
    weights = WeightsFile.of(content)
    evaluation_figure(_metrics(2), weights)
    shown = _printed(weights_table(weights))
    assert [line.split()[0] for line in shown.splitlines() if "rule_number" in line] == [
        f"rule_number_{number}_of_many" for number in (1, 2, 0, 3)
    ]
    assert "\u22123.250" in shown
    for rule in content["rules"]:
        rule["weight"] = -0.5  # no rule agrees with the labels
    evaluation_figure(_metrics(0), WeightsFile.of(content))


def test_equal_results_give_equal_files():
    for kind in ("png", "svg"):
        first, second = (evaluation_figure(_metrics(3), _weights(5), kind=kind) for _ in range(2))
        assert first == second


def test_the_svg_names_the_largest_subsets_and_says_how_many_are_left_out():
    svg = evaluation_figure(_metrics(MAX_BARS + 2), _weights(6), kind="svg")
    root = ET.fromstring(svg)
    text = svg.decode()  # matplotlib draws text as shapes and writes it in a comment beside them
    assert root.tag.endswith("svg")
    assert all(f"<!-- subset-{number} -->" in text for number in range(MAX_BARS))
    assert "2 smaller subsets are not shown" in text


def test_labels_of_crowded_points_cover_neither_each_other_nor_the_points():
    figure = Figure(figsize=(7, 5), dpi=100)
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots()
    points = [(0.5 + 0.004 * n, 0.5 + 0.003 * (n % 3)) for n in range(8)]
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    label_points(axes, canvas, points=points, names=[f"rule_{n}" for n in range(8)], radii_pt=[3.0] * 8, color="k")
    renderer = canvas.get_renderer()
    boxes = [text.get_window_extent(renderer) for text in axes.texts]
    assert len(boxes) == 8
    for index, box in enumerate(boxes):
        assert all(not box.overlaps(other) for other in boxes[:index])
        assert all(not box.contains(*axes.transData.transform(point)) for point in points)


def test_the_weights_of_twenty_rules_fit_a_hundred_columns_heaviest_first():
    printed = _printed(weights_table(_weights(20)))
    rows = [line for line in printed.splitlines() if "rule_number_" in line]
    assert max(map(len, printed.splitlines())) <= 100
    assert [row.split()[0] for row in rows] == [f"rule_number_{number}_of_many" for number in range(20)]
    assert "0.400 ± 0.025" in rows[0]  # (0.03 + 0.02) / 2
    assert "9.5%" in rows[0]  # 20 / 210
    assert "5.0%" in rows[0]  # a share of 1 / 20
    assert rows[0].rstrip().endswith("ab")  # the marks of mode_share and low_entropy, explained below the table
    assert "worse" in rows[0]
    assert "better" in rows[1]


def test_the_weights_of_rules_with_names_of_18_characters_and_five_flags_fit_80_columns():
    content = _weights_content(3)
    for number, rule in enumerate(content["rules"]):
        rule["name"] = f"a_name_of_18_chars{number}"[-18:]
    content["rules"][0]["flags"] = list(FLAG_MEANINGS)[:5]
    printed = _printed(weights_table(WeightsFile.of(content)), width=80)
    assert max(map(len, printed.splitlines())) <= 80
    for rule in content["rules"]:
        (row,) = [line for line in printed.splitlines() if rule["name"] in line]
        assert "±" in row
    assert "abcde" in printed


def test_vetoes_points_and_the_weights_by_scores_take_no_column_of_80():
    content = _weights_content(3)
    for number, rule in enumerate(content["rules"]):
        rule["name"] = f"a_name_of_18_chars{number}"[-18:]
    content["rules"][0] |= {"flags": list(FLAG_MEANINGS)[:5], "veto": {"above": 0.25}, "points": 3.0}
    plainly = _printed(weights_table(WeightsFile.of(content)), width=80)
    by_scores = {rule["name"]: 0.125 for rule in content["rules"]}
    content["ratings"] = {
        "table": "ratings.parquet",
        "num_responses": 2000,
        "by_scores": {"entropies": by_scores, "weights": by_scores},
    }
    for printed, num_rated in ((plainly, 0), (_printed(weights_table(WeightsFile.of(content)), width=80), 3)):
        assert max(map(len, printed.splitlines())) <= 80
        assert all(rule["name"] in printed for rule in content["rules"])
        assert "veto above 0.25" in printed and "points 3" in printed
        assert "abcde" in printed and "share" in printed and "flags" in printed
        assert printed.count("by scores 0.125") == printed.count("12.5%") == num_rated


def test_the_interval_of_a_rule_counts_distinct_prompts_where_they_are_known():
    content = _weights_content(1)
    # Half the Wilson interval of 80.5% over 1,000 pairs is 2.5%; over 100 prompts it is 7.7%.
    assert "80.5% ± 2.5%" in _printed(weights_table(WeightsFile.of(content)))
    assert "80.5% ± 7.7%" in _printed(weights_table(WeightsFile.of({**content, "num_keys": 100})))


def test_a_rule_without_pairs_says_so_instead_of_a_number():
    printed = _printed(weights_table(_weights(2, pairs=False)))
    assert printed.count("no pairs") == 2
    assert "None" not in printed
    assert "2,000 single responses" in " ".join(printed.split())


def test_a_name_that_looks_like_markup_is_printed_as_it_is():
    content = _metrics_content(0)
    content["subsets"] = {"[bold]x[/bold]": content["overall"]}
    assert "[bold]x[/bold]" in _printed(metrics_table(Metrics.of(content)))


def test_the_metrics_of_all_pairs_subsets_and_baselines_fit_a_hundred_columns():
    printed = _printed(metrics_table(_metrics(20)))
    assert max(map(len, printed.splitlines())) <= 100
    assert all(f"subset-{number} " in printed for number in range(20))
    overall = next(line for line in printed.splitlines() if "all pairs" in line)
    assert "70.5%" in overall  # (700 + 10 / 2) / 1000
    assert "70.0%" in overall  # strict: 700 / 1000
    assert "if shorter won" in printed
    assert "if longer won" not in printed
    assert "RewardBench (a tie is a loss there): chat hard 60.0%, safety 82.0%" in printed
    assert "RewardBench 2 (the best of several responses): precise if 41.2%" in printed


def test_metrics_without_pairs_are_a_table_without_figures():
    assert "no pairs" in _printed(metrics_table(_metrics(0, pairs=False)))


def test_every_flag_in_the_table_is_explained_once():
    content = _weights_content(3)
    content["rules"][1]["flags"] = ["mode_share", "from_the_future"]
    assert flag_legend(WeightsFile.of(content)) == [
        f"a mode_share: {FLAG_MEANINGS['mode_share']}.",
        f"b low_entropy: {FLAG_MEANINGS['low_entropy']}.",
        "c from_the_future: a flag of another version.",
    ]


@pytest.mark.parametrize(
    ("r", "p", "said"),
    [
        (
            -0.93,
            0.0004,
            "over 8 rules: Pearson r = -0.93 (p < 0.001), Spearman r = -0.93 (p < 0.001): rules with lower",
        ),
        (-0.93, 0.0004, "agree more with the labels, which is what ENCORE builds on."),
        (
            0.9,
            0.002,
            "r = +0.90 (p = 0.002): rules with lower entropy agree less with the labels, the opposite of what ENCORE",
        ),
        (-0.6, 0.051, "no clear relation."),
        (0.6, 0.051, "no clear relation."),
        (None, 1.0, "no clear relation, for want of three rules"),
    ],
)
def test_entropy_against_accuracy_says_whether_encore_may_help(r: float | None, p: float, said: str):
    assert said in entropy_against_accuracy(Correlations.model_validate(_correlation(r, p, num_rules=8)))


def test_every_flag_of_the_weights_has_a_meaning():
    known = {value for name, value in vars(flags).items() if name.isupper() and isinstance(value, str)}
    assert known == set(FLAG_MEANINGS)
