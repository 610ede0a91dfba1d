"""The rules of a table of scores: those that it carries, or that stand beside it, and whether they fit its columns."""

import difflib
import json
from collections.abc import Iterable, Sequence

from encore_ray.errors import ConfigError, DataError
from encore_ray.folder.reading.tables import TableUnit, column_names, folders_beside
from encore_ray.rules import RuleSet
from encore_ray.schema import CHOSEN, REJECTED, RULES_FILE, SIDE_SEPARATOR, chosen_column, rejected_column
from encore_ray.shell import option, to_paste
from encore_ray.storage import Folder, from_json
from encore_ray.visible import short

RULES_METADATA = b"encore_ray.rules"
_MOST = 6  # names in a sentence


def rules_metadata(rules: RuleSet) -> dict[bytes, bytes]:
    """Rules for a file's metadata, where `stored_rules` finds them."""
    return {RULES_METADATA: json.dumps(rules.to_list()).encode()}


def stored_rules(unit: TableUnit) -> RuleSet | None:
    """The rules that a table of ours carries; None where it has none."""
    stored = (unit.schema.metadata or {}).get(RULES_METADATA)
    if not stored:
        return None
    try:
        rules = from_json(stored)
    except ValueError as error:
        raise DataError(
            f"{unit.where} carries rules that cannot be read: {error}. Name its rules.yaml with {option('rules')}."
        ) from None
    return RuleSet(RuleSet.from_list(rules, where=unit.table_name), where=unit.table_name)


def run_rules(run: Folder) -> RuleSet | None:
    """The rules of a run as they are now: they may have been corrected after scoring. None where it has none."""
    if not run.exists(RULES_FILE):
        return None
    return RuleSet.from_yaml(run.read_file(RULES_FILE), where=run.path(RULES_FILE))


def rules_beside(folders: Iterable[Folder], *, table: str) -> RuleSet | None:
    """The rules.yaml beside a table, whoever wrote it; None where there is none.

    Args:
        folders: where one may lie, nearest first.
        table: what messages call it.

    Raises:
        DataError: it cannot be read.
    """
    for folder in folders:
        try:
            if (rules := run_rules(folder)) is not None:
                return rules
        except DataError as error:
            raise DataError(
                f"{error} It stands beside {table}, so it is taken for its rules: mend it, or name others "
                f"with {option('rules')}."
            ) from None
    return None


def carried_rules(unit: TableUnit) -> RuleSet | None:
    """The rules that stand with a table: those that our score pass stored in it, or a rules.yaml beside it.

    One that was drafted from scores, and that nobody has changed since, says nothing that these scores do not say
    themselves, and may be of others.
    """
    return stored_rules(unit) or _no_guess(rules_beside(unit.folders_beside, table=unit.table_name))


def own_rules_beside(uri: str) -> RuleSet | None:
    """The rules.yaml beside a table that somebody has written or corrected; None where there is none."""
    return _no_guess(rules_beside(folders_beside(uri), table=uri))


def _no_guess(rules: RuleSet | None) -> RuleSet | None:
    return None if rules is not None and rules.is_guess else rules


def scored_rules(unit: TableUnit) -> list[str]:
    """Names of the rules of which a table has scores on either side."""
    prefixes = tuple(f"{side}{SIDE_SEPARATOR}" for side in (CHOSEN, REJECTED))
    names = (name.partition(SIDE_SEPARATOR)[2] for name in column_names(unit) if name.startswith(prefixes))
    return list(dict.fromkeys(names))


def table_rules(units: Sequence[TableUnit], rules: RuleSet | None, *, weighed: RuleSet | None = None) -> RuleSet:
    """The rules of a scores table: those given, those that our score pass stored in it, or a rules.yaml beside it.

    Args:
        weighed: rules of weights, which will do where the table has none of its own.

    Raises:
        ConfigError: there are none. DataError: the table lacks a column of a rule.
    """
    rules = rules or (carried_rules(units[0]) if units else None) or weighed
    if units and rules is None:
        raise ConfigError(
            f"{units[0].table_name} was not made by `encore-ray score`, so it does not carry its rules: name their "
            f"rules.yaml, or put it beside the scores{to_paste(rules=RULES_FILE)}"
        )
    return fitting_rules(units, rules, are_weighed=rules is weighed)


def fitting_rules(units: Sequence[TableUnit], rules: RuleSet | None, *, are_weighed: bool = False) -> RuleSet:
    """The rules, of which a table has scores.

    Args:
        are_weighed: whether they are those of weights.

    Raises:
        DataError: the table is empty, or lacks a side of a rule.
    """
    if not units or rules is None:
        raise DataError("The scores table is empty: it has no file and no row.")
    unit = units[0]
    names = set(column_names(unit))
    lacking = [each for each in rules.names if not {chosen_column(each), rejected_column(each)} <= names]
    if not lacking:
        return rules
    scored = scored_rules(unit)
    if not scored:
        raise DataError(
            f"{unit.table_name} has no scores of {_listed(lacking)}, but the columns {_listed(column_names(unit))}. "
            f"Each rule needs two columns of numbers, {chosen_column('RULE')} and {rejected_column('RULE')}; "
            f"{option('chosen')} and {option('rejected')} name others."
        )
    remedy = "Weights are of all their rules: weigh these scores anew." if are_weighed else _other_rules(rules)
    odd = [each for each in lacking if each in scored]
    if odd:
        sides = sorted((chosen_column(odd[0]), rejected_column(odd[0])), key=lambda name: name not in names)
        raise DataError(f"{unit.table_name} has a column {sides[0]} and no {sides[1]}. {remedy}")
    raise DataError(
        f"{unit.table_name} has no scores of {_listed(lacking)}{_meant(lacking, scored)} It has scores of "
        f"{_listed(scored, most=len(scored))}. {remedy}"
    )


def _meant(lacking: Sequence[str], scored: Sequence[str]) -> str:
    """The end of a sentence on names that are not there."""
    lower = {name.lower(): name for name in scored}
    close = (difflib.get_close_matches(name.lower(), lower, n=1) for name in lacking)
    meant = [lower[found[0]] for found in close if found]
    return f": did you mean {_listed(meant)}?" if meant else "."


def _other_rules(rules: RuleSet) -> str:
    """Where the rules are of, and what names others."""
    if not rules.where:
        return f"Name the rules that count by {option('rules')}."
    return f"The rules are those of {rules.place}: {option('rules')} names others."


def _listed(names: Sequence[str], *, most: int = _MOST) -> str:
    return ", ".join(short(name) for name in names[:most]) + (" …" if len(names) > most else "")
