"""A table of scores made elsewhere: recognised, and drafted as a chain of the commands that weigh and compare it."""

import os
from collections.abc import Sequence

import yaml

from encore_ray.drafts.files import CHAIN_NAME, Draft, Names
from encore_ray.drafts.observed import observe
from encore_ray.drafts.rules import draft_rules
from encore_ray.errors import DataError, EncoreError
from encore_ray.folder.reading.tables import TableUnit, carried_rules, column_names, table_units
from encore_ray.passes.scorers.by_ratings import rated_rules
from encore_ray.schema import CHOSEN, chosen_column, rejected_column


def scores_units(data: Sequence[str]) -> list[TableUnit]:
    """The units of a table of scores, where the data is one: columns of rules and no texts. Else none."""
    if len(data) != 1 or "*" in data[0]:
        return []
    try:
        units = table_units(data[0])
    except EncoreError:  # it is no table at all: what it is instead is said where it is read
        return []
    is_scores = bool(rated_rules(units)) and CHOSEN not in column_names(units[0])
    return units if is_scores else []


def draft_chain(path: str, units: Sequence[TableUnit], names: Names, *, rules: str | None) -> Draft:
    """The chain, and rules where the table has none with it.

    Raises:
        DataError: no score is finite.
    """
    rated = rated_rules(units)
    num_rows = sum(unit.rows for unit in units)
    found = [f"a table of scores: {num_rows:,} pairs under {len(rated)} rules: {', '.join(rated[:10])}"]
    guessed: tuple[str, ...] = ()
    name = names.job or CHAIN_NAME
    texts = {name: ""}
    differ = False
    given = names.near(rules) if rules else None
    if given is None and carried_rules(units[0]) is None:
        columns = [column for rule in rated for column in (chosen_column(rule), rejected_column(rule))]
        seen = observe((unit.read(columns) for unit in units), rated)
        if all(each.low is None for each in seen):
            raise DataError(f"{path} holds no finite score.")
        drafted = draft_rules(seen, of=f"the scores of all {num_rows:,} pairs")
        given, differ, guessed = names.rules, drafted.ranges_differ, drafted.notes
        texts[given] = drafted.text
    elif given is None:
        found.append("it carries its rules")
    table = {"scores": names.near(path)}
    weighed = {**table, **({"rules": given} if given else {}), **({"score-range": "unit"} if differ else {})}
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
