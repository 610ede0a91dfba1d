"""With scripts the page answers: it sorts, filters, picks a rule everywhere, weighs at any temperature; and runs no
other script."""

import dataclasses
import re
from pathlib import Path

from encore_ray.artifacts import Comparison
from encore_ray.composition.weigh.formulas import encore
from encore_ray.report.page import render_page
from tests.report.browser import ask, needs_chromium
from tests.report_contents import make_contents

USE = """
const all = (selector, root = found) => [...root.querySelectorAll(selector)];
const names = (table) => [...table.tBodies[0].rows].map(row => row.cells[0].textContent);
const rules = found.querySelector("#rules table");
const head = all("#rules th button").find(button => button.textContent === "agrees (accuracy)");
head.click();
const descending = names(rules)[0];
head.click();
const ascending = names(rules)[0];
head.click();
const again = names(rules)[0];

const field = found.querySelector("#rules input");
field.value = "rule_1";
field.dispatchEvent(new Event("input"));
const filtered = all("#rules tbody tr:not([hidden])").map(row => row.getAttribute("data-rule"));

found.querySelector('.scatter .mark[data-rule="rule_3"]').dispatchEvent(new MouseEvent("click", { bubbles: true }));
const picked = all(".picked").map(mark => mark.closest("section").id + " " + mark.getAttribute("data-rule"));
const bar = found.querySelector(".picked-bar").textContent;

const stops = all('tr[data-rule="rule_11"][tabindex]');
stops[0].focus();
stops[0].dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true }));
const byKey = [stops.length, found.activeElement === stops[0], found.querySelector(".picked-bar b").textContent];
stops[0].dispatchEvent(new KeyboardEvent("keydown", { key: "Escape", bubbles: true }));
byKey.push(found.querySelector(".picked-bar").hidden);

const slider = found.querySelector(".slider input");
const told = [];
for (const temperature of [2, 3]) {
  slider.value = Math.log2(temperature);
  slider.dispatchEvent(new Event("input"));
  told.push(found.querySelector(".slider output").textContent);
}
const weights = all("td.live span:last-child").map(cell => cell.textContent);
return { descending, ascending, again, filtered, picked: [...new Set(picked)], bar, byKey, told, weights };
"""


@needs_chromium
def test_tables_sort_and_filter_a_rule_is_picked_everywhere_and_weights_follow_the_temperature(tmp_path: Path):
    contents = make_contents(20)
    found = ask(render_page(contents), USE, width=1280, folder=tmp_path)
    assert found["descending"].startswith("rule_1The")
    assert found["ascending"].startswith("rule_20")
    assert found["again"].startswith("rule_1The")  # the heaviest first, as it was
    assert found["filtered"] == ["rule_1", *(f"rule_{number}" for number in range(10, 20))]
    assert {"entropy rule_3", "rules rule_3", "sweep rule_3", "histograms rule_3", "selection rule_3"} <= {
        *found["picked"]
    }
    assert all(place.endswith(" rule_3") for place in found["picked"])
    assert found["bar"].startswith("rule_3weight 8.6%, entropy 0.920")  # 2 * 18 / (20 * 21); .8 + 1.2 * 2 / 20
    assert found["byKey"] == [1, True, "rule_11", True]
    # .72 - .01 * 3 in the run's own bins; of 3, between 2 and 4, nothing was counted
    assert "accuracy 69.0%, as counted" in found["told"][0]
    assert "accuracy not counted here: 69.0% at 2, 68.0% at 4" in found["told"][1]
    entropy_K = [0.8 + 1.2 * number / 20 for number in range(20)]
    assert found["weights"] == [f"{weight:.1%}" for weight in encore(entropy_K, temperature=3.0)]


@needs_chromium
def test_the_browser_runs_no_script_but_the_pages_own(tmp_path: Path):
    foreign = b"<script>document.documentElement.className = 'taken';</script></main>"
    page = render_page(make_contents()).replace(b"</main>", foreign)
    asked = "return [...found.documentElement.classList];"
    assert ask(page, asked, width=800, folder=tmp_path) == ["scripted"]
    unguarded = re.sub(rb'<meta http-equiv="Content-Security-Policy".*?/>', b"", page)
    assert ask(unguarded, asked, width=800, folder=tmp_path) == ["taken", "scripted"]


@needs_chromium
def test_two_hundred_rules_and_two_thousand_subsets_stay_under_3_mb_and_within_390_pixels(tmp_path: Path):
    page = render_page(make_contents(200, num_subsets=2000, prefix="a_rule_of_a_long_name"))
    assert len(page) < 3_000_000
    asked = "return [found.documentElement.scrollWidth, found.querySelectorAll('#subsets tbody tr').length];"
    scroll_width, num_rows = ask(page, asked, width=390, folder=tmp_path)
    assert scroll_width <= 390
    assert num_rows == 2001


def test_weights_at_each_temperature_stand_there_without_scripts():
    contents = make_contents(2)
    text = re.sub("<wbr/>", "", render_page(contents).decode())
    # entropies .8 and 1.4: at temperature .25 the first has 1 / (1 + exp(-.6 / .25)) of the weight
    assert '<td class="number">91.7%</td>' in text[text.index('class="temperatures"') :]
    assert contents.comparison
    alone = Comparison.of({**contents.comparison.content, "sweep": None})
    assert b'class="temperatures"' not in render_page(dataclasses.replace(contents, comparison=alone))
