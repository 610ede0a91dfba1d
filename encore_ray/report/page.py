"""The HTML report of a run: one file without network or fonts, in light and dark, for screens and paper.

It is whole without scripts. The one that it brings makes figures answer; the browser runs no other, see `_policy`.
"""

import base64
import hashlib
from importlib.resources import files

from encore_ray.report.data.contents import ReportContents
from encore_ray.report.drawing.markup import Child, Markup, tag
from encore_ray.report.sections import side_by_side
from encore_ray.report.sections.account import rows_account, settings
from encore_ray.report.sections.agreement import margins, rewardbench, subsets
from encore_ray.report.sections.consensus import consensus
from encore_ray.report.sections.first.headline import headline, warnings
from encore_ray.report.sections.hard_rules import hard_rules
from encore_ray.report.sections.pairs import pairs
from encore_ray.report.sections.refinement import refinement
from encore_ray.report.sections.rules import entropy_accuracy, weights_table
from encore_ray.report.sections.schemes import schemes, sweep
from encore_ray.report.sections.scores import correlations, histograms
from encore_ray.report.sections.selection import selection
from encore_ray.report.sections.side_by_side import Runs

STYLES = ("palette.css", "page.css", "lines.css")
SCRIPT = "report.js"
_SECTIONS = (
    ("warnings", "Warnings", warnings),
    ("entropy", "Entropy", entropy_accuracy),
    ("consensus", "In common", consensus),
    ("schemes", "Weightings", schemes),
    ("rules", "Rules", weights_table),
    ("hard-rules", "Hard rules", hard_rules),
    ("selection", "Selection", selection),
    ("sweep", "Temperature", sweep),
    ("histograms", "Scores", histograms),
    ("correlations", "Same rules", correlations),
    ("margins", "Margins", margins),
    ("pairs", "Pairs", pairs),
    ("refinement", "Refinement", refinement),
    ("subsets", "Subsets", subsets),
    ("rewardbench", "RewardBench", rewardbench),
    ("rows", "Rows", rows_account),
    ("settings", "Settings", settings),
)

_OF_SEVERAL = (
    ("differs", "What differs", side_by_side.what_differs),
    ("decisions", "Decisions", side_by_side.decisions),
    ("weights", "Weights", side_by_side.weights),
    ("subsets", "Subsets", side_by_side.subsets),
    ("schemes", "Weightings", side_by_side.schemes),
)


def render_page(contents: ReportContents) -> bytes:
    """Render the report.

    Args:
        contents: what is known of the run; a section whose data is missing is left out.

    Returns:
        UTF-8 of an HTML document that is also well-formed XML; the same for the same contents.
    """
    made = [(anchor, name, render(contents)) for anchor, name, render in _SECTIONS]
    present = [(anchor, name, section) for anchor, name, section in made if section is not None]
    links = [tag("a", name, href=f"#{anchor}") for anchor, name, _ in present]
    return _document(
        contents.title,
        headline(contents),
        tag("nav", links, aria_label="Sections"),
        [part for _, _, part in present],
    )


def render_side_by_side(runs: Runs) -> bytes:
    """Render a page of several runs, what differs first; equal for equal contents, as `render_page`."""
    made = [(anchor, name, render(runs)) for anchor, name, render in _OF_SEVERAL]
    present = [(anchor, name, part) for anchor, name, part in made if part is not None]
    links = [tag("a", name, href=f"#{anchor}") for anchor, name, _ in present]
    title = f"{len(runs)} runs side by side"
    head = tag(
        "header",
        tag("p", tag("span", "encore-ray", class_="brand"), class_="eyebrow"),
        tag("h1", title),
        tag("ul", [tag("li", tag("bdi", each.place or name)) for name, each in runs.items()], class_="about"),
    )
    return _document(title, head, tag("nav", links, aria_label="Sections"), [part for _, _, part in present])


def _document(title: str, *body: Child) -> bytes:
    """A whole page: UTF-8 of HTML that is also well-formed XML."""
    script = f"//<![CDATA[\n{_text(SCRIPT)}//]]>\n"
    page = tag(
        "html",
        tag(
            "head",
            tag("meta", charset="utf-8"),
            tag("meta", http_equiv="Content-Security-Policy", content=_policy(script)),
            tag("meta", name_="viewport", content="width=device-width, initial-scale=1"),
            tag("meta", name_="color-scheme", content="light dark"),
            tag("title", f"{title} · encore-ray"),
            [tag("style", Markup(_text(name))) for name in STYLES],
        ),
        tag("body", tag("main", *body), tag("script", Markup(script))),
        lang="en",
    )
    return f"<!DOCTYPE html>\n{page}\n".encode()


def _policy(script: str) -> str:
    """The browser itself refuses whatever is not in the file, and any script but this one."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "require-trusted-types-for 'script'; base-uri 'none'; form-action 'none'"
    )


def _text(name: str) -> str:
    return files("encore_ray.report").joinpath(name).read_text("utf-8")
