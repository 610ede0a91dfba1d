"""One table of scores in every form that people have it in, each as a file; all say the same of the same pairs."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

RULES = ("harmless", "honest", "polite")
NUM_PAIRS = 60
NUM_EMPTY = 2  # rows 5 and 31 have no score at all; row 9 is a single response


def sides() -> dict[str, pd.DataFrame]:
    """A frame a side, its columns called as the rules: scores that have few digits in text."""
    rng = np.random.default_rng(3)
    found = {}
    for side, mean in (("chosen", 0.55), ("rejected", 0.45)):
        score_NK = rng.normal(mean, 0.2, (NUM_PAIRS, len(RULES))).clip(0, 1).round(4)
        found[side] = pd.DataFrame(score_NK, columns=list(RULES))
        found[side].loc[[5, 31]] = np.nan
    found["rejected"].loc[9] = np.nan
    return found


def frame(pattern: str = "{rule}_{side}") -> pd.DataFrame:
    """A row a pair, a column a rule and side."""
    columns = {pattern.format(rule=rule, side=side): of[rule] for side, of in sides().items() for rule in RULES}
    return pd.DataFrame(columns)


def own() -> pd.DataFrame:
    """The same in the form of ours, without the empty rows; ids are the numbers of rows."""
    made = frame("{side}__{rule}").drop(index=[5, 31])
    made.insert(0, "pair_id", [str(row) for row in made.index])
    return made


def lists(**names: str) -> pd.DataFrame:
    return pd.DataFrame({names.get(side, f"{side}_scores"): of.to_numpy().tolist() for side, of in sides().items()})


def structs() -> pd.DataFrame:
    return pd.DataFrame({f"scores_{side}": of.to_dict("records") for side, of in sides().items()})


def long() -> pd.DataFrame:
    """A row a score, those of a pair apart from each other."""
    parts = [
        pd.DataFrame({"id": of.index, "rule": rule, "side": side, "score": of[rule]})
        for side, of in sides().items()
        for rule in RULES
    ]
    return pd.concat(parts, ignore_index=True)


def text(made: pd.DataFrame, path: Path, **how: object) -> None:
    made.to_csv(path, **{"index": False, **how})  # type: ignore[arg-type]


def crlf(path: Path) -> None:
    """A column of texts with line feeds, commas and quotes in it, as Excel writes them."""
    made = frame("{rule}.{side}").assign(prompt='Say "no",\nor yes')
    text(made, path, lineterminator="\r\n", encoding="utf-8-sig")


def first_whole(path: Path) -> None:
    """Values that look like whole numbers at first: a type that is told from the beginning of a file does not last."""
    made = frame()
    lines = made.to_csv(index=False).splitlines()
    whole = [line.replace("0.0,", "0,").replace("1.0,", "1,") for line in lines]
    path.write_text("\n".join(whole))


def with_index(path: Path) -> None:
    """What pandas writes of a frame that was shuffled: its row labels, as a column."""
    made = frame("score_{side}_{rule}").assign(note="a")
    made.set_axis(np.random.default_rng(0).permutation(NUM_PAIRS) + 7, axis=0).to_parquet(path)


def json_lines(path: Path) -> None:
    rows = frame().astype(object).where(frame().notna(), None).to_dict("records")
    path.write_text("\n".join(json.dumps(row) for row in rows))


def nested_json(path: Path) -> None:
    rows = [dict(zip(("chosen", "rejected"), pair, strict=True)) for pair in structs().to_numpy().tolist()]
    clean = [
        {side: {rule: None if np.isnan(x) else x for rule, x in of.items()} for side, of in row.items()} for row in rows
    ]
    path.write_text(json.dumps(clean))


SHAPES: dict[str, tuple[str, Callable[[Path], None]]] = {
    "comma": ("x.csv", lambda path: text(frame(), path)),
    "row labels without a name": ("x.csv", lambda path: text(frame("{side}.{rule}"), path, index=True)),
    "byte order mark and CRLF": ("x.csv", crlf),
    "decimal comma": ("x.csv", lambda path: text(frame(), path, sep=";", decimal=",")),
    "tabs and gzip": ("x.tsv.gz", lambda path: text(frame("{side} {rule}"), path, sep="\t")),
    "tabs in a .csv": ("x.csv", lambda path: text(frame("{side}:{rule}"), path, sep="\t")),
    "NA": ("x.csv", lambda path: text(frame("{rule} ({side})"), path, na_rep="NA")),
    "nan": ("x.csv", lambda path: text(frame(), path, na_rep="nan")),
    "NULL and spaces": ("x.csv", lambda path: text(frame(), path, na_rep=" NULL ")),
    "whole at first": ("x.csv", first_whole),
    "own names": ("x.csv", lambda path: text(frame("{side}__{rule}"), path)),
    "a word before": ("x.csv", lambda path: text(frame("score_{side}_{rule}"), path)),
    "a word behind": ("x.csv", lambda path: text(frame("{side}_{rule}_score"), path)),
    "lists in text": ("x.csv", lambda path: text(lists(), path)),
    "pandas index": ("x.parquet", with_index),
    "lists": ("x.parquet", lambda path: lists().to_parquet(path)),
    "lists with names": (
        "x.parquet",
        lambda path: (
            lists(chosen="s_chosen", rejected="s_rejected").assign(rule_names=[[*RULES]] * NUM_PAIRS).to_parquet(path)
        ),
    ),
    "structs": ("x.parquet", lambda path: structs().to_parquet(path)),
    "feather": ("x.feather", lambda path: frame().to_feather(path)),
    "JSON lines": ("x.jsonl", json_lines),
    "JSON array of objects in objects": ("x.json", nested_json),
    "a row a score": ("x.parquet", lambda path: long().to_parquet(path)),
    "a row a score in text": ("x.csv", lambda path: text(long().rename(columns={"rule": "criterion"}), path)),
    "a row a score, shuffled": ("x.csv", lambda path: text(long().sample(frac=1, random_state=1), path)),
}
