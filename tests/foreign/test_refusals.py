"""What cannot be told of a table is refused in a sentence that names what decides; nothing is guessed in silence."""

import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from encore_ray.errors import ConfigError, DataError, EncoreError
from encore_ray.folder.reading.tables import table_units
from encore_ray.foreign.form.naming import Naming
from encore_ray.foreign.form.sides import WORDS
from encore_ray.foreign.look import look_at
from encore_ray.foreign.table import score_table
from encore_ray.shell import called_as
from encore_ray.storage import Folder
from tests.foreign import shapes

HEAD = "harm_chosen,harm_rejected\n"
SIDES = ("chosen", "rejected")
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
        "score_harm_a and score_harm_b belong together, .*Say it, one way or the other:\n  "
        ".*weigh --scores x --output w.json --chosen 'score_{rule}_a' --rejected 'score_{rule}_b'\n  "
        ".*weigh --scores x --output w.json --chosen 'score_{rule}_b' --rejected 'score_{rule}_a'$",
    ),
    "which side is chosen, first": (
        "x.csv", "a.harm,b.harm\n.5,.4\n", Naming(), ConfigError, "--chosen 'a.{rule}' --rejected 'b.{rule}'\n",
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
    "no scores": ("x.csv", "prompt,chosen,rejected\nHi,Yes,No\n", Naming(), DataError, "(?s)no scores .* --map p"),
    "lengths are none": (
        "x.csv", "chosen_tokens,rejected_tokens,chosen_len,rejected_len\n5,6,5,6\n", Naming(), DataError, "no scores",
    ),
    "one side of ours": ("x.csv", "chosen__a,rejected__b\n1,2\n", Naming(), DataError, "of a, b it has one of the two"),
    "ids of a row a score": (
        "x.csv", "id,uid,rule,side,score\n1,1,a,chosen,1\n", Naming(), ConfigError,
        "found id, uid. Name it:\n.* --map pair_id=id$",
    ),
    "sides of a row a score": (
        "x.csv", "id,rule,side,score\n1,a,left,1\n", Naming(), ConfigError, "says left, .*\n.*--chosen VALUE --rej",
    ),
    "a score twice": (
        "x.csv", "id,rule,side,score\n7,a,chosen,1\n7,a,chosen,1\n", Naming(), DataError, "pair 7 under a: each pair",
    ),
    "half of a row a score": (
        "x.csv", "id,which,v\n1,a,1\n", Naming(columns={"rule": "which"}), ConfigError,
        "needs side, score, too:\n.* --map pair_id=id rule=which side=COLUMN score=COLUMN$",
    ),
    "a column that is not there": (
        "x.csv", f"{HEAD}.5,.4\n", Naming(columns={"pair_id": "uid"}), ConfigError, "no column 'uid'; found harm_",
    ),
    "a pattern that fits nothing": ("x.csv", f"{HEAD}.5,.4\n", Naming("a_{rule}", "b_{rule}"), ConfigError, "does not"),
    "a pattern that fits half": (
        "x.csv", "a_x,a_y,b_x\n1,2,3\n", Naming("a_{rule}", "b_{rule}"), ConfigError, "of y one side is there",
    ),
    "a column of texts": ("x.csv", "p,q\nyes,no\n", Naming("p", "q"), DataError, "column p must hold numbers"),
    "a text among numbers": (
        "x.csv", f"{HEAD}.5,.4\n.5,.4\n" + ".5,.4\n" * 300 + ".1,high\n", Naming(), DataError,
        "column harm_rejected, row 303: 'high' is no number",
    ),
    "a decimal comma between quotes": (
        "x.csv", f'{HEAD}"0,5","0,4"\n', Naming(), DataError, "row 1: '0,5' is no number: write decimals with a point",
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
    "a rule with one side": (
        "x.csv", "harm_chosen,harm_rejected,kind_chosen\n.5,.4,.3\n", Naming(), DataError,
        "a column kind_chosen and no kind_rejected. .* add the column that is missing, .* by --rules",
    ),
    "a rule with one side, the other way": (
        "x.csv", "score_rejected_kind,score_chosen_harm,score_rejected_harm\n.5,.4,.3\n", Naming(), DataError,
        "a column score_rejected_kind and no score_chosen_kind",
    ),
    "one side alone": (
        "x.csv", "harm_chosen,kind_chosen\n.5,.4\n", Naming(), DataError,
        "a column harm_chosen and no harm_rejected. Where all are single responses:\n  .* --chosen '{rule}_chosen'$",
    ),
    "one side of ours alone": (
        "x.csv", "chosen__harm\n.5\n", Naming(), DataError, "Where all .*\n.* --chosen 'chosen__{rule}'$",
    ),
    "a text in the first rows": (
        "x.csv", "kind_chosen,kind_rejected,harm_chosen,harm_rejected\n.5,.4,.5,.4\n.5,high,.5,.4\n.5,.4,.5,.4\n",
        Naming(), DataError, "column kind_rejected, row 2: 'high' is no number. .* empty all scores of the row",
    ),
    "a text in JSON": (
        "x.jsonl",
        '{"kind_chosen": 1, "kind_rejected": 0, "h_chosen": 1, "h_rejected": 0}\n'
        '{"kind_chosen": 1, "kind_rejected": "high", "h_chosen": 1, "h_rejected": 0}\n',
        Naming(), DataError, "column kind_rejected must hold numbers; row 2 has 'high'",
    ),
    "texts of one side": (
        "x.csv", f"kind_chosen,kind_rejected,{HEAD}.5,low,.5,.4\n.5,high,.5,.4\n", Naming(), DataError,
        "column kind_rejected must hold numbers; row 1 has 'low'",
    ),
    "numbers in texts": (
        "x.parquet",
        of({f"{rule}_{side}": ["0.5"] if rule == "kind" else [0.5] for rule in ["kind", "harm"] for side in SIDES}),
        Naming(), DataError, "column kind_chosen must hold numbers, and holds them as texts: convert them, as by",
    ),
    "likely sides": (
        "x.csv", "kind_good,kind_bad\n.5,.4\n", Naming(), ConfigError,
        "kind_good and kind_bad belong together; if kind_good .*:\n.* --chosen '{rule}_good' --rejected '{rule}_bad'$",
    ),
    "likely sides of lists": (
        "x.parquet", of({"pos": [[0.5, 1.0]], "neg": [[0.5, 0.5]], "s_pos": [[0.5]], "s_neg": [[0.5]]}), Naming(),
        ConfigError, "s_pos and s_neg belong together; if s_pos .*\n.* --chosen s_pos --rejected s_neg$",
    ),
    "likely sides of rows": (
        "x.csv", "id,rule,side,score\n1,a,win,1\n1,a,lose,1\n", Naming(), ConfigError,
        "says win, .* if win is the chosen response, say so:\n.* --chosen win --rejected lose$",
    ),
    "unknown sides of rows": (
        "x.csv", "id,rule,side,score\n1,a,p,1\n1,a,q,1\n", Naming(), ConfigError,
        "says p, .* as in\n.* --chosen p --rejected q\n.* --chosen q --rejected p$",
    ),
    "rows without pairs": (
        "x.csv", "criterion,side,score\na,chosen,1\n", Naming(), ConfigError, "found none. Name it:\n.* pair_id=COLUMN",
    ),
    "rows of texts": (
        "x.csv", "prompt,response,dimension,score\n" + "".join(f"p,r{row},a,{row}\n" for row in range(5)), Naming(),
        DataError, "--map pair_id=COLUMN rule=dimension side=response score=score$",
    ),
    "a broken line": ("x.jsonl", '{"harm_chosen": 1, "harm_rejected": 0}\n{"harm', Naming(), DataError, "line 2"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNSURE)
def test_what_cannot_be_told_is_refused(name: str, tmp_path: Path) -> None:
    file, written, naming, kind, said = UNSURE[name]
    path = tmp_path / file
    path.write_text(written) if isinstance(written, str) else written(path)
    with (
        called_as(["weigh", "--scores", "x", "--output", "w.json"]),
        pytest.raises(kind, match=said) as caught,
        score_table(str(path), naming, rules=None, scratch=Folder(str(tmp_path / "scratch"))),
    ):
        pass
    assert str(path) in str(caught.value)
    assert not list(tmp_path.glob("scratch/*"))


WORDS_FOR_SIDES = [(chosen, rejected) for chosen, rejected, tells in WORDS if tells != "surely"]


@pytest.mark.parametrize(("chosen", "rejected"), WORDS_FOR_SIDES)
@pytest.mark.parametrize("pattern", ["{rule}_{side}", "score_{side}_{rule}", "{side}.{rule}"])
def test_the_line_that_is_proposed_reads_the_table(chosen: str, rejected: str, pattern: str, tmp_path: Path) -> None:
    columns = {
        pattern.format(rule=rule, side=side): [score]
        for rule in ("harm", "kind")
        for side, score in ((chosen, 0.75), (rejected, 0.25))
    }
    pd.DataFrame(columns).to_csv(tmp_path / "x.csv", index=False)
    with called_as(["weigh"]), pytest.raises(ConfigError) as caught:
        opened(tmp_path / "x.csv", Naming())
    line = shlex.split(str(caught.value).splitlines()[1])
    named = dict(zip(line[2::2], line[3::2], strict=True))
    found = opened(tmp_path / "x.csv", Naming(named["--chosen"], named["--rejected"]))
    assert {name: found[name].to_pylist() for name in found.column_names if "__" in name} == {
        f"{side}__{rule}": [score] for rule in ("harm", "kind") for side, score in zip(SIDES, (0.75, 0.25), strict=True)
    }


def opened(path: Path, naming: Naming, rules: list[str] | None = None) -> pa.Table:
    with score_table(str(path), naming, rules=rules, scratch=Folder(str(path.parent / "scratch"))) as table:
        return pa.concat_tables(unit.read_all() for unit in table_units(table.uri))


def test_rules_that_are_known_are_read_whatever_else_is_there(tmp_path: Path) -> None:
    text = "kind_chosen,kind_rejected,harm_chosen,harm_rejected,odd_chosen,n_rejected\n.5,.4,high,low,1,2\n,,,,,\n"
    (tmp_path / "x.csv").write_text(text)
    assert opened(tmp_path / "x.csv", Naming(), ["kind"])["chosen__kind"].to_pylist() == [0.5]
    for rules, said in (
        (["kind", "harm"], "column harm_chosen must hold numbers; row 1 has 'high'"),
        (["kind", "odd"], "a column odd_chosen and no odd_rejected"),
    ):
        with pytest.raises(DataError, match=said):
            opened(tmp_path / "x.csv", Naming(), rules)


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
        (lambda: Naming(columns={"id": "x"}), "--map id=..: known names are pair_id, prompt_id"),
    ],
)
def test_names_that_say_nothing_are_refused(make: Callable[[], object], said: str) -> None:
    with called_as(["weigh"]), pytest.raises(ConfigError, match=said):
        make()


