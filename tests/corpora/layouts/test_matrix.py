"""docs/corpora.md says which public data sets are read. After a change of `published`: `python -m
tests.corpora.layouts.test_matrix` writes its table anew."""

from pathlib import Path

from encore_ray.corpora.formats import format_names
from tests.corpora.layouts.published import PUBLISHED

DOCUMENT = Path(__file__).parents[3] / "docs" / "corpora.md"
BEGIN, END = "<!-- layouts -->\n", "\n<!-- end of layouts -->"


def matrix() -> str:
    """A row for each data set, in the order in which layouts are detected."""
    rows = ["| layout | data set | rows | pairs | single responses | counted |", "|---|---|---:|---:|---:|---|"]
    for case in sorted(PUBLISHED, key=lambda case: format_names().index(case.layout)):
        singles = sum(rejected is None for _, _, rejected in case.pairs)
        counted = ", ".join(f"{name.replace('_', ' ')} {number}" for name, number in case.notes.items())
        num_pairs = len(case.pairs) - singles
        rows.append(f"| `{case.layout}` | {case.name} | {len(case.rows)} | {num_pairs} | {singles} | {counted} |")
    return "\n".join(rows)


def test_the_document_has_every_data_set() -> None:
    assert DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0] == matrix()


def test_every_layout_was_tried_with_a_data_set() -> None:
    assert {case.layout for case in PUBLISHED} == set(format_names())


if __name__ == "__main__":
    before, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)
    DOCUMENT.write_text(before + BEGIN + matrix() + END + rest.partition(END.strip())[2], encoding="utf-8")
