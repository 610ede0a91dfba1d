"""Tables that a pass reads: our own, and those made elsewhere."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from encore_ray.errors import ConfigError, DataError
from encore_ray.folder.attempt import Attempt
from encore_ray.folder.pass_table import PassTable
from encore_ray.folder.reading import foreign
from encore_ray.folder.reading.score_block import ScoreBlock, read_scores, stream_scores
from encore_ray.folder.reading.table_rules import RULES_METADATA, table_rules
from encore_ray.folder.reading.tables import by_content, table_units
from encore_ray.rules import Rule, RuleSet, Scale
from encore_ray.storage import Folder

RULES = RuleSet(Rule(name, "", "better", Scale(0.0, 1.0)) for name in ("kind", "safe"))


def scores(ids: list[str], **changes: object) -> pa.Table:
    columns: dict[str, object] = {
        "pair_id": ids,
        "chosen__kind": [0.25] * len(ids),
        "rejected__kind": [0.5] * len(ids),
        "chosen__safe": [1.0] * len(ids),
        "rejected__safe": [0.0] * len(ids),
    }
    return pa.table({name: column for name, column in {**columns, **changes}.items() if column is not ...})


def save_rules(folder: Path) -> str:
    (folder / "rules.yaml").write_text(RULES.to_yaml())
    return str(folder / "rules.yaml")


def ids_of(uri: Path | str) -> list[str]:
    return [value for unit in table_units(str(uri)) for value in unit.read_all().column("pair_id").to_pylist()]


# Where the files are


def test_our_own_folder_is_read_through_its_manifest(tmp_path: Path) -> None:
    run = Folder(str(tmp_path))
    table = PassTable(run.child("scores"), run, "score").open({})
    for unit in ("u1", "u0"):
        attempt = Attempt(table, unit, "d")
        attempt.write(scores([unit]))
        attempt.commit({"rows": 1})
    with pytest.raises(DataError, match=r"scores is not finished \(no _SUCCESS\)"):
        table_units(table.folder.uri)
    table.seal(["u1", "u0"], table.commits(), {})
    Attempt(table, "u1", "d").write(scores(["a late attempt of u1"]))
    units = table_units(table.folder.uri)
    assert [(unit.unit, unit.rows) for unit in units] == [("u1", 1), ("u0", 1)]
    assert ids_of(table.folder.uri) == ["u1", "u0"]


def test_a_foreign_table_is_a_folder_of_files_in_order_of_name_or_one_file(tmp_path: Path) -> None:
    for name in ("b.parquet", "a.parquet"):
        pq.write_table(scores([name[0]]), tmp_path / name)
    (tmp_path / "README.md").write_text("not data")
    assert ids_of(tmp_path) == ["a", "b"]
    assert ids_of(tmp_path / "b.parquet") == ["b"]
    (tmp_path / "ours" / "data").mkdir(parents=True)  # a copy of our data/ alone
    pq.write_table(scores(["c"]), tmp_path / "ours" / "data" / "x.parquet")
    assert ids_of(tmp_path / "ours") == ["c"]


def test_a_folder_that_is_called_like_a_file_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "scores.parquet").mkdir()
    pq.write_table(scores(["a"]), tmp_path / "scores.parquet" / "part-0.parquet")
    assert ids_of(tmp_path / "scores.parquet") == ["a"]


@pytest.mark.parametrize(
    ("name", "first"),
    [("nowhere", "the pass that writes it"), ("nowhere.parquet", "the pass"), ("scores", "`encore-ray score`")],
)
def test_a_place_without_a_table_is_the_users_mistake(tmp_path: Path, name: str, first: str) -> None:
    (tmp_path / "scores").mkdir()  # as a pass that was ended before its first file leaves it
    with pytest.raises(ConfigError, match=f"{name}: no such table.* In a run, {first}"):
        table_units(str(tmp_path / name))


def test_a_page_that_its_writer_gave_a_checksum_is_compared_with_it(tmp_path: Path) -> None:
    """Spark writes checksums, and pyarrow alone passes over them: the flipped bit makes another number of one."""
    table, path = pa.table({"score": np.arange(1000.0)}), tmp_path / "scores.parquet"
    for checksum in (False, True):
        pq.write_table(table, path, compression="NONE", use_dictionary=False, write_page_checksum=checksum)
        content = bytearray(path.read_bytes())
        content[4000] ^= 1
        path.write_bytes(content)
        (unit,) = table_units(str(path))
        if checksum:
            with pytest.raises(DataError, match=r"scores\.parquet as Parquet: .*checksum"):
                unit.read(["score"])
        else:
            assert not unit.read(["score"]).equals(table)


def test_a_file_that_is_no_parquet_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"PAR1, but no more")
    with pytest.raises(DataError, match=r"Cannot read .*x\.parquet as Parquet"):
        table_units(str(tmp_path))


@pytest.mark.parametrize("group_rows", [1, 3, 7, 100])
def test_splitting_a_file_covers_each_row_once_and_in_order(
    tmp_path: Path, group_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foreign, "FOREIGN_UNIT_ROWS", 6)
    ids = [f"pair-{number}" for number in range(20)]
    pq.write_table(scores(ids), tmp_path / "one.parquet", row_group_size=group_rows)
    pq.write_table(scores(["last"]), tmp_path / "two.parquet")
    units = table_units(str(tmp_path))
    assert ids_of(tmp_path) == [*ids, "last"]
    assert sum(unit.rows for unit in units) == 21
    digests = {unit.digest for unit in by_content(units)}
    assert len({unit.unit for unit in units}) == len(digests) == len(units)
    assert all(unit.rows >= 6 or unit.row_groups for unit in units)
    # groups of 1: 6 + 6 + 6 + 2 rows, and the second file.
    if group_rows == 1:
        assert [unit.rows for unit in units] == [6, 6, 6, 2, 1]


# Rules


def test_rules_come_from_the_file_of_our_own_scores(tmp_path: Path) -> None:
    stored = {RULES_METADATA: json.dumps(RULES.to_list())}
    pq.write_table(scores(["a"]).replace_schema_metadata(stored), tmp_path / "x.parquet")
    assert table_rules(table_units(str(tmp_path)), None) == RULES


def test_named_rules_win_over_stored_ones(tmp_path: Path) -> None:
    other = RuleSet([Rule("kind", "", "worse", Scale(0.0, 2.0))])
    stored = {RULES_METADATA: json.dumps(RULES.to_list())}
    pq.write_table(scores(["a"]).replace_schema_metadata(stored), tmp_path / "x.parquet")
    (tmp_path / "rules.yaml").write_text(other.to_yaml())
    assert table_rules(table_units(str(tmp_path)), RuleSet.load(tmp_path / "rules.yaml")) == other


def test_scores_made_elsewhere_need_their_rules_named(tmp_path: Path) -> None:
    pq.write_table(scores(["a"]), tmp_path / "x.parquet")
    with pytest.raises(ConfigError, match=r"name their rules.yaml, or put it beside the scores"):
        table_rules(table_units(str(tmp_path)), None)
    assert table_rules(table_units(str(tmp_path)), RuleSet.load(save_rules(tmp_path))) == RULES


def test_a_table_without_a_rules_columns_is_refused_with_the_rules_it_has(tmp_path: Path) -> None:
    pq.write_table(scores(["a"], chosen__safe=...), tmp_path / "x.parquet")
    with pytest.raises(
        DataError,
        match=r"has a column rejected__safe and no chosen__safe\. .*/rules\.yaml: rules names",
    ):
        table_rules(table_units(str(tmp_path)), RuleSet.load(save_rules(tmp_path)))


@pytest.mark.parametrize("content", [b"- name: caf\xe9", b"\xff\xfe-\x00"])
def test_rules_beside_a_table_that_are_no_text_are_named(tmp_path: Path, content: bytes) -> None:
    pq.write_table(pa.table({"pair_id": ["a"]}), tmp_path / "s.parquet")
    (tmp_path / "rules.yaml").write_bytes(content)
    with pytest.raises(DataError, match=r"rules\.yaml is not UTF-8 text.* It stands beside .*: mend it, or"):
        table_rules(table_units(str(tmp_path)), None)
    (tmp_path / "rules.yaml").unlink()
    (tmp_path / "rules.yaml").mkdir()
    with pytest.raises(DataError, match=r"rules\.yaml is a folder"):
        table_rules(table_units(str(tmp_path)), None)


@pytest.mark.parametrize("stored", [b"{", b"\xff\xfe", b"[" * 100_000])
def test_damaged_rules_in_a_file_are_named_with_the_remedy(tmp_path: Path, stored: bytes) -> None:
    table = pa.table({"pair_id": ["a"]}).replace_schema_metadata({b"encore_ray.rules": stored})
    pq.write_table(table, tmp_path / "s.parquet")
    with pytest.raises(DataError, match=r"s\.parquet carries rules that cannot be read.*with rules"):
        table_rules(table_units(str(tmp_path)), None)


def test_a_manifest_that_is_not_ours_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "manifest.parquet")
    (tmp_path / "_SUCCESS").touch()
    with pytest.raises(DataError, match=r"manifest\.parquet is no manifest of ours: it has the columns a"):
        table_units(str(tmp_path))


def test_a_table_without_a_row_is_refused(tmp_path: Path) -> None:
    pq.write_table(scores([]), tmp_path / "x.parquet")
    with pytest.raises(DataError, match="empty"):
        table_rules(table_units(str(tmp_path)), RuleSet.load(save_rules(tmp_path)))


# Scores


def read(tmp_path: Path, table: pa.Table, *, extra: tuple[str, ...] = ()) -> ScoreBlock:
    pq.write_table(table, tmp_path / "x.parquet")
    (unit,) = table_units(str(tmp_path / "x.parquet"))
    return read_scores(unit, RULES, extra=extra)


def test_scores_stay_in_float32_or_become_float64_and_null_is_nan(tmp_path: Path) -> None:
    block = read(
        tmp_path,
        scores(
            ["a", "b", "c"],
            chosen__kind=pa.array([1, 2, None], pa.int8()),
            chosen__safe=pa.array([0.5, 0.25, 0.75], pa.float16()),
            rejected__kind=pa.array([0.1, None, None], pa.float32()),
            rejected__safe=pa.array([None, 1.0, None], pa.float64()),
        ),
    )
    np.testing.assert_array_equal(block.chosen_KN[0], [1.0, 2.0, np.nan])
    np.testing.assert_array_equal(block.chosen_KN[1], [0.5, 0.25, 0.75])
    np.testing.assert_array_equal(block.rejected_KN[0], np.array([0.1, np.nan, np.nan], dtype=np.float32))
    assert [column.dtype for column in block.chosen_KN] == [np.float64, np.float64]
    assert [column.dtype for column in block.rejected_KN] == [np.float32, np.float64]
    # A response is there when any rule has scored it: a single missing score is a hole in the data, not a single.
    assert block.has_rejected_N.tolist() == [True, True, False]


def test_rejected_columns_that_are_null_throughout_make_singles(tmp_path: Path) -> None:
    block = read(tmp_path, scores(["a"], rejected__kind=pa.nulls(1), rejected__safe=pa.nulls(1)))
    assert block.has_rejected_N.tolist() == [False]
    assert np.isnan(block.rejected_KN[0][0])


@pytest.mark.parametrize("prompts", [["p", "q", "p"], ["p", None, None], ...])
@pytest.mark.parametrize("written", [{}, {"write_statistics": False}, {"row_group_size": 2}])
def test_scores_read_column_by_column_are_those_read_at_once(
    tmp_path: Path, prompts: object, written: dict[str, object]
) -> None:
    table = scores(
        ["a", "b", "c"],
        prompt_id=prompts,
        subset=["s", None, "t"],
        rejected__kind=[0.5, None, None],
        rejected__safe=pa.array([None, None, 0.25], pa.float32()),
    )
    pq.write_table(table, tmp_path / "x.parquet", **written)
    (unit,) = table_units(str(tmp_path / "x.parquet"))
    whole = read_scores(unit, RULES, extra=["subset"])
    with stream_scores(unit, RULES, extra=["subset"]) as block:
        np.testing.assert_array_equal(block.chosen_KN[1], whole.chosen_KN[1])
        for late, at_once in zip(block.rejected_KN, whole.rejected_KN, strict=True):
            np.testing.assert_array_equal(late, at_once)
            assert late.dtype == at_once.dtype
        assert len(block.chosen_KN) == len(block.rejected_KN) == 2
        assert block.has_rejected_N.tolist() == whole.has_rejected_N.tolist() == [True, False, True]
        assert list(block.keys) == list(whole.keys)
        assert list(block.pair_ids) == [block.pair_ids[row] for row in range(3)] == ["a", "b", "c"]
        assert list(block.subsets or []) == ["s", None, "t"]


@pytest.mark.parametrize("statistics", [True, False])
def test_pairs_without_an_id_are_refused_before_a_score_is_read(tmp_path: Path, statistics: bool) -> None:
    pq.write_table(scores(["a", "b"], pair_id=["a", None]), tmp_path / "x.parquet", write_statistics=statistics)
    (unit,) = table_units(str(tmp_path / "x.parquet"))
    with pytest.raises(DataError, match=r"x\.parquet: 1 rows have no pair_id"), stream_scores(unit, RULES):
        pass


def test_a_file_of_ours_that_was_changed_after_its_commit_is_refused(tmp_path: Path) -> None:
    run = Folder(str(tmp_path))
    table = PassTable(run.child("scores"), run, "score").open({})
    attempt = Attempt(table, "u0", "d")
    attempt.write(scores(["a"]))
    attempt.commit({"rows": 1})
    table.seal(["u0"], table.commits(), {})
    pq.write_table(scores(["b"]), tmp_path / "scores" / attempt.data[0].file)
    (unit,) = table_units(table.folder.uri)
    with pytest.raises(DataError, match="not what its commit says"), stream_scores(unit, RULES):
        pass


@pytest.mark.parametrize("column", ["pair_id", "rejected__safe"])
def test_a_file_without_a_needed_column_is_named(tmp_path: Path, column: str) -> None:
    with pytest.raises(DataError, match=rf"x\.parquet lacks the column {column}\."):
        read(tmp_path, scores(["a"], **{column: ...}))


def test_pairs_without_an_id_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"x\.parquet: 2 rows have no pair_id"):
        read(tmp_path, scores(["a", "b", "c"], pair_id=["a", None, None]))


@pytest.mark.parametrize("values", [["0.5"], [True], [[0.5]]])
def test_scores_that_are_no_numbers_are_refused_with_what_they_are(tmp_path: Path, values: list[object]) -> None:
    with pytest.raises(DataError, match=r"x\.parquet: column chosen__kind must hold numbers, found "):
        read(tmp_path, scores(["a"], chosen__kind=values))


def test_numbers_as_ids_are_read_as_texts(tmp_path: Path) -> None:
    assert list(read(tmp_path, scores(["a", "b"], pair_id=[7, 8])).pair_ids) == ["7", "8"]
    assert list(read(tmp_path, scores(["a", "b"], pair_id=[b"7", b"8"])).pair_ids) == ["7", "8"]


def test_rows_of_one_prompt_are_resampled_together(tmp_path: Path) -> None:
    table = scores(["a", "b", "c"], prompt_id=["p", None, None], group_id=["g", "g", None], subset=["s", None, "t"])
    block = read(tmp_path, table, extra=("subset",))
    assert list(block.keys) == ["p", "g", "c"]
    assert block.subsets is not None
    assert list(block.subsets) == ["s", None, "t"]
    assert read(tmp_path, scores(["a"])).subsets is None


def test_names_with_dots_are_columns_and_not_paths(tmp_path: Path) -> None:
    """`a.b` is a name; Parquet readers that take texts for paths look for a field b in a."""
    rules = RuleSet([Rule("v1.2-x", "", "better", Scale(0.0, 1.0))])
    table = pa.table(
        {"pair_id": ["a"], "chosen__v1.2-x": [0.5], "rejected__v1.2-x": [0.25], "chosen__v1": [{"2-x": 1}]}
    )
    pq.write_table(table, tmp_path / "x.parquet")
    (unit,) = table_units(str(tmp_path))
    block = read_scores(unit, rules)
    assert (block.chosen_KN[0][0], block.rejected_KN[0][0]) == (0.5, 0.25)
    assert block.table.column_names == ["pair_id", "chosen__v1.2-x", "rejected__v1.2-x"]
