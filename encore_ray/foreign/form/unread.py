"""What is said where scores are not seen, or only some of them: nothing that may be a rule is passed over."""

from collections.abc import Mapping, Sequence

import pyarrow as pa

from encore_ray.errors import ConfigError, DataError, EncoreError
from encore_ray.foreign.form.by_rows import rows_line
from encore_ray.foreign.form.forms import OWN, rule_names
from encore_ray.foreign.form.sides import Sided, likely_sides, lone_columns, without_common
from encore_ray.foreign.values import Kind, is_meant_as_numbers, what_instead
from encore_ray.shell import again, option, options
from encore_ray.visible import short

SCORES: tuple[Kind, ...] = ("numbers", "lists", "structs")  # what a column of scores may hold
_MOST = 6  # names in a sentence

WINNER = "winner"  # a column that tells in each row which response was chosen


def refuse_half_read(
    head: pa.Table,
    kinds: Mapping[str, Kind],
    paired: Sequence[Sided],
    scored: Sequence[Sided],
    rules: Sequence[str] | None,
) -> None:
    """DataError where a rule would be passed over that has scores of one side, or some that are no numbers.

    Args:
        kinds: of the columns of `head`.
        paired: columns of both sides, by their names. scored: those of them that hold scores.
        rules: that count, where they are known; others may be passed over.
    """
    for each in (each for each in paired if each not in scored and _counts(each, scored, rules)):
        sides = each.chosen, each.rejected
        wrong = next((name for name in sides if kinds[name] not in SCORES), None)
        if wrong is None:
            raise DataError(f"{' and '.join(map(short, sides))} hold different things: numbers, lists or structs.")
        is_half = any(kinds[name] in SCORES for name in sides)
        is_text = bool(each.label) and any(is_meant_as_numbers(head.column(name)) for name in sides)
        if is_half or is_text or rules is not None:
            raise DataError(f"column {short(wrong)} must hold numbers{what_instead(head.column(wrong))}")
    lone = lone_columns([name for name in kinds if kinds[name] in SCORES], scored) if scored else []
    for each in (each for each in lone if _counts(each, scored, rules)):
        name, other = (each.chosen, each.rejected) if each.chosen in kinds else (each.rejected, each.chosen)
        raise DataError(f"there is a column {short(name)} and no {short(other)}. {complete_it()}")


def _counts(each: Sided, scored: Sequence[Sided], rules: Sequence[str] | None) -> bool:
    """Whether columns are of a rule that counts, by their name beside others."""
    if rules is None:
        return True
    label = without_common([*scored, each])[-1].label
    return rule_names([label], rules)[label] in rules


def complete_it() -> str:
    """What to do where one side of a rule is there."""
    return (
        "A pair has scores of both sides under each rule: add the column that is missing, take the other one out, or "
        f"name the rules that count by {option('rules')}."
    )


def of_singles(pattern: str) -> str:
    """What to do where no column of the rejected side is there."""
    return f"Where all are single responses:\n  {again(chosen=pattern)}"


def unseen(kinds: Mapping[str, Kind], rows: Mapping[str, str | None]) -> EncoreError:
    """What is said where no columns tell by their names that they hold scores, and what names them.

    Args:
        rows: columns of a row a score, as of `named_rows`.
    """
    names = [name for name in kinds if kinds[name] in SCORES]
    if (found := likely_sides(names)) is not None:
        winner = next((name for name in kinds if name.lower() == WINNER), None)
        return _either_way(*found, is_pattern=kinds[found[0].chosen] == "numbers", winner=winner)
    lone = lone_columns(names, ())
    if lone and all(each.chosen in kinds for each in lone):
        single = of_singles(lone[0].pattern[0])
        return DataError(f"there is a column {short(lone[0].chosen)} and no {short(lone[0].rejected)}. {single}")
    return DataError(
        f"no scores are seen: expected the columns {OWN[0]}RULE and {OWN[1]}RULE of each rule, numbers; "
        f"{columns_there(kinds)}. {how_to_name(rows)}"
    )


def _either_way(first: Sided, tells: str, *, is_pattern: bool, winner: str | None) -> ConfigError:
    """Columns whose names do not surely tell which is of the chosen response: both ways to name them."""
    one, other = first.pattern if is_pattern else (first.chosen, first.rejected)
    both = f"{short(first.chosen)} and {short(first.rejected)} belong together"
    line = again(chosen=one, rejected=other)
    if winner is not None:
        return ConfigError(
            f"{both}; which of them is of the chosen response, {short(winner)} tells row by row, and that is not read. "
            f"Turn the rows first, so that {short(first.chosen)} and the like are of the chosen response in all of "
            f"them; then:\n  {line}"
        )
    if tells == "likely":
        return ConfigError(f"{both}; if {short(first.chosen)} is of the chosen response, say so:\n  {line}")
    return ConfigError(
        f"{both}, and do not tell which is of the chosen response. Say it, one way or the other:\n  {line}\n  "
        f"{again(chosen=other, rejected=one)}"
    )


def how_to_name(rows: Mapping[str, str | None]) -> str:
    """What names the columns of scores in every form, to be filled in."""
    of_lists = options(chosen="COLUMN", rejected="COLUMN")
    return (
        f"Say where scores stand. A column a rule and side:\n  {again(chosen='{rule}_a', rejected='{rule}_b')}\n"
        f"Lists, structs or one rule have {of_lists}. A row a score, or without rule and score a row a response:\n  "
        f"{rows_line(rows)}"
    )


def columns_there(names: Mapping[str, Kind] | Sequence[str]) -> str:
    """What is there instead, for a message."""
    listed = [*names]
    return f"found {', '.join(map(short, listed[:_MOST]))}{' …' if len(listed) > _MOST else ''}"
