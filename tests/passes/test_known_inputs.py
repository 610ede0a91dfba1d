"""Inputs are known by content: files that lie elsewhere now, or are called otherwise, are not prepared again."""

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from encore_ray.config import PrepareOptions
from encore_ray.corpora import scan
from encore_ray.corpora.files.sources import InputSpec, list_files
from encore_ray.errors import ResumeRefused
from encore_ray.folder.protocol.seal import read_manifest
from encore_ray.passes.prepare import Prepare
from encore_ray.storage import Folder
from tests.corpora.prepared import write_jsonl
from tests.passes.doing import do

Commits = dict[str, bytes]


def rows(name: str, num_rows: int = 3, **more: Any) -> list[dict[str, Any]]:
    return [{"prompt": f"{name} {n}", "chosen": "yes", "rejected": "no", **more} for n in range(num_rows)]


def prepare(run: Path, *inputs: Path | tuple[Path, str], overwrite: bool = False) -> Commits:
    """Prepare files, each with its subset where it is given one; the commits that stand then."""
    named = [item if isinstance(item, tuple) else (item, None) for item in inputs]
    files = list_files([InputSpec(str(path), subset) for path, subset in named])
    do(Folder(str(run)), Prepare(files, PrepareOptions(unit_pairs=2, max_bad_fraction=0.5)), overwrite=overwrite)
    return {path.name: path.read_bytes() for path in (run / "pairs" / "commits").iterdir()}


def ids(run: Path) -> list[str]:
    folder = Folder(str(run / "pairs"))
    return [id_ for file in read_manifest(folder) for id_ in folder.read_table(file.file)["pair_id"].to_pylist()]


def forget_inputs(run: Path) -> None:
    """Make the commits those of an older version, which did not tell what units were made from."""
    for path in (run / "pairs" / "commits").iterdir():
        record = json.loads(path.read_text())
        del record["notes"]["input"], record["digest"]
        path.write_text(json.dumps(record))


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    (tmp_path / "corpus").mkdir()
    for name in ("a", "b"):
        write_jsonl(tmp_path / "corpus" / f"{name}.jsonl", [*rows(name), {"prompt": "no response"}])
    return tmp_path / "corpus"


@pytest.mark.parametrize("is_older", [False, True])
@pytest.mark.parametrize("subset", [None, "given"])
def test_inputs_and_run_that_were_moved_go_on_with_nothing_done_again(
    tmp_path: Path, corpus: Path, subset: str | None, is_older: bool
) -> None:
    def inputs(folder: Path) -> list[Path | tuple[Path, str]]:
        first = folder / "a.jsonl"
        return [(first, subset) if subset else first, folder / "b.jsonl"]

    before = prepare(tmp_path / "run", *inputs(corpus))
    if is_older:
        forget_inputs(tmp_path / "run")
        before = prepare(tmp_path / "run", *inputs(corpus))  # not moved: nothing is done again
        assert len(before) == 2 and all('"input"' not in record.decode() for record in before.values())
    manifest = read_manifest(Folder(str(tmp_path / "run" / "pairs")))
    (tmp_path / "elsewhere").mkdir()
    for name in ("run", "corpus"):
        shutil.move(tmp_path / name, tmp_path / "elsewhere" / name)
    moved = tmp_path / "elsewhere"
    assert prepare(moved / "run", *inputs(moved / "corpus")) == before
    assert read_manifest(Folder(str(moved / "run" / "pairs"))) == manifest


def test_a_renamed_file_and_two_that_change_places_are_the_same_files(tmp_path: Path, corpus: Path) -> None:
    a, b = corpus / "a.jsonl", corpus / "b.jsonl"
    before, pair_ids = prepare(tmp_path / "run", a, b), ids(tmp_path / "run")
    a.rename(corpus / "a-again.jsonl")
    assert prepare(tmp_path / "run", corpus / "a-again.jsonl", b) == before
    (corpus / "a-again.jsonl").rename(corpus / "c.jsonl")
    b.rename(a)
    (corpus / "c.jsonl").rename(b)  # a holds now what b held
    assert prepare(tmp_path / "run", b, a) == before
    assert ids(tmp_path / "run") == pair_ids


def test_a_new_file_in_the_place_of_one_that_moved_is_another_one(tmp_path: Path, corpus: Path) -> None:
    a, b = corpus / "a.jsonl", corpus / "b.jsonl"
    before, pair_ids = prepare(tmp_path / "run", a, b), ids(tmp_path / "run")
    a.rename(corpus / "a-1.jsonl")
    write_jsonl(a, rows("new"))
    grown = prepare(tmp_path / "run", corpus / "a-1.jsonl", b, a)
    assert {name: grown[name] for name in before} == before
    assert (len(grown), len(ids(tmp_path / "run"))) == (3, 9)
    assert ids(tmp_path / "run")[:6] == pair_ids
    (tmp_path / "elsewhere").mkdir()  # and all of them are found again
    moved = [Path(shutil.move(path, tmp_path / "elsewhere" / path.name)) for path in (corpus / "a-1.jsonl", b, a)]
    assert prepare(tmp_path / "run", *moved) == grown


