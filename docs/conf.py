"""How the pages become a site, by Sphinx: `make docs`.

README.md is its first page, and the lists of links under its last heading are the navigation. Pages are read by MyST,
which takes Markdown as GitHub does.
"""

import re
from pathlib import Path

from sphinx.application import Sphinx

FIRST_PAGE, LISTS = "README", "\n## Documentation\n"

project = html_title = "encore-ray"
root_doc = FIRST_PAGE
include_patterns = ["*.md", "docs/*.md"]
exclude_patterns = [path.name for path in Path(__file__).parents[1].iterdir() if path.is_dir() and path.name != "docs"]
extensions = ["myst_parser"]
myst_heading_anchors = 4
smartquotes = False  # what is to be typed or searched for stays as it is
html_theme = "furo"
html_static_path = ["site.css"]
html_css_files = ["site.css"]
html_copy_source = html_show_copyright = False


def add_navigation(app: Sphinx, page: str, source: list[str]) -> None:
    """A tree of pages is what Sphinx goes by: a branch for each list of links of the first page."""
    if page != FIRST_PAGE:
        return
    for caption, links in re.findall(r"^\*\*(.+)\*\*\n\n((?:- .+\n)+)", source[0].partition(LISTS)[2], flags=re.M):
        pages = [f"{title} <{target}>" for title, target in re.findall(r"^- \[(.+?)\]\((.+?)\.md\)", links, flags=re.M)]
        source[0] += "\n".join(["", "```{toctree}", ":hidden:", f":caption: {caption}", "", *pages, "```", ""])


def add_index(app: Sphinx, error: Exception | None) -> None:
    """Whoever opens the folder comes to the first page."""
    if error is None:
        page = f'<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0; url={FIRST_PAGE}.html">'
        Path(app.outdir, "index.html").write_text(f"{page}<title>{project}</title>\n", encoding="utf-8")


def setup(app: Sphinx) -> None:
    app.connect("source-read", add_navigation)
    app.connect("build-finished", add_index)
