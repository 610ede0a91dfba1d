"""A table of scores made elsewhere: recognised, and drafted as a chain of the commands that weigh and compare it."""

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import yaml

from encore_ray.config.sources import read_rules
from encore_ray.drafts.files import CHAIN_NAME, Draft, Names
from encore_ray.drafts.inferred import infer_rules
from encore_ray.drafts.rules import to_be_mapped
from encore_ray.errors import EncoreError
from encore_ray.folder.reading.table_rules import carried_rules
from encore_ray.folder.reading.tables import TableUnit, column_names, table_units
from encore_ray.foreign.form.naming import Naming
from encore_ray.foreign.look import look_at
from encore_ray.foreign.table import score_table
from encore_ray.foreign.turn.account import Account
from encore_ray.passes.scorers.by_ratings import rated_rules
from encore_ray.schema import CHOSEN
from encore_ray.storage import Folder


@dataclass(frozen=True)
class Scores:
    """A table of scores.

    Attributes:
        account: how one in another form was read.
    """

    units: Sequence[TableUnit]
    account: Account | None = None


@contextlib.contextmanager
def scores_of(data: Sequence[str]) -> Iterator[Scores | None]:
    """The table of scores, where the data is one: columns of rules and no texts. Else none."""
    if len(data) != 1 or "*" in data[0]:
        yield None
        return
    try:
        units = table_units(data[0])
    except EncoreError:  # it is no table at all: what it is instead is said where it is read
        units = []
    if rated_rules(units):
        yield None if CHOSEN in column_names(units[0]) else Scores(units)
        return
    try:
        looked = look_at(data[0])
    except EncoreError:
        yield None
        return
    if looked.kind == "numbers" and looked.problem is not None:
        raise looked.problem  # no corpus either: it has no text
    if looked.kind != "scores":
        yield None
        return
    with (
        tempfile.TemporaryDirectory(prefix="encore-ray-") as scratch,
        score_table(data[0], Naming(), rules=None, scratch=Folder(scratch)) as table,
    ):
        yield Scores(table_units(table.uri), table.account)


def draft_chain(path: str, scores: Scores, names: Names, *, rules: str | None) -> Draft:
    """The chain, and rules where the table has none with it.

    Raises:
        DataError: no score is finite.
    """
    units = scores.units
    rated = rated_rules(units)
    num_rows = sum(unit.rows for unit in units)
    found = [f"a table of scores: {num_rows:,} pairs under {len(rated)} rules: {', '.join(rated[:10])}"]
    found += scores.account.sentences()[1:] if scores.account else []
    guessed: tuple[str, ...] = ()
    name = names.job or CHAIN_NAME
    texts = {name: ""}
    given, carried = (names.near(rules) if rules else None), carried_rules(units[0])
    if rules is not None:
        why = to_be_mapped(read_rules(rules))
    elif carried is not None:
        found.append("it carries its rules")
        why = to_be_mapped(carried)
    else:
        drafted = infer_rules(units, rated, texts=scores.account.rules if scores.account else None)
        given, why, guessed = names.rules, drafted.to_be_mapped, drafted.notes
        texts[given] = drafted.text
    if why:
        guessed = (*guessed, f"{why}, so each is mapped to [0, 1] (--score-range unit)")
    table = {"scores": names.near(path)}
    weighed = {**table, **({"rules": given} if given else {}), **({"score-range": "unit"} if why else {})}
    stem = os.path.splitext(name)[0]
    place = "" if stem == os.path.splitext(CHAIN_NAME)[0] else f"{stem}-"
    weights, rewards = f"{place}weights.json", f"{place}rewards"
    steps = [
        {"weigh": {**weighed, "output": weights}},
        {"compose": {**table, "weights": weights, "output": rewards}},
        {"evaluate": {"rewards": rewards, "output": f"{place}evaluation"}},
        {"compare": {**weighed, "output": f"{place}comparison"}},
    ]
    head = "# Drafted by `encore-ray init`: `encore-ray chain` does these commands in order, and resumes.\n"
    texts[name] = head + yaml.safe_dump({"steps": steps}, sort_keys=False, allow_unicode=True, width=1 << 20)
    return Draft(texts, tuple(found), guessed, verb="chain")
