"""The form of a table is told by a person, or by its columns; what neither tells is refused with what decides."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from encore_ray.errors import ConfigError, DataError
from encore_ray.foreign.form.by_rows import find_rows, named_rows
from encore_ray.foreign.form.forms import OWN, Long, Place, Wide, rule_names
from encore_ray.foreign.form.naming import IDS, Naming, rules_by_pattern
from encore_ray.foreign.form.sides import is_general, sided_columns, without_common
from encore_ray.foreign.form.unread import (
    SCORES,
    columns_there,
    complete_it,
    of_singles,
    refuse_half_read,
    unseen,
)
from encore_ray.foreign.values import Kind, Texts, kind_of, listed, what_instead
from encore_ray.shell import again, option, options
from encore_ray.visible import short

_NAMES = "rule_names"  # beside lists, as rated corpora have them
Sides = Mapping[str, tuple[str, str | None]]  # columns of either side, by what they are called together


def find_form(head: pa.Table, naming: Naming, *, texts: Texts | None, rules: Sequence[str] | None) -> Wide | Long:
    """The form of a table.

    Args:
        head: its first rows.
        texts: of a table of texts, how it writes numbers.
        rules: names, where they are known, in the order in which lists have them.

    Raises:
        ConfigError: what is named is not there, or several forms fit. DataError: none does, or a rule has scores of one
            side alone, or something else than numbers.
    """
    names = head.column_names
    for told in naming.columns.values():
        if told not in names:
            raise ConfigError(f"{option('map')}: there is no column {short(told)!r}; {columns_there(names)}.")
    kinds: dict[str, Kind] = {name: kind_of(head.column(name), texts) for name in names}
    ids = {name: naming.columns.get(name, name) for name in IDS}
    ids = {name: column for name, column in ids.items() if column in names}
    if (by_rows := find_rows(head, kinds, naming, ids, rules)) is not None:
        return by_rows
    free: dict[str, Kind] = {name: kind for name, kind in kinds.items() if name not in ids.values()}
    sides = _told(free, naming, rules) if naming.chosen else _own(free, rules) or _found(head, free, rules)
    if len(sides) == 1 and rules and len(rules) == 1 and is_general(next(iter(sides))):
        sides = {rules[0]: next(iter(sides.values()))}
    sides = _counting(sides, rules)
    listed_names = _listed_names(head) if rules is None and texts is None else None
    scores, labels, num_listed = _places(head, kinds, sides, rules or listed_names, texts)
    return Wide(ids, scores, labels, num_listed, _NAMES if num_listed and listed_names else None)


def _counting(sides: Sides, rules: Sequence[str] | None) -> Sides:
    """The columns of the rules that are known, where all of them are there; else all."""
    names = rule_names(sides, rules or ())
    counted = {label: columns for label, columns in sides.items() if names[label] in (rules or ())}
    return counted if rules and len(counted) == len(rules) else sides


def _listed_names(head: pa.Table) -> list[str] | None:
    """Names of the scores of lists, as the first row has them; None where no column has any."""
    if _NAMES not in head.column_names or not pa.types.is_list(head.schema.field(_NAMES).type):
        return None
    names = head.column(_NAMES)[0].as_py()
    return names if names and all(isinstance(name, str) for name in names) else None


def _told(kinds: Mapping[str, Kind], naming: Naming, rules: Sequence[str] | None) -> Sides:
    """The columns that a person names."""
    assert naming.chosen
    if not naming.is_pattern:
        missing = [name for name in (naming.chosen, naming.rejected) if name and name not in kinds]
        if missing:
            raise ConfigError(
                f"there is no column {short(missing[0])!r}; {columns_there(kinds)}. A name for the columns of all "
                f"rules has {{rule}} in it, as {option('chosen', 'score_{rule}_a')}."
            )
        return {"score": (naming.chosen, naming.rejected)}
    chosen = rules_by_pattern(naming.chosen, [*kinds])
    rejected = rules_by_pattern(naming.rejected, [*kinds]) if naming.rejected else None
    odd = set() if rejected is None else chosen.keys() ^ rejected.keys()
    if rules is not None:
        odd = {label for label, name in rule_names(odd, rules).items() if name in rules}
    if odd or not chosen:
        one = sorted(odd)[:6]
        what = f"of {', '.join(map(short, one))} one side is there" if odd else columns_there(kinds)
        told = options(chosen=naming.chosen, **({"rejected": naming.rejected} if naming.rejected else {}))
        raise ConfigError(f"{told} does not fit the columns: {what}.")
    both = chosen.keys() if rejected is None else chosen.keys() & rejected.keys()
    return {label: (chosen[label], None if rejected is None else rejected[label]) for label in chosen if label in both}


def _own(kinds: Mapping[str, Kind], rules: Sequence[str] | None) -> Sides:
    chosen, rejected = (
        {name.removeprefix(prefix): name for name in kinds if name.startswith(prefix)} for prefix in OWN
    )
    wanted = [*dict.fromkeys([*chosen, *rejected])] if rules is None else [*rules]
    odd = [rule for rule in wanted if (rule in chosen) != (rule in rejected)]
    if odd:
        remedy = complete_it() if chosen and rejected else of_singles(f"{OWN[0] if chosen else OWN[1]}{{rule}}")
        raise DataError(
            f"expected the columns {OWN[0]}RULE and {OWN[1]}RULE of each rule; of {', '.join(map(short, odd[:6]))} "
            f"it has one of the two. {remedy}"
        )
    return {rule: (chosen[rule], rejected[rule]) for rule in wanted if rule in chosen}


def _found(head: pa.Table, kinds: Mapping[str, Kind], rules: Sequence[str] | None) -> Sides:
    """The columns that are told by their names alone."""
    paired = sided_columns([*kinds])
    scored = [each for each in paired if kinds[each.chosen] == kinds[each.rejected] in SCORES]
    refuse_half_read(head, kinds, paired, scored, rules)
    found = [kind for kind in SCORES if any(kinds[each.chosen] == kind for each in scored)]
    if len(found) > 1 or (found and found[0] != "numbers" and len(scored) > 1):
        of_kinds = [each for kind in found for each in scored if kinds[each.chosen] == kind]
        several = ", ".join(f"{each.chosen} and {each.rejected}" for each in of_kinds)
        one = scored[0] if found[0] != "numbers" else of_kinds[-1]
        raise ConfigError(
            f"several columns may hold the scores: {several}. Name those that do, as in\n  "
            f"{again(chosen=one.chosen, rejected=one.rejected)}"
        )
    if found:
        return {each.label or "score": (each.chosen, each.rejected) for each in without_common(scored)}
    if rules and all(kinds.get(rule) == "numbers" for rule in rules):
        return {rule: (rule, None) for rule in rules}
    raise unseen(kinds, named_rows(kinds, Naming()))


def _places(
    head: pa.Table,
    kinds: Mapping[str, Kind],
    sides: Sides,
    rules: Sequence[str] | None,
    texts: Texts | None,
) -> tuple[dict[str, tuple[Place, Place | None]], dict[str, str], int | None]:
    """Where each rule's scores stand, what the table calls the rules, and how long lists are."""
    columns = next(iter(sides.values()))
    found = {kinds[name] for pair in sides.values() for name in pair if name is not None}
    wrong = [name for pair in sides.values() for name in pair if name and kinds[name] not in SCORES]
    if wrong:
        raise DataError(f"column {short(wrong[0])} must hold numbers{what_instead(head.column(wrong[0]))}")
    if len(found) > 1:
        raise DataError(f"{columns[0]} and {columns[1]} hold different things: numbers, lists or structs.")
    keys: dict[str, Any] = {}
    if found == {"lists"}:
        num = _length(head, columns[0], texts)
        names = [*rules] if rules is not None else [f"rule_{k + 1}" for k in range(num)]
        if len(names) != num:
            are = f"is 1 rule: {names[0]}" if len(names) == 1 else f"are {len(names)} rules"
            raise DataError(f"column {columns[0]} has lists of {num} scores, and there {are}.")
        keys = dict(zip(names, range(num), strict=True))
    elif found == {"structs"}:
        keys = {field.name: field.name for field in head.schema.field(columns[0]).type}
    named = [*keys] if keys else [*sides]
    slugs = rule_names(named, rules or ())
    scores = {slugs[label]: _sides(columns, keys[label]) if keys else _sides(sides[label], None) for label in named}
    return scores, {slugs[label]: label for label in named}, len(keys) if found == {"lists"} else None


def _sides(columns: tuple[str, str | None], key: Any) -> tuple[Place, Place | None]:
    chosen, rejected = columns
    return Place(chosen, key), None if rejected is None else Place(rejected, key)


def _length(head: pa.Table, name: str, texts: Texts | None) -> int:
    lists = listed(head.column(name), name, texts, first_row=0)
    num = next((len(value) for value in lists if value.is_valid), 0)
    if not num:
        raise DataError(f"column {short(name)} holds no list with a score in its first rows.")
    return num