def test_files_of_the_same_content_or_name_stay_distinct(tmp_path: Path) -> None:
    paths = [tmp_path / folder / "a.jsonl" for folder in ("one", "two", "three")]
    for path, name in zip(paths, ("same", "same", "other"), strict=True):
        path.parent.mkdir()
        write_jsonl(path, rows(name))
    before = prepare(tmp_path / "run", *paths)
    assert (len(before), len(set(ids(tmp_path / "run")))) == (3, 9)
    (tmp_path / "moved").mkdir()
    moved = [Path(shutil.move(path.parent, tmp_path / "moved" / path.parent.name)) / "a.jsonl" for path in paths]
    assert prepare(tmp_path / "run", *moved) == before
    assert prepare(tmp_path / "run", moved[1], moved[0], moved[2]) == before  # they hold the same


@pytest.mark.parametrize("is_older", [False, True])
@pytest.mark.parametrize(("given", "now"), [("x", "y"), ("x", None), (None, "x")])
def test_the_same_content_under_another_subset_is_another_input(
    tmp_path: Path, corpus: Path, given: str | None, now: str | None, is_older: bool
) -> None:
    path, moved = corpus / "a.jsonl", corpus / "moved.jsonl"
    prepare(tmp_path / "run", (path, given) if given else path)
    if is_older:
        forget_inputs(tmp_path / "run")
    path.rename(moved)
    with pytest.raises(ResumeRefused, match="not part of the job any more" if is_older else "subset was .*, is "):
        prepare(tmp_path / "run", (moved, now) if now else moved)


def test_a_column_of_subsets_of_an_older_run_is_told_from_one_that_was_given(tmp_path: Path) -> None:
    named = [*rows("q", 2, subset="x"), *rows("r", 2, subset="y")]
    path = write_jsonl(tmp_path / "a.jsonl", named)
    before = prepare(tmp_path / "run", path)
    forget_inputs(tmp_path / "run")
    path.rename(tmp_path / "b.jsonl")
    assert prepare(tmp_path / "run", tmp_path / "b.jsonl").keys() == before.keys()
    given = prepare(tmp_path / "given", (tmp_path / "b.jsonl", "x"))
    forget_inputs(tmp_path / "given")
    (tmp_path / "b.jsonl").rename(path)
    assert len(given) == 1
    with pytest.raises(ResumeRefused, match="columns was"):  # the column is passed through where a subset is given
        prepare(tmp_path / "given", path)


def test_a_job_that_was_killed_and_moved_goes_on_with_what_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", rows("long", 40))
    monkeypatch.setattr(scan, "RANGE_BYTES", 512)
    monkeypatch.setattr(scan.ranges, "__kwdefaults__", {"range_bytes": 512})
    before, pair_ids = prepare(tmp_path / "run", path), ids(tmp_path / "run")
    assert len(before) > 3
    lost = sorted(before)[1]
    (tmp_path / "run" / "pairs" / "commits" / lost).unlink()
    path.rename(tmp_path / "moved.jsonl")
    now = prepare(tmp_path / "run", tmp_path / "moved.jsonl")
    assert now.keys() == before.keys()
    assert {name for name in now if now[name] != before[name]} == {lost}
    assert ids(tmp_path / "run") == pair_ids


def test_what_changed_is_told_by_what_differs(tmp_path: Path, corpus: Path) -> None:
    a, b = corpus / "a.jsonl", corpus / "b.jsonl"
    prepare(tmp_path / "run", a, b)
    text = a.read_bytes()
    write_jsonl(a, rows("changed"))
    with pytest.raises(ResumeRefused, match=rf"is now \w+ \({a}\): content was \w+, is \w+; range was"):
        prepare(tmp_path / "run", a, b)
    a.unlink()
    with pytest.raises(ResumeRefused, match=rf"\({a}, content [0-9a-f]+\), which is not part of the job any more"):
        prepare(tmp_path / "run", b)
    (corpus / "a.jsonl.gz").write_bytes(gzip.compress(text))
    with pytest.raises(ResumeRefused, match=r"file was .*, is .*; range was"):
        prepare(tmp_path / "run", corpus / "a.jsonl.gz", b)
    assert len(prepare(tmp_path / "run", b, overwrite=True)) == 1
