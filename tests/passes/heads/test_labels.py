"""Labels beside embeddings: found where a table keeps them, and matched by pair."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from encore_ray.composition.hashing.keys import folds_of
from encore_ray.composition.heads.label_counts import LabelCounts
from encore_ray.errors import DataError
from encore_ray.passes.heads.labels import LabelledResponses, LabelledUnit, find_labels, labelled_units, read_responses
from encore_ray.rules import Rule, RuleSet, Scale
from encore_ray.storage import Folder

RULES = RuleSet(
    [
        Rule("kind", "Is kind.", "better", Scale(1.0, 5.0)),
        Rule("asked", "Is asked.", "worse", Scale(-1.0, 1.0)),
    ]
)
IDS = ["a", "b", "c", "d"]


def units(folder: Path, labels: dict[str, pa.Array], *, ids: list[str] = IDS, singles: bool = False) -> LabelledUnit:
    """Four pairs of embeddings (chosen i, 0 and rejected 0, i; the third is a single response), and a label table."""
    vectors = np.zeros((2, 4, 2), dtype=np.float16)
    vectors[0, :, 0] = vectors[1, :, 1] = np.arange(4)
    vectors[1, slice(None) if singles else 2] = np.nan
    sides = [pa.FixedSizeListArray.from_arrays(pa.array(side.ravel()), 2) for side in vectors]
    table = {
        "pair_id": IDS,
        "prompt_id": ["p", "p", "q", "r"],
        "chosen_embedding": sides[0],
        "rejected_embedding": sides[1],
    }
    place = Folder(str(folder))
    place.write_table("embeddings.parquet", pa.table(table))
    plain = pa.table({"pair_id": ids, **labels})
    # As prepare marks objects that it keeps as text.
    fields = [f.with_metadata({b"encoding": b"json"}) if f.name == "labels" else f for f in plain.schema]
    place.write_table("labels.parquet", plain.cast(pa.schema(fields)))
    (unit,) = labelled_units(str(folder / "embeddings.parquet"), str(folder / "labels.parquet"))
    return unit


def read(unit: LabelledUnit, rules: RuleSet = RULES) -> LabelledResponses:
    return read_responses(unit, rules, find_labels([unit.labels], rules))


def test_labels_of_pairs_are_matched_by_id_and_responses_without_any_are_left_out(tmp_path: Path) -> None:
    unit = units(
        tmp_path,
        {
            "chosen__kind": pa.array([5.0, None, 2.0]),
            "rejected__kind": pa.array([3.0, None, 4.0]),
            "chosen__asked": pa.array([True, None, None]),
            "rejected__asked": pa.array([False, True, None]),
        },
        ids=["d", "b", "c"],  # another order, and a is not there
    )
    found = read(unit)
    # Chosen c and d, rejected b and d; the rejected side of c does not exist.
    np.testing.assert_array_equal(found.embedding_ND, [[2, 0], [3, 0], [0, 1], [0, 3]])
    np.testing.assert_array_equal(found.label_NK, [[2, np.nan], [5, 1], [np.nan, 1], [3, -1]])
    np.testing.assert_array_equal(found.fold_N, folds_of(["q", "r", "p", "r"]))


@pytest.mark.parametrize("layout", ["columns", "struct", "json"])
def test_labels_of_single_responses_are_a_column_or_a_field_of_the_rules_name(tmp_path: Path, layout: str) -> None:
    columns = {"kind": pa.array([1, 2, 3, 4]), "asked": pa.array([True, False, None, True])}
    structs = pa.StructArray.from_arrays(list(columns.values()), list(columns))
    texts = pa.array([json.dumps(value) for value in structs.to_pylist()])
    labels = {"columns": columns, "struct": {"labels": structs}, "json": {"labels": texts}}[layout]
    found = read(units(tmp_path, labels, singles=True))
    np.testing.assert_array_equal(found.label_NK, [[1, 1], [2, -1], [3, np.nan], [4, 1]])
    np.testing.assert_array_equal(found.embedding_ND[:, 0], [0, 1, 2, 3])


def test_labels_of_a_rule_that_clips_are_clipped(tmp_path: Path) -> None:
    unit = units(tmp_path, {"kind": pa.array([0.5, 2, 5.5, np.inf])}, singles=True)
    assert read(unit, RuleSet([RULES[0]])).label_NK[:, 0].tolist() == [0.5, 2, 5.5, np.inf]
    clipped = dataclasses.replace(RULES[0], out_of_range="clip")
    assert read(unit, RuleSet([clipped])).label_NK[:, 0].tolist() == [1, 2, 5, np.inf]


def test_a_label_of_one_response_is_refused_where_there_are_two(tmp_path: Path) -> None:
    unit = units(tmp_path, {"kind": pa.array([1, 2, 3, 4]), "asked": pa.array([1, 1, 1, 1])})
    with pytest.raises(DataError, match=r"kind labels one response, but there are pairs\. Give chosen__kind"):
        read(unit)


def test_missing_rules_and_labels_that_are_no_numbers_are_named(tmp_path: Path) -> None:
    unit = units(tmp_path, {"kind": pa.array(["good"] * 4)}, singles=True)
    with pytest.raises(DataError, match=r"has no labels of asked\. Expected chosen__asked and rejected__asked"):
        read(unit)
    with pytest.raises(DataError, match="labels kind must be numbers or booleans, found string"):
        read(unit, RuleSet([RULES[0]]))


def test_tables_of_different_runs_are_refused(tmp_path: Path) -> None:
    unit = units(tmp_path, {})
    Folder(str(tmp_path)).write_table("other/00.parquet", pa.table({"pair_id": IDS}))
    Folder(str(tmp_path)).write_table("other/01.parquet", pa.table({"pair_id": IDS}))
    with pytest.raises(DataError, match="different runs"):
        labelled_units(str(tmp_path / "other"), unit.labels.folder.path("labels.parquet"))


def test_a_field_that_the_first_units_lack_is_found_in_a_later_one(tmp_path: Path) -> None:
    first = units(tmp_path / "1", {"labels": pa.array(['{"kind": 2}', None, "{}", '"?"'])}, singles=True)
    second = units(tmp_path / "2", {"labels": pa.array(['{"asked": true}', None, "{}", '{"kind": 3}'])}, singles=True)
    places = find_labels([first.labels, second.labels], RULES)
    assert read_responses(first, RULES, places).label_NK[:, 0].tolist() == [2]
    np.testing.assert_array_equal(read_responses(second, RULES, places).label_NK, [[np.nan, 1], [3, np.nan]])


def test_whole_numbers_that_float64_rounds_are_labels_and_longer_ones_in_objects_are_named(tmp_path: Path) -> None:
    rules = RuleSet([RULES[0]])
    plain = units(tmp_path / "1", {"kind": pa.array([2**60 + 1, 2, 3, 4])}, singles=True)
    assert read(plain, rules).label_NK[:, 0].tolist() == [2.0**60, 2, 3, 4]
    huge = units(tmp_path / "2", {"labels": pa.array([f'{{"kind": {10**30}}}'] * 4)}, singles=True)
    with pytest.raises(DataError, match=r"labels has fields of no one type: .* too large"):
        read(huge, rules)


def test_every_response_has_a_mark_of_its_own_whatever_prompt_it_answers(tmp_path: Path) -> None:
    labels = {f"{side}__{name}": pa.array([1.0] * 4) for side in ("chosen", "rejected") for name in RULES.names}
    found = read(units(tmp_path, labels))
    assert len(found.mark_N) == len(set(found.mark_N.tolist())) == 7
    assert len(set(found.hash_N.tolist())) == 3


def counts(label_NK: list[list[float]]) -> LabelCounts:
    mark_N = np.arange(1, len(label_NK) + 1, dtype=np.uint64) * np.uint64(2**60 + 7)
    return LabelCounts.of(np.array(label_NK), mark_N, rules=RULES)


def test_rules_with_labels_on_the_same_responses_are_of_one_group() -> None:
    same, other = counts([[1, 1], [np.nan, np.nan], [5, -1]]), counts([[1, np.nan], [np.nan, 1]])
    assert same.groups == [[0, 1]]
    assert other.groups == [[0], [1]]  # as many labels, of other responses
    assert (same + other).groups == [[0], [1]]
    assert (same + other).group_K == [0, 1]


def test_labels_are_yes_or_no_where_all_are_at_the_ends_of_the_scale() -> None:
    found = counts([[1, 1], [3, -1], [5, np.nan]])
    assert found.is_yes_no_K.tolist() == [False, True]
    assert found.num_high_K.tolist() == [1, 1]


def test_labels_outside_of_their_scale_and_rules_without_labels_are_refused() -> None:
    with pytest.raises(DataError, match=r"kind: 2 of 3 outside 1 to 5; asked: 1 of 1 outside -1 to 1"):
        counts([[0, np.nan], [6, 2], [5, np.nan]]).check(RULES, where="scores/")
    with pytest.raises(DataError, match="scores/ has not one label of asked"):
        counts([[1, np.nan]]).check(RULES, where="scores/")


def test_a_rule_whose_labels_are_all_the_same_has_nothing_to_teach() -> None:
    with pytest.raises(DataError, match=r"the same in scores/, .*: asked \(3 of -1\)\. A head of such"):
        counts([[1, -1], [3, -1], [5, -1]]).check(RULES, where="scores/")
    counts([[1, -1], [3, 1], [3, np.nan]]).check(RULES, where="scores/")
