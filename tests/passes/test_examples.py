"""The pairs behind the numbers, with their texts and what each rule made of them; hostile texts stay text."""

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from encore_ray.artifacts import Metrics
from encore_ray.config.sources import make_config
from encore_ray.job import run_job
from encore_ray.passes.examples import read_examples
from encore_ray.report.sections.pairs import shown_pairs
from encore_ray.storage import Folder
from tests.report.browser import ask, needs_chromium

RULES = "".join(
    f"- {{name: {name}, text: {name}, higher_is: {way}, scale: {{levels: [0, 1, 2, 3, 4]}}}}\n"
    for name, way in (("kind", "better"), ("rude", "worse"))
)
SCRIPT = """</bdi></p><script>document.documentElement.className = "taken"</script><img src=x onerror=alert(1)>"""
TURNED = "safe \u202etxt.exe\u202c \u2066inner\u2069 zero\u200bwidth\ufeff tag\U000e0041"
LONG = "long " * 200_000


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """A finished job on pairs that carry ratings, some with texts that would do harm."""
    place = tmp_path_factory.mktemp("examples")
    answers = {0: SCRIPT, 1: TURNED, 2: LONG}
    rows = [
        {
            **{"id": f"p{n}", "prompt": f"{answers.get(n, 'Question')} {n}?"},
            **{"chosen": f"{answers.get(n, 'Yes')} {n}.", "rejected": f"{answers.get(n, 'No')}, never {n}."},
            # The reward is most sure, and wrong, of the first three: kind 0 against 4, rude 4 against 0.
            **{"chosen__kind": 0 if n < 3 else 1 + n % 3, "rejected__kind": 4 if n < 3 else n % 2},
            **{"chosen__rude": 4 if n < 3 else n % 2, "rejected__rude": 0 if n < 3 else 1 + n % 3},
        }
        for n in range(40)
    ]
    (place / "rated.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (place / "rules.yaml").write_text(RULES)
    options = {"cluster": {"engine": "local"}, "tracking": {"enabled": False}, "prepare": {"unit_pairs": 16}}
    inputs = [{"path": str(place / "rated.jsonl")}]
    rules = str(place / "rules.yaml")
    run_job(make_config({"inputs": inputs, "rules": rules, "run": str(place / "run"), **options}))
    return Folder(str(place / "run"))


def page(run: Folder) -> bytes:
    return run.read_bytes("report/report.html")


def test_the_largest_losses_are_named_with_their_unit_and_their_texts_are_found(run: Folder):
    metrics = Metrics.read(run)
    assert metrics.examples
    assert {each.pair_id for each in metrics.examples.losses[:3]} == {"p0", "p1", "p2"}
    found = read_examples(run, shown_pairs(metrics, None))
    assert set(found) == {each.pair_id for each in (*metrics.examples.losses[:20], *metrics.examples.wins[:10])}
    long = found["p2"].chosen[0]
    assert (len(long.text), long.num_chars) == (1000, len(LONG) + 3)  # of a text of a megabyte its begin: " 2." follows
    assert [turn.role for turn in found["p0"].prompt] == ["user"]


def test_what_the_rules_add_sums_to_the_margin(run: Folder):
    metrics = Metrics.read(run)
    assert metrics.examples
    found = read_examples(run, shown_pairs(metrics, None))
    for each in (*metrics.examples.losses, *metrics.examples.wins[:10]):
        assert set(found[each.pair_id].parts) == {"kind", "rude"}
        assert sum(found[each.pair_id].parts.values()) == pytest.approx(each.margin, abs=1e-12)


def test_hostile_texts_stay_text(run: Folder):
    text = page(run).decode()
    assert len(text) < 300_000
    root = ET.fromstring(text)
    assert not {found.tag for found in root.iter()} & {"img", "iframe", "object", "a>"}
    assert len(list(root.iter("script"))) == 1
    shown = "".join(next(found for found in root.iter() if found.get("id") == "pairs").itertext())
    assert '<script>document.documentElement.className = "taken"</script>' in shown
    assert "safe \\u202etxt.exe\\u202c \\u2066inner\\u2069 zero\\u200bwidth\\ufeff tag\\U000e0041" in shown
    assert "… 1,000,003 characters in all" in shown
    assert not re.search("[\u200b\u202a-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f]", text)


@needs_chromium
def test_in_a_browser_no_hostile_text_is_run(run: Folder, tmp_path: Path):
    assert ask(page(run), "return [...found.documentElement.classList];", width=800, folder=tmp_path) == ["scripted"]


def test_a_run_without_texts_names_the_pairs_alone(tmp_path: Path):
    assert read_examples(Folder(str(tmp_path)), {"p0"}) == {}
