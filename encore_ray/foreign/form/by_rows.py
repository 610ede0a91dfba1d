"""Tables with several rows a pair, a row a score or a row a response, as a person or their columns tell them."""

from collections.abc import Mapping, Sequence

import pyarrow as pa

from encore_ray.errors import ConfigError
from encore_ray.foreign.form.forms import Long, rule_names
from encore_ray.foreign.form.naming import RULE, SCORE, SIDE, Naming
from encore_ray.foreign.form.sides import is_of_rule, words_of
from encore_ray.foreign.values import Kind, as_ids
from encore_ray.schema import PAIR_ID
from encore_ray.shell import again, option

_NAMES = {
    PAIR_ID: (PAIR_ID, "id", "uid", "example_id", "sample_id"),
    RULE: (RULE, "criterion", "dimension", "aspect", "attribute"),
    SIDE: (SIDE, "response", "role"),
    SCORE: (SCORE, "value", "rating"),
}
_MOST_SIDES = 2  # different values of a column that tells the side
KNOWN_SIDES = words_of("chosen"), words_of("rejected")


def find_rows(
    head: pa.Table,
    kinds: Mapping[str, Kind],
    naming: Naming,
    ids: Mapping[str, str],
    rules: Sequence[str] | None,
) -> Long | None:
    """The form of a table with several rows a pair; None for another one.

    Args:
        kinds: of the columns of `head`.
        ids: columns that are taken for ids.
        rules: names, where they are known.

    Raises:
        ConfigError: columns are named, and others that it takes are not; nothing tells the pair.
    """
    told = {name for name in (RULE, SIDE, SCORE) if name in naming.columns}
    found = named_rows(kinds, naming)
    rule, side, score = found[RULE], found[SIDE], found[SCORE]
    if (told and side is None) or (told - {SIDE} and (rule is None or score is None)):
        missing = ", ".join(name for name in (RULE, SIDE, SCORE) if found[name] is None)
        named = f"{option('map')} names {', '.join(sorted(told))}"
        raise ConfigError(f"{named}, and a row a score needs {missing}, too:\n  {rows_line(found)}")
    if side is None or (not told and naming.is_pattern):
        return None
    said = _said(head, side)
    if rule is not None and score is not None and (told or _is_of_scores(kinds[rule], kinds[score], said)):
        scores = {"": score}
    elif told or (kinds[side] == "texts" and said and said <= {word for words in KNOWN_SIDES for word in words}):
        others = {*ids.values(), side, found[PAIR_ID]}
        scores, rule = _score_columns({name: kind for name, kind in kinds.items() if name not in others}, rules), None
    else:
        return None
    if not scores:
        return None
    pair = found[PAIR_ID]
    if pair is None:
        candidates = [name for name in _NAMES[PAIR_ID] if name in kinds]
        raise ConfigError(
            f"with several rows a pair each has to tell its pair: expected one column of {', '.join(_NAMES[PAIR_ID])}, "
            f"found {', '.join(candidates) or 'none'}. Name it:\n  "
            f"{again(map={PAIR_ID: candidates[0] if candidates else 'COLUMN'})}"
        )
    sides = KNOWN_SIDES
    if naming.chosen is not None:
        sides = (naming.chosen.lower(),), () if naming.rejected is None else (naming.rejected.lower(),)
    return Long({**ids, PAIR_ID: pair}, side, rule, scores, sides)


def named_rows(kinds: Mapping[str, Kind], naming: Naming) -> dict[str, str | None]:
    """The columns of a pair, a rule, a side and a score: those that are named, else one that is called so."""
    usual = {name: [column for column in columns if column in kinds] for name, columns in _NAMES.items()}
    if PAIR_ID in kinds:
        usual[PAIR_ID] = [PAIR_ID]
    return {
        name: naming.columns.get(name) or (columns[0] if len(columns) == 1 else None) for name, columns in usual.items()
    }


def rows_line(found: Mapping[str, str | None]) -> str:
    """The line that names the columns of a row a score, to be filled in where they are not found."""
    return again(map={name: found.get(name) or "COLUMN" for name in (PAIR_ID, RULE, SIDE, SCORE)})


def _said(head: pa.Table, side: str) -> set[str]:
    """What a column says of the first rows, in small letters."""
    values = as_ids(head.column(side), side).unique().to_pylist()
    return {value.strip().lower() for value in values if value is not None}


def _is_of_scores(rule: Kind, score: Kind, said: set[str]) -> bool:
    """Whether columns that are called as a rule, a side and a score are such, by what they hold."""
    return score == "numbers" and rule != "numbers" and len(said) <= _MOST_SIDES


def _score_columns(kinds: Mapping[str, Kind], rules: Sequence[str] | None) -> dict[str, str]:
    """Columns of scores, one a rule, by their names: of the rules that are known, where all are there; else all."""
    numbers = [name for name in kinds if kinds[name] == "numbers" and is_of_rule(name)]
    names = rule_names(numbers, rules or ())
    counted = [name for name in numbers if names[name] in (rules or ())]
    return {name: name for name in (counted if rules and len(counted) == len(rules) else numbers)}
