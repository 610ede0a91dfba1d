"""What cannot be told of a table is refused in a sentence that names what decides; nothing is guessed in silence."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from encore_ray.errors import ConfigError, DataError, EncoreError
from encore_ray.foreign.naming import Naming
from encore_ray.foreign.table import score_table
from encore_ray.storage import Folder
from tests.foreign import shapes

HEAD = "harm_chosen,harm_rejected\n"
Written = str | Callable[[Path], object]


def renamed(**names: str) -> Callable[[Path], object]:
    return lambda path: shapes.text(shapes.frame().rename(columns=names), path)


def of(columns: dict[str, object]) -> Callable[[Path], object]:
    return lambda path: pd.DataFrame(columns).to_parquet(path)


UNSURE: dict[str, tuple[str, Written, Naming, type[EncoreError], str]] = {
    "which side is chosen": (
        "x.csv",
        "score_harm_a,score_harm_b\n.5,.4\n",
        Naming(),
        ConfigError,
        "score_harm_a and score_harm_b belong together, "
        ".* --chosen 'score_{rule}_a' --rejected 'score_{rule}_b', or the other way",
    ),
    "which side is chosen, first": (
        "x.csv", "a.harm,b.harm\n.5,.4\n", Naming(), ConfigError, "--chosen 'a.{rule}' --rejected 'b.{rule}'",
    ),
    "several lists": (
        "x.parquet",
        of({f"{side}_{what}": [[0.5, 1.0]] for side in ("chosen", "rejected") for what in ("scores", "others")}),
        Naming(),
        ConfigError,
        "several columns may hold the scores: chosen_scores and rejected_scores, chosen_others and rejected_",
    ),
    "lists and numbers": (
        "x.parquet",
        of({**{f"{s}_all": [[0.5, 1.0]] for s in ("chosen", "rejected")}, "chosen_x": [0.5], "rejected_x": [0.5]}),
        Naming(),
        ConfigError,
        "several columns may hold the scores: chosen_x and rejected_x, chosen_all and rejected_all",
    ),
    "no scores": ("x.csv", "prompt,chosen,rejected\nHi,Yes,No\n", Naming(), DataError, "no scores are seen: .*--ch"),
    "lengths are none": (
        "x.csv", "chosen_tokens,rejected_tokens,chosen_len,rejected_len\n5,6,5,6\n", Naming(), DataError, "no scores",
    ),
    "one side of ours": ("x.csv", "chosen__a,rejected__b\n1,2\n", Naming(), DataError, "of a, b it has one of the two"),
    "ids of a row a score": (
        "x.csv", "id,uid,rule,side,score\n1,1,a,chosen,1\n", Naming(), ConfigError, "found id, uid. Name it by --map",
    ),
    "sides of a row a score": (
        "x.csv", "id,rule,side,score\n1,a,left,1\n", Naming(), ConfigError, "says left, .* --chosen VALUE --rejected",
    ),
    "a score twice": (
        "x.csv", "id,rule,side,score\n7,a,chosen,1\n7,a,chosen,1\n", Naming(), DataError, "pair 7 under a: each pair",
    ),
    "half of a row a score": (
        "x.csv", "id,which,v\n1,a,1\n", Naming(columns={"rule": "which"}), ConfigError, "a row a score needs side, sc",
    ),
    "a column that is not there": (
        "x.csv", f"{HEAD}.5,.4\n", Naming(columns={"pair_id": "uid"}), ConfigError, "no column 'uid'; found harm_",
    ),
    "a pattern that fits nothing": ("x.csv", f"{HEAD}.5,.4\n", Naming("a_{rule}", "b_{rule}"), ConfigError, "do not"),
    "a pattern that fits half": (
        "x.csv", "a_x,a_y,b_x\n1,2,3\n", Naming("a_{rule}", "b_{rule}"), ConfigError, "of y one side is there",
    ),
    "a column of texts": ("x.csv", "p,q\nyes,no\n", Naming("p", "q"), DataError, "column p must hold numbers"),
    "a text among numbers": (
        "x.csv", f"{HEAD}.5,.4\n.5,.4\n" + ".5,.4\n" * 300 + ".1,high\n", Naming(), DataError,
        "column harm_rejected, row 303: 'high' is no number",
    ),
    "a decimal comma between quotes": (
        "x.csv", f'{HEAD}"0,5","0,4"\n', Naming(), DataError, "no scores are seen",
    ),
    "a decimal comma later": (
        "x.csv", HEAD + ".5,.4\n" * 300 + '"0,5",.4\n', Naming(), DataError, "'0,5' is no number: write decimals",
    ),
    "a point among decimal commas": (
        "x.csv", "harm_chosen;harm_rejected\n" + "0,5;0,4\n" * 300 + "0.5;0,4\n", Naming(), DataError,
        "row 301: '0.5' is no number: decimals have a comma in this table",
    ),
    "names twice": ("x.csv", "harm_chosen,harm_chosen\n.5,.4\n", Naming(), DataError, "two columns of the same name"),
    "a row too short": ("x.csv", f"{HEAD}.5,.4\n.5\n", Naming(), DataError, "Expected 2 columns, got 1.*Every row has"),
    "LATIN-1": (
        "x.csv", lambda path: path.write_bytes(f"{HEAD[:-1]},é\n.5,.4,é\n".encode("latin1")), Naming(), DataError,
        "not in UTF-8",
    ),
    "UTF-16": ("x.csv", lambda path: path.write_text(f"{HEAD}.5,.4\n", "utf-16-le"), Naming(), DataError, "iconv"),
    "no row": ("x.csv", HEAD, Naming(), DataError, "it has no row"),
    "nothing": ("x.csv", "", Naming(), DataError, "it has no row"),
    "lists of two lengths": (
        "x.parquet",
        of({"chosen_scores": [[0.5, 1.0], [0.5]], "rejected_scores": [[0.5, 1.0]] * 2}),
        Naming(),
        DataError,
        "column chosen_scores, row 2: a list of 1 scores, where others have 2",
    ),
    "lists in two orders": (
        "x.parquet",
        of(
            {
                **{f"{side}_scores": [[0.5, 1.0]] * 2 for side in ("chosen", "rejected")},
                "rule_names": [["a", "b"], ["b", "a"]],
            }
        ),
        Naming(),
        DataError,
        "column rule_names, row 2: the scores are of b, a, those of the first row of a, b",
    ),
    "an array of numpy in text": (
        "x.csv", "chosen_scores,rejected_scores\n[0.1 0.2],[0.3 0.4]\n", Naming(), DataError, "loses its commas in",
    ),
    "ids that became floats": (
        "x.parquet",
        of({"uid": [4873214862074861312.0, np.nan], "harm_chosen": [0.5, 0.5], "harm_rejected": [0.4, 0.4]}),
        Naming(columns={"pair_id": "uid"}),
        DataError,
        "column uid holds whole numbers as floats, which are the same for several ids .*astype\\('Int64'\\)",
    ),
    "a broken line": ("x.jsonl", '{"harm_chosen": 1, "harm_rejected": 0}\n{"harm', Naming(), DataError, "line 2"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNSURE)
def test_what_cannot_be_told_is_refused(name: str, tmp_path: Path) -> None:
    file, written, naming, kind, said = UNSURE[name]
    path = tmp_path / file
    path.write_text(written) if isinstance(written, str) else written(path)
    with (
        pytest.raises(kind, match=said) as caught,
        score_table(str(path), naming, rules=None, scratch=Folder(str(tmp_path / "scratch"))),
    ):
        pass
    assert str(path) in str(caught.value)
    assert not list(tmp_path.glob("scratch/*"))


def test_lists_have_a_score_for_each_rule_that_is_known(tmp_path: Path) -> None:
    shapes.lists().to_parquet(tmp_path / "x.parquet")
    with (
        pytest.raises(DataError, match="lists of 3 scores, and there are 2 rules"),
        score_table(str(tmp_path / "x.parquet"), Naming(), rules=["a", "b"], scratch=Folder(str(tmp_path / "scratch"))),
    ):
        pass


def test_a_folder_of_tables_is_none(tmp_path: Path) -> None:
    for name in ("pairs/data", "scores/data"):
        (tmp_path / "run" / name).mkdir(parents=True)
        shapes.own().to_parquet(tmp_path / "run" / name / "0.parquet")
    with (
        pytest.raises(ConfigError, match=r"no table lies in this folder\. Name the one in it that holds"),
        score_table(str(tmp_path / "run"), Naming(), rules=None, scratch=Folder(str(tmp_path / "scratch"))),
    ):
        pass


def test_a_folder_of_several_kinds_is_refused(tmp_path: Path) -> None:
    shapes.text(shapes.frame(), tmp_path / "x.csv")
    shapes.json_lines(tmp_path / "x.jsonl")
    with (
        pytest.raises(ConfigError, match="files of several kinds: csv, jsonl"),
        score_table(str(tmp_path), Naming(), rules=None, scratch=Folder(str(tmp_path / "scratch"))),
    ):
        pass


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Naming(rejected="x"), "--rejected needs --chosen"),
        (lambda: Naming("{rule}_a", "b"), "both have {rule} in them, or neither"),
        (lambda: Naming(columns={"id": "x"}), "--map id=…: known names are pair_id, prompt_id"),
    ],
)
def test_names_that_say_nothing_are_refused(make: Callable[[], object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make()


def test_a_table_of_a_pass_has_names_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "commits").mkdir()
    with (
        pytest.raises(ConfigError, match="its columns have no other names"),
        score_table(str(tmp_path), Naming("a", "b"), rules=None, scratch=Folder(str(tmp_path / "scratch"))),
    ):
        pass
