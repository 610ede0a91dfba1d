"""The prepare pass counts what a corpus holds, says what it does not use, and names what it refuses."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encore_ray.config import InputOptions, PrepareOptions
from encore_ray.corpora.files.sources import InputSpec, list_files
from encore_ray.corpora.inputs import input_specs
from encore_ray.corpora.notes import told
from encore_ray.corpora.pairing.conversations import short_hash
from encore_ray.errors import DataError, ResumeRefused
from encore_ray.folder.reading.tables import table_units
from encore_ray.passes import repeats
from encore_ray.passes.prepare import Prepare, Prepared
from encore_ray.schema import PROMPT_ID
from encore_ray.storage import Folder
from tests.corpora.prepared import assistant, user, write_jsonl
from tests.passes.doing import do

TEXT = {"prompt": "Hi", "chosen": "a", "rejected": "b"}


def prepared(folder: Path, *paths: Path | str, **options: Any) -> Prepared:
    files = list_files([InputSpec(str(path)) for path in paths])
    return do(Folder(str(folder)), Prepare(files, PrepareOptions(**{"max_bad_fraction": 0.5, **options})))


def pair(prompt: str, chosen: str, rejected: str) -> dict[str, str]:
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected}


def test_contradictions_are_counted_beside_repeats_and_equal_sides(tmp_path: Path):
    rows = [
        pair("q", "a", "b"),
        pair("q", "b", "a"),  # contradicts the first
        pair("r", "a", "b"),
        pair("r", "a", "b"),  # repeats
        pair("s", "b", "a"),  # of another prompt than the first
        pair("t", "a", "a"),  # equal sides: neither way round
        pair("t", "a", "a"),
        {"prompt": [user("q")], "chosen": [assistant("b")], "rejected": [assistant("a")]},  # again, as messages
    ]
    texts = write_jsonl(tmp_path / "a.jsonl", rows[:-1])
    counts = prepared(tmp_path / "run", texts, write_jsonl(tmp_path / "b.jsonl", rows[-1:])).counts
    # q: one way round once, the other twice: min(1, 2) = 1
    assert (counts["contradictory"], counts["repeated_content"], counts["identical"]) == (1, 3, 2)
    again = prepared(tmp_path / "run", texts, tmp_path / "b.jsonl")
    assert again.counts == counts


@given(ways=st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=30), unit_pairs=st.integers(1, 7))
def test_contradictions_are_the_lesser_of_both_ways_for_any_order_and_units(
    tmp_path_factory: pytest.TempPathFactory, ways: list[tuple[int, bool]], unit_pairs: int
):
    folder = tmp_path_factory.mktemp("ways")
    rows = [pair(f"q{n}", *(("a", "b") if way else ("b", "a"))) for n, way in [*ways, (9, True)]]
    counts = prepared(folder / "run", write_jsonl(folder / "a.jsonl", rows), unit_pairs=unit_pairs).counts
    assert counts["contradictory"] == sum(min(ways.count((n, True)), ways.count((n, False))) for n in range(4))


def test_partitions_do_not_change_the_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(repeats, "PARTITION_ROWS", 3)
    rows = [pair(f"q{n}", *sides) for n in range(8) for sides in (("a", "b"), ("b", "a"))]
    assert prepared(tmp_path / "run", write_jsonl(tmp_path / "a.jsonl", rows)).counts["contradictory"] == 8


def prompt_ids(folder: Path) -> list[str]:
    units = table_units(str(folder / "pairs"))
    return [value for unit in units for value in unit.read([PROMPT_ID]).column(0).to_pylist()]


def test_the_datas_own_prompt_ids_are_those_of_its_pairs(tmp_path: Path):
    rows = [{**pair("q", "a", "b"), "prompt_id": "x"}, {**pair("r", "a", "b"), "prompt_id": "x"}]
    first = write_jsonl(tmp_path / "a.jsonl", [*rows, {**pair("q", "b", "a"), "prompt_id": None}])
    second = write_jsonl(tmp_path / "b.jsonl", [{**pair("s", "a", "b"), "prompt_id": 7}])
    made = prepared(tmp_path / "run", first, second)
    of_q = short_hash('[["user","q"]]')
    assert prompt_ids(tmp_path / "run") == ["x", "x", of_q, "7"]
    assert made.counts["prompt_ids_of_several_prompts"] == 1  # x stands beside q and r
    assert made.counts["contradictory"] == 1  # of one text, whatever the ids say
    assert prepared(tmp_path / "run", first, second).counts == made.counts
    with pytest.raises(ResumeRefused, match="prompt_ids was"):
        prepared(tmp_path / "run", first, second, ignore=["prompt_id"])
    counts = prepared(tmp_path / "text", first, second, ignore=["prompt_id"]).counts
    assert prompt_ids(tmp_path / "text")[::2] == [of_q, of_q]
    assert "prompt_ids_of_several_prompts" not in counts


def test_equal_prompt_ids_of_two_inputs_are_one_prompt(tmp_path: Path):
    files = [write_jsonl(tmp_path / f"{q}.jsonl", [{**pair(q, "a", "b"), "prompt_id": 1}]) for q in ("q", "r")]
    counts = prepared(tmp_path / "run", *files).counts
    assert (prompt_ids(tmp_path / "run"), counts["prompt_ids_of_several_prompts"]) == (["1", "1"], 1)


def test_a_prompt_id_that_is_no_text_sends_its_row_to_quarantine(tmp_path: Path):
    rows = [{**pair("q", "a", "b"), "prompt_id": value} for value in ("x", "y", [1])]
    counts = prepared(tmp_path / "run", write_jsonl(tmp_path / "a.jsonl", rows)).counts
    assert (counts["kept"], counts["reason.wrong_type"]) == (2, 1)


def test_prompts_without_a_response_do_not_fail_a_job_and_are_counted(tmp_path: Path):
    rows = [{"prompt": "Hi", "response": "Hello."}] + [{"prompt": "Hi", "response": None}] * 9
    counts = prepared(tmp_path / "run", write_jsonl(tmp_path / "a.jsonl", rows), max_bad_fraction=0).counts
    assert (counts["kept"], counts["quarantined"], counts["reason.no_response"]) == (1, 9, 9)
    with pytest.raises(DataError, match="No row is left: all 9"):
        prepared(tmp_path / "none", write_jsonl(tmp_path / "b.jsonl", rows[1:]), max_bad_fraction=0)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({**TEXT, "images": ["x.png"]}, "picture: only text is scored.*prepare.ignore"),
        ({**TEXT, "context": "A passage."}, "unread_column: say what it is by inputs"),
        ({**TEXT, "chosen": [{"role": "tool", "content": "5"}]}, "tool_turn: pairs hold turns of system"),
        ({**TEXT, "prompt": "a\n\n### Response:"}, "unread_transcript: turns are in one text"),
    ],
)
def test_what_is_refused_is_named_with_what_to_set(tmp_path: Path, row: dict[str, Any], said: str):
    with pytest.raises(DataError, match=f"(?s)1 of 1 rows.*{said}"):
        prepared(tmp_path / "run", write_jsonl(tmp_path / "a.jsonl", [row]))


def test_a_column_is_ignored_on_request(tmp_path: Path):
    path = write_jsonl(tmp_path / "a.jsonl", [{**TEXT, "context": "A passage.", "system": "Be kind."}])
    counts = prepared(tmp_path / "run", path, ignore=["context", "system"]).counts
    assert (counts["kept"], "system_from_column" in counts) == (1, False)
    with pytest.raises(ResumeRefused):
        prepared(tmp_path / "run", path, ignore=["context"])


def test_files_that_cannot_be_read_stop_the_job_or_are_left_out_and_named(tmp_path: Path):
    good = write_jsonl(tmp_path / "a.jsonl", [TEXT])
    (tmp_path / "b.parquet").write_bytes(b"no table")
    (tmp_path / "c.json").write_text('[{"prompt": ')
    write_jsonl(tmp_path / "d.jsonl", [{"what": 1}])
    paths = [good, *(tmp_path / name for name in ("b.parquet", "c.json", "d.jsonl"))]
    for path in paths[1:]:
        with pytest.raises(DataError, match=path.name.replace(".", r"\.")):
            prepared(tmp_path / f"run-{path.name}", good, path)
    made = prepared(tmp_path / "run", *paths, unreadable="leave_out")
    assert (made.counts["rows"], made.counts["files_left_out"]) == (1, 3)
    assert [name for name in ("b.parquet", "c.json", "d.jsonl") for said in made.left_out if name in said] == [
        "b.parquet",
        "c.json",
        "d.jsonl",
    ]
    with pytest.raises(DataError, match="No row in any input"):
        prepared(tmp_path / "none", *paths[1:], unreadable="leave_out")


def test_a_mapping_is_part_of_what_a_run_was_made_from(tmp_path: Path):
    path = write_jsonl(tmp_path / "a.jsonl", [{"q": "Hi", "a": "x", "b": "y", "w": 1}])
    columns = {"prompt": "q", "chosen": "a", "rejected": "b", "winner": "w"}

    def made(chosen_if: int) -> Prepared:
        files = list_files(input_specs([InputOptions(path=str(path), columns=columns, chosen_if=chosen_if)]))
        return do(Folder(str(tmp_path / "run")), Prepare(files, PrepareOptions()))

    assert made(1).counts["pairs"] == 1
    assert made(1).inputs[0].layout == "mapped"
    with pytest.raises(ResumeRefused):
        made(0)


def test_the_files_of_a_run_are_told_by_their_layout(tmp_path: Path):
    path = write_jsonl(tmp_path / "a.jsonl", [{"instruction": "Hi", "input": "", "chosen": "a", "rejected": "b"}])
    assert json.loads(json.dumps([item.layout for item in prepared(tmp_path / "run", path).inputs])) == ["alpaca"]


def test_what_was_done_to_a_corpus_is_told_in_sentences(tmp_path: Path):
    row = {"prompt": "Hi", "response": "a"}
    rows = [*[{**row, "system": f"Be {n}."} for n in range(200)], {**row, "response": ""}, {**row, "image": "x.png"}]
    counts = prepared(tmp_path / "run", write_jsonl(tmp_path / "a.jsonl", rows)).counts
    assert list(told(counts)) == [
        "2 of 202 rows are in quarantine (1 no_response, 1 picture)",
        "200 are single responses: scored, but not compared",
        "200 rows have a system text in a column of its own, which became a system turn",
    ]
