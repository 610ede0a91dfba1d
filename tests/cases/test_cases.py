"""The runner of cases sees exit codes, words and what lies in the folder, and passes nothing over."""

from pathlib import Path

import pytest

from tests.cases import __main__ as cases
from tests.cases.expected import Case

README = """# A case

```bash
encore-ray --version; echo "exit $?"
encore-ray inspect nowhere | cat
touch made
```
"""


def leaves(name: str):
    def check(folder: Path) -> None:
        assert (folder / name).exists(), f"no {name}"

    return check


@pytest.mark.parametrize(
    ("case", "faults"),
    [
        (Case((0, 2), ("encore-ray [0-9]", "exit 0"), check=leaves("made")), []),
        (Case((0, 2), check=leaves("other")), ["AssertionError: no other"]),
        (
            Case((0, 0), ("told",), ("nowhere",)),
            ["exit codes (0, 2), not (0, 0)", "does not say: told", "says: nowhere"],
        ),
        (None, ["nothing in tests/cases/expected.py says what is right here"]),
    ],
)
def test_a_case_is_compared_with_what_is_right(
    case: Case | None, faults: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "README.md").write_text(README)
    monkeypatch.setattr(cases, "EXPECTED", {} if case is None else {"one": case})
    outcome, found = cases.try_case(tmp_path, "one")
    assert outcome.exits == (0, 2)
    assert [fault.partition("\n")[0] for fault in found] == faults
    assert not (tmp_path / "one" / "made").exists()  # it ran in a copy
