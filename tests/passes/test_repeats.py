"""A pair counts once: ids that a table made elsewhere holds twice are found, however it is cut, and named."""

import resource
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import encore_ray
from encore_ray.engine.local import LocalEngine
from encore_ray.engine.work.reduce import Reducer
from encore_ray.errors import ConfigError, DataError
from encore_ray.folder.reading import foreign
from encore_ray.folder.reading.tables import table_units
from encore_ray.passes import repeats
from encore_ray.passes.repeats import refuse_foreign_repeats
from tests.passes.test_foreign_scores import RULES, run, scores


def refuse(uri: Path) -> None:
    refuse_foreign_repeats(table_units(str(uri)), Reducer(LocalEngine()))


def write(path: Path, ids: list[Any], **options: Any) -> None:
    pq.write_table(pa.table({"pair_id": ids}), path, **options)


@given(
    ids=st.lists(st.integers(0, 30), min_size=1, max_size=30),
    group_rows=st.integers(1, 9),
    partition_rows=st.sampled_from([3, 1 << 24]),
)
def test_a_repeated_id_is_found_for_any_row_groups_and_partitions(
    tmp_path_factory: pytest.TempPathFactory, ids: list[int], group_rows: int, partition_rows: int
) -> None:
    folder = tmp_path_factory.mktemp("ids")
    write(folder / "x.parquet", ids, row_group_size=group_rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(repeats, "PARTITION_ROWS", partition_rows)
        patch.setattr(foreign, "FOREIGN_UNIT_ROWS", 4)
        if len(set(ids)) == len(ids):
            refuse(folder)
            return
        with pytest.raises(DataError, match="occur more than once") as caught:
            refuse(folder)
    first = str(caught.value).partition("once: '")[2].partition("'")[0]
    assert ids.count(int(first)) > 1


def test_no_room_for_temporary_files_is_said_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "x.parquet", [str(number) for number in range(4000)])
    monkeypatch.setattr(repeats, "PARTITION_ROWS", 2000)
    refuse(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(ConfigError, match=r"Cannot write temporary files in .* set TMPDIR"):
            refuse(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_the_same_file_twice_is_named_by_its_two_places(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", ["p", "q"])
    (tmp_path / "b.parquet").symlink_to(tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"2 pair_ids of .* more than once: 'p', 'q' \(.*a\.parquet, .*b\.parquet\)"):
        refuse(tmp_path)


def test_pairs_without_an_id_are_named_as_such(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", ["p", None, None])
    with pytest.raises(DataError, match=r"a\.parquet: 2 rows have no pair_id"):
        refuse(tmp_path)


def test_no_command_counts_a_pair_of_a_table_made_elsewhere_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rules.yaml").write_text(RULES)
    (tmp_path / "twice").mkdir()
    pq.write_table(scores(), tmp_path / "one.parquet")
    for name in ("a", "b"):
        shutil.copy(tmp_path / "one.parquet", tmp_path / "twice" / f"{name}.parquet")
    rules = ("--rules", tmp_path / "rules.yaml")
    weights, rewards = tmp_path / "w.json", tmp_path / "rewards"
    assert run("weigh", "--scores", tmp_path / "one.parquet", "--output", weights) == 0
    assert run("compose", "--scores", tmp_path / "one.parquet", "--weights", weights, "--output", rewards) == 0
    data = tmp_path / "copied"  # rewards without a plan, one file of them twice
    shutil.copytree(rewards / "data", data)
    shutil.copy(rewards / "weights.json", data)
    assert run("evaluate", "--rewards", data, "--output", tmp_path / "once") == 0
    shutil.copy(next(data.glob("*.parquet")), data / "again.parquet")
    again = ("--scores", tmp_path / "twice", *rules)
    capsys.readouterr()
    for words in (
        ("weigh", *again, "--output", tmp_path / "w2.json"),
        ("compose", *again, "--weights", weights, "--output", tmp_path / "rewards2"),
        ("compare", *again, "--output", tmp_path / "compared"),
        ("compare", "--scores", tmp_path / "one.parquet", "--beside", f"other={data}", "--output", tmp_path / "c"),
        ("evaluate", "--rewards", data, "--output", tmp_path / "evaluated"),
    ):
        assert run(*words) == 3, words
        assert "600 pair_ids of" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "w2.json").exists()
    table = pa.concat_tables([scores(), scores()])
    for do in (encore_ray.weigh, encore_ray.compare):
        with pytest.raises(DataError, match="600 pair_ids of scores occur more than once"):
            do(table, rules=str(tmp_path / "rules.yaml"))


def test_scores_rewritten_in_place_under_the_same_size_and_time_are_not_resumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rewards of before were kept; so were those of scores whose rows were in another order."""
    import os

    (tmp_path / "rules.yaml").write_text(RULES)
    path, weights, rewards = tmp_path / "s.parquet", tmp_path / "w.json", tmp_path / "rewards"
    plain: dict[str, Any] = {"compression": "none", "use_dictionary": False}
    pq.write_table(scores(), path, **plain)
    composing = ("compose", "--scores", path, "--weights", weights, "--output", rewards)
    assert run("weigh", "--scores", path, "--output", weights) == 0
    assert run(*composing) == 0
    state = path.stat()
    table = scores()
    turned = table.take(list(range(table.num_rows))[::-1]).set_column(0, "pair_id", table.column("pair_id"))
    pq.write_table(turned, path, **plain)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    capsys.readouterr()
    assert run(*composing) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "was made from input" in said and f"({path})" in said
    assert run(*composing, "--overwrite") == 0
