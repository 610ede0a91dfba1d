"""A file that a person names and that is not there is told with the one that was likely meant."""

from pathlib import Path

import pytest

from encore_ray.errors import ConfigError
from encore_ray.files.named import meant, read_named


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "runs" / "first").mkdir(parents=True)
    for name in ("job.yaml", "rules.yaml", "rated.jsonl", ".job.yaml", "runs/first/weights.json"):
        (tmp_path / name).write_text("")
    return tmp_path


@pytest.mark.parametrize(
    ("named", "close"),
    [
        ("jbo.yaml", "job.yaml"),
        ("Job.yml", "job.yaml"),  # another ending of the same name
        ("job.jsonl", "job.yaml"),
        ("rulse.yaml", "rules.yaml"),
        ("runs/frist/weights.json", "runs/first/weights.json"),  # the first part that is wrong
        ("run/first", "runs/first"),
        ("runs/frist/scores", None),  # what would be in its place is not there either
        ("nosuch.yaml", None),  # the same ending alone is no likeness
        ("runs.yaml", None),  # a folder is no file
        ("rated", "rated.jsonl"),
        ("elsewhere/job.yaml", None),
        ("s3://bucket/jbo.yaml", None),
        ("jb*.yaml", None),
        ("", None),
    ],
)
def test_a_close_name_is_told_and_no_other(
    named: str, close: str | None, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    assert meant(named) == (f" Did you mean {close}?" if close else "")
    if "*" not in named and "://" not in named and named:
        assert meant(str(place / named)) == (f" Did you mean {place / close}?" if close else "")


def test_why_a_file_cannot_be_read_is_said_in_words(place: Path) -> None:
    for path, why in (
        ("jbo.yaml", f"no such file. Did you mean {place}/job.yaml?"),
        ("runs", "it is a folder. Name the file in it."),
        ("job.yaml/x", "Not a directory."),
    ):
        with pytest.raises(ConfigError) as refused:
            read_named(place / path, what="the rules in")
        assert str(refused.value) == f"Cannot read the rules in {place / path}: {why}"
