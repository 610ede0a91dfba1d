"""The form of a table is told by a person, or by its columns; what neither tells is refused with what decides."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from encore_ray.errors import ConfigError, DataError
from encore_ray.foreign.forms import OWN, Long, Place, Wide, rule_names
from encore_ray.foreign.naming import IDS, RULE, SCORE, SIDE, Naming, rules_by_pattern
from encore_ray.foreign.sides import sided_columns, unnamed_sides
from encore_ray.foreign.values import Kind, Texts, kind_of, listed
from encore_ray.schema import PAIR_ID
from encore_ray.visible import short

_LONG = {
    PAIR_ID: (PAIR_ID, "id", "uid", "example_id", "sample_id"),
    RULE: (RULE, "criterion", "dimension", "aspect", "attribute"),
    SIDE: (SIDE, "response", "role"),
    SCORE: (SCORE, "value", "rating"),
}
_NAMES = "rule_names"  # beside lists, as rated corpora have them
_HOW = (
    "Say where scores stand: --chosen 'score_{rule}_a' --rejected 'score_{rule}_b' for a column a rule, --chosen "
    "COLUMN --rejected COLUMN for lists, structs or one rule, --map pair_id=.. rule=.. side=.. score=.. for a row a "
    "score."
)


def find_form(head: pa.Table, naming: Naming, *, texts: Texts | None, rules: Sequence[str] | None) -> Wide | Long:
    """The form of a table.

    Args:
        head: its first rows.
        texts: of a table of texts, how it writes numbers.
        rules: names, where they are known, in the order in which lists have them.

    Raises:
        ConfigError: what is named is not there, or several forms fit. DataError: none does.
    """
    names = head.column_names
    for told in naming.columns.values():
        if told not in names:
            raise ConfigError(f"--map: there is no column {short(told)!r}; {_columns(names)}.")
    kinds: dict[str, Kind] = {name: kind_of(head.column(name), texts) for name in names}
    ids = {name: naming.columns.get(name, name) for name in IDS}
    ids = {name: column for name, column in ids.items() if column in names}
    if (long := _long(kinds, naming, ids)) is not None:
        return long
    free: dict[str, Kind] = {name: kind for name, kind in kinds.items() if name not in ids.values()}
    sides = _told(free, naming) if naming.chosen else _own(free, rules) or _found(free, rules)
    if len(sides) == 1 and rules and len(rules) == 1:
        sides = {rules[0]: next(iter(sides.values()))}
    listed_names = _listed_names(head) if rules is None and texts is None else None
    scores, labels, num_listed = _places(head, kinds, sides, rules or listed_names, texts)
    return Wide(ids, scores, labels, num_listed, _NAMES if num_listed and listed_names else None)


def _listed_names(head: pa.Table) -> list[str] | None:
    """Names of the scores of lists, as the first row has them; None where no column has any."""
    if _NAMES not in head.column_names or not pa.types.is_list(head.schema.field(_NAMES).type):
        return None
    names = head.column(_NAMES)[0].as_py()
    return names if names and all(isinstance(name, str) for name in names) else None


Sides = Mapping[str, tuple[str, str | None]]  # columns of either side, by what they are called together


def _told(kinds: Mapping[str, Kind], naming: Naming) -> Sides:
    """The columns that a person names."""
    assert naming.chosen
    if not naming.is_pattern:
        missing = [name for name in (naming.chosen, naming.rejected) if name and name not in kinds]
        if missing:
            raise ConfigError(
                f"there is no column {short(missing[0])!r}; {_columns(kinds)}. A name for the columns of all rules has "
                "{rule} in it, as --chosen 'score_{rule}_a'."
            )
        return {"score": (naming.chosen, naming.rejected)}
    chosen = rules_by_pattern(naming.chosen, [*kinds])
    rejected = rules_by_pattern(naming.rejected, [*kinds]) if naming.rejected else None
    odd = set() if rejected is None else chosen.keys() ^ rejected.keys()
    if odd or not chosen:
        one = sorted(odd)[:6]
        what = f"of {', '.join(map(short, one))} one side is there" if odd else _columns(kinds)
        raise ConfigError(f"--chosen {naming.chosen!r} --rejected {naming.rejected!r} do not fit the columns: {what}.")
    return {label: (name, None if rejected is None else rejected[label]) for label, name in chosen.items()}


def _own(kinds: Mapping[str, Kind], rules: Sequence[str] | None) -> Sides:
    chosen, rejected = (
        {name.removeprefix(prefix): name for name in kinds if name.startswith(prefix)} for prefix in OWN
    )
    wanted = [*dict.fromkeys([*chosen, *rejected])] if rules is None else [*rules]
    odd = [rule for rule in wanted if (rule in chosen) != (rule in rejected)]
    if odd:
        raise DataError(
            f"expected the columns {OWN[0]}RULE and {OWN[1]}RULE of each rule; of {', '.join(map(short, odd[:6]))} "
            "it has one of the two."
        )
    return {rule: (chosen[rule], rejected[rule]) for rule in wanted if rule in chosen}


def _found(kinds: Mapping[str, Kind], rules: Sequence[str] | None) -> Sides:
    """The columns that are told by their names alone."""
    by_kind = {
        kind: sided_columns([name for name in kinds if kinds[name] == kind]) for kind in ("numbers", "lists", "structs")
    }
    found = [kind for kind, columns in by_kind.items() if columns]
    if len(found) > 1 or any(len(by_kind[kind]) > 1 for kind in found if kind != "numbers"):
        several = ", ".join(f"{each.chosen} and {each.rejected}" for kind in found for each in by_kind[kind])
        raise ConfigError(f"several columns may hold the scores: {several}. {_HOW}")
    if found:
        columns = by_kind[found[0]]
        return {each.label or "score": (each.chosen, each.rejected) for each in columns}
    if rules and all(kinds.get(rule) == "numbers" for rule in rules):
        return {rule: (rule, None) for rule in rules}
    paired = unnamed_sides([name for name in kinds if kinds[name] in ("numbers", "lists", "structs")])
    if paired:
        first = paired[0]
        one, other = first.pattern if kinds[first.chosen] == "numbers" else (first.chosen, first.rejected)
        raise ConfigError(
            f"{first.chosen} and {first.rejected} belong together, and do not tell which is of the chosen response: "
            f"--chosen '{one}' --rejected '{other}', or the other way round."
        )
    raise DataError(
        f"no scores are seen: expected the columns {OWN[0]}RULE and {OWN[1]}RULE of each rule, numbers; "
        f"{_columns(kinds)}. {_HOW}"
    )


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
    wrong = [name for pair in sides.values() for name in pair if name and kinds[name] in ("texts", "other")]
    if wrong:
        raise DataError(f"column {short(wrong[0])} must hold numbers, found {head.schema.field(wrong[0]).type}.")
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


def _long(kinds: Mapping[str, Kind], naming: Naming, ids: Mapping[str, str]) -> Long | None:
    """The form of a row a score, where the table has such columns; None for another one."""
    told = {name for name in (RULE, SIDE, SCORE) if name in naming.columns}
    columns = {name: naming.columns.get(name) or _one_of(_LONG[name], kinds) for name in (RULE, SIDE, SCORE)}
    rule, side, score = columns[RULE], columns[SIDE], columns[SCORE]
    if rule is None or side is None or score is None:
        if told:
            missing = ", ".join(name for name, column in columns.items() if column is None)
            raise ConfigError(f"--map names {', '.join(sorted(told))}, and a row a score needs {missing}, too.")
        return None
    if not told and (kinds[score] != "numbers" or kinds[rule] == "numbers" or naming.is_pattern):
        return None
    pair = ids.get(PAIR_ID)
    if pair is None:
        candidates = [name for name in _LONG[PAIR_ID] if name in kinds]
        if len(candidates) != 1:
            raise ConfigError(
                f"a row a score needs to tell its pair: expected one column of {', '.join(_LONG[PAIR_ID])}, found "
                f"{', '.join(candidates) or 'none'}. Name it by --map pair_id=.."
            )
        pair = candidates[0]
    columns = {**ids, PAIR_ID: pair}
    if naming.chosen is None:
        return Long(columns, rule, side, score)
    rejected = () if naming.rejected is None else (naming.rejected.lower(),)
    return Long(columns, rule, side, score, ((naming.chosen.lower(),), rejected))


def _one_of(names: Sequence[str], kinds: Mapping[str, Kind]) -> str | None:
    found = [name for name in names if name in kinds]
    return found[0] if len(found) == 1 else None


def _columns(names: Any) -> str:
    """What is there instead, for a message."""
    listed = [*names]
    return f"found {', '.join(map(short, listed[:6]))}{' …' if len(listed) > 6 else ''}"
