"""A draft knows what it was made from and whether it was changed; what an editor does to line ends is no change."""

import pytest

from encore_ray.files.drafted import Drafted, mark_draft, read_draft

TEXT = "# Correct what is guessed.\n- name: harm\n  scale: {lo: 0, hi: 1}\n"
MARKED = mark_draft(TEXT, of="a. table.csv")


@pytest.mark.parametrize("kept", [MARKED, MARKED.replace("\n", "\r\n"), MARKED.rstrip(), f"{MARKED}\n\n"])
def test_a_draft_is_known(kept: str) -> None:
    found = read_draft(kept)
    assert found is not None and str(found) == "drafted from a. table.csv"


@pytest.mark.parametrize(
    "changed", [MARKED.replace("hi: 1", "hi: 2"), f"{MARKED}# mine\n", MARKED.replace("# Cor", "#Cor"), MARKED + MARKED]
)
def test_a_change_is_seen(changed: str) -> None:
    found = read_draft(changed)
    assert found is not None and str(found) == "drafted from a. table.csv, edited since"


@pytest.mark.parametrize("text", [TEXT, "", MARKED.replace("encore-ray", "mine")])
def test_a_file_without_the_line_is_no_draft(text: str) -> None:
    assert read_draft(text) is None


def test_a_name_that_would_be_a_line_stays_in_its_own() -> None:
    found = read_draft(mark_draft(TEXT, of="a\n- name: harm"))
    assert found == Drafted("a\\n- name: harm", found.digest if found else "", is_edited=False)
