"""Whatever form a table of scores has, it gives the digits of the same table in ours, and is known by its bytes."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import encore_ray
from encore_ray import Rule, RuleSet, Scale
from encore_ray.folder.reading.tables import by_content, table_units
from encore_ray.foreign import files
from encore_ray.foreign.form.naming import Naming
from encore_ray.foreign.table import score_table
from encore_ray.foreign.turn import long, turning
from encore_ray.storage import Folder
from tests.foreign import shapes

RULE_SET = RuleSet(Rule(name, name, "better", Scale(0.0, 1.0)) for name in shapes.RULES)
UNNAMED = Naming()
EVERY = pytest.mark.parametrize(("file", "write"), shapes.SHAPES.values(), ids=[*shapes.SHAPES])

pytestmark = pytest.mark.filterwarnings("ignore::encore_ray.errors.AssumedWarning")  # of rows without a score


def read(path: Path, naming: Naming = UNNAMED) -> tuple[pa.Table, list[str]]:
    """The table in the form of ours, sorted by id, and what is told of it."""
    with score_table(str(path), naming, rules=None, scratch=Folder(str(path.parent / "scratch"))) as table:
        found = pa.concat_tables([unit.read_all() for unit in table_units(table.uri)], promote_options="permissive")
        sentences = table.account.sentences() if table.account else []
    assert not list((path.parent / "scratch").glob("*"))
    order = pd.Series(found["pair_id"].to_pylist()).astype(int).argsort(kind="stable")
    return found.take(pa.array(order)), sentences


def digests(path: Path) -> list[str]:
    with score_table(str(path), Naming(), rules=None, scratch=Folder(str(path.parent / "scratch"))) as table:
        return [unit.digest for unit in by_content(table_units(table.uri))]


@EVERY
def test_every_shape_is_the_same_table(file: str, write: Callable[[Path], None], tmp_path: Path) -> None:
    write(tmp_path / file)
    found, sentences = read(tmp_path / file)
    expected = shapes.own()
    assert found["pair_id"].to_pylist() == expected["pair_id"].tolist()
    for rule in shapes.RULES:
        for side in ("chosen", "rejected"):
            name = (
                f"{side}__{rule}"
                if f"{side}__{rule}" in found.column_names
                else f"{side}__rule_{shapes.RULES.index(rule) + 1}"
            )
            assert (
                found[name].to_pylist()
                == expected[f"{side}__{rule}"].astype(object).where(expected[f"{side}__{rule}"].notna(), None).tolist()
            )
    assert sentences[0].startswith(f"{tmp_path / file}: 58 pairs under 3 rules: ")  # 60 rows, of which 2 have no score
    assert any(sentence.startswith("left out: ") for sentence in sentences)


@EVERY
def test_weights_and_rewards_have_the_digits_of_our_own_table(
    file: str, write: Callable[[Path], None], tmp_path: Path
) -> None:
    write(tmp_path / file)
    expected = encore_ray.weigh(shapes.own(), RULE_SET)
    made = encore_ray.weigh(tmp_path / file, RULE_SET)
    assert made.weights.to_dict() == expected.weights.to_dict()
    columns = ["chosen_reward", "rejected_reward", "margin"]
    rewards = encore_ray.compose(tmp_path / file, made).to_pandas().set_index("pair_id")[columns]
    of_own = encore_ray.compose(shapes.own(), expected).to_pandas().set_index("pair_id")[columns]
    pd.testing.assert_frame_equal(rewards.loc[of_own.index], of_own, check_exact=True)


def test_a_table_is_known_by_its_bytes(tmp_path: Path) -> None:
    shapes.text(shapes.frame(), tmp_path / "x.csv")
    (tmp_path / "copied").mkdir()
    shutil.copy(tmp_path / "x.csv", tmp_path / "copied" / "y.csv")
    assert digests(tmp_path / "x.csv") == digests(tmp_path / "copied") == digests(tmp_path / "copied" / "y.csv")
    shapes.text(shapes.frame()[::-1], tmp_path / "x.csv")
    assert digests(tmp_path / "x.csv") != digests(tmp_path / "copied")


def test_our_own_form_is_read_where_it_lies(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pandas(shapes.own()), tmp_path / "x.parquet")
    with score_table(str(tmp_path / "x.parquet"), Naming(), rules=None, scratch=Folder("/nowhere")) as table:
        assert table.uri == str(tmp_path / "x.parquet")
        assert table.account is None


@pytest.mark.parametrize("name", ["comma", "lists", "a row a score, shuffled"])
def test_parts_of_a_large_table_add_up_to_it(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, write = shapes.SHAPES[name]
    write(tmp_path / file)
    whole, said = read(tmp_path / file)
    monkeypatch.setattr(files, "PART_ROWS", 7)
    monkeypatch.setattr(turning, "PART_PAIRS", 7)
    monkeypatch.setattr(long, "PARTITION_SCORES", 50)
    monkeypatch.setattr(long, "_PARTITIONS", 3)
    in_parts, said_of_parts = read(tmp_path / file)
    assert in_parts.select(whole.column_names).equals(whole)
    assert said_of_parts == said


def test_files_of_a_folder_are_one_table(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    made = shapes.frame()
    shapes.text(made[:40], tmp_path / "parts" / "a.csv")
    shapes.text(made[40:][made.columns[::-1]], tmp_path / "parts" / "b.csv")  # in another order
    shapes.text(made, tmp_path / "whole.csv")
    assert read(tmp_path / "parts")[0].equals(read(tmp_path / "whole.csv")[0])


def test_columns_of_any_name_are_read_where_they_are_named(tmp_path: Path) -> None:
    made = shapes.frame("s_{rule}_{side}").rename(columns=lambda c: c.replace("chosen", "a").replace("rejected", "b"))
    made = made.mask(made.isna().any(axis=1))  # no single response: sides are swapped
    made.insert(0, "uid", [1000.0 + row for row in range(60)])  # whole numbers with a hole became floats
    shapes.text(made.assign(kind="x"), tmp_path / "x.csv")
    made.assign(kind="x").to_parquet(tmp_path / "x.parquet")
    naming = Naming("s_{rule}_a", "s_{rule}_b", {"pair_id": "uid", "subset": "kind"})
    from_text, said = read(tmp_path / "x.csv", Naming(naming.chosen, naming.rejected, {"subset": "kind"}))
    assert from_text["subset"].to_pylist() == ["x"] * 57
    assert from_text["uid"].to_pylist()[0] == "1000.0"  # not asked for: as it stands there
    assert "kind is subset" in said
    typed, _ = read(tmp_path / "x.parquet", naming)
    assert typed["pair_id"].to_pylist()[:2] == ["1000", "1001"]
    swapped, _ = read(tmp_path / "x.csv", Naming("s_{rule}_b", "s_{rule}_a"))
    assert swapped["chosen__polite"].to_pylist() == from_text["rejected__polite"].to_pylist()


def test_names_that_no_rules_file_may_have_are_made_into_some_that_it_may(tmp_path: Path) -> None:
    made = shapes.own().rename(columns=lambda name: name.replace("polite", "is it polite?"))
    made.to_parquet(tmp_path / "x.parquet")
    found, _ = read(tmp_path / "x.parquet")
    assert found["chosen__is_it_polite"].to_pylist() == read_own("chosen__polite")
    weights = encore_ray.weigh(tmp_path / "x.parquet")
    assert [rule.name for rule in weights.rules] == ["harmless", "honest", "is_it_polite"]


def test_what_is_missing_at_first_is_told_by_what_comes_later(tmp_path: Path) -> None:
    made = shapes.frame()
    late = pd.concat([made.iloc[:0].reindex(range(300)), made])
    shapes.text(late[made.columns], tmp_path / "late.csv", na_rep="NA")
    assert read(tmp_path / "late.csv")[0]["chosen__harmless"].to_pylist()[-1] == made["harmless_chosen"].iloc[-1]
    single = made.assign(**{name: "n/a" for name in made.columns if name.endswith("rejected")})
    shapes.text(single, tmp_path / "single.csv")
    found, _ = read(tmp_path / "single.csv")
    assert found["rejected__polite"].null_count == found.num_rows == 58


def test_one_rule_has_the_name_that_is_known(tmp_path: Path) -> None:
    made = shapes.frame("score_{side}_{rule}").iloc[:, [0, 3]]
    made.set_axis(["score_chosen", "score_rejected"], axis=1).to_parquet(tmp_path / "x.parquet")
    assert [rule.name for rule in encore_ray.weigh(tmp_path / "x.parquet").rules] == ["score"]
    weights = encore_ray.weigh(tmp_path / "x.parquet", ["helpful"])
    assert [rule.name for rule in weights.rules] == ["helpful"]
    assert encore_ray.compose(tmp_path / "x.parquet", weights).table.num_rows == 58


def read_own(name: str) -> list[float]:
    return shapes.own()[name].tolist()


def test_a_table_in_a_store_is_read_there() -> None:
    store = Folder("memory://tables_of_scores")
    store.write_atomic("x.csv", shapes.frame().to_csv(index=False).encode())
    store.write_atomic("weights/weights.json", b"{}")
    expected = encore_ray.weigh(shapes.own(), RULE_SET).weights
    assert encore_ray.weigh(store.path("x.csv"), RULE_SET).weights == expected
    assert encore_ray.weigh(store.uri, RULE_SET).weights == expected