def test_a_table_of_a_pass_has_names_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "commits").mkdir()
    with (
        pytest.raises(ConfigError, match="its columns have no other names"),
        score_table(str(tmp_path), Naming("a", "b"), rules=None, scratch=Folder(str(tmp_path / "scratch"))),
    ):
        pass


def test_a_column_that_tells_the_winner_row_by_row_is_named(tmp_path: Path) -> None:
    pd.DataFrame({"helpful_a": [0.5], "helpful_b": [0.25], "winner": ["b"]}).to_csv(tmp_path / "w.csv", index=False)
    problem = str(look_at(str(tmp_path / "w.csv")).problem)
    assert "winner tells row by row, and that is not read. Turn the rows first" in problem
    assert problem.count("--chosen") == 1


def test_a_table_with_texts_is_looked_at_as_scores_where_its_columns_have_two_sides(tmp_path: Path) -> None:
    frame = pd.DataFrame({"prompt": ["x"], "helpful_good": [0.5], "helpful_bad": [0.25]})
    frame.to_csv(tmp_path / "g.csv", index=False)
    looked = look_at(str(tmp_path / "g.csv"))
    assert looked.kind == "numbers" and "--chosen '{rule}_good' --rejected '{rule}_bad'" in str(looked.problem)
    frame.assign(chosen="a", rejected="b").to_csv(tmp_path / "g.csv", index=False)
    assert look_at(str(tmp_path / "g.csv")).kind == "texts"  # a corpus that has scores, too
