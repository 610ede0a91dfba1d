"""Rules of a table of scores that comes without any: read off its scores, and told."""

from collections.abc import Mapping, Sequence

from encore_ray.drafts.observed import observe_units
from encore_ray.drafts.rules import DraftedRules, draft_rules
from encore_ray.errors import DataError
from encore_ray.folder.reading.tables import TableUnit, table_rules
from encore_ray.rules import Rule, RuleSet, Scale
from encore_ray.storage import Folder


def infer_rules(
    units: Sequence[TableUnit], names: Sequence[str], *, texts: Mapping[str, str] | None = None
) -> DraftedRules:
    """Rules of these names, on the scale and in the direction that all scores of a table suggest.

    Args:
        texts: what the table calls the rules.

    Raises:
        DataError: a column is not there or holds no numbers, or no score is finite.
    """
    named = RuleSet(Rule(name, name, "better", Scale(0.0, 1.0)) for name in names)
    seen = observe_units(units, table_rules(units, named))
    table = units[0].table_name
    if all(each.low is None for each in seen):
        raise DataError(f"{table} holds no finite score.")
    num_rows = sum(unit.rows for unit in units)
    return draft_rules(seen, of=f"the scores of all {num_rows:,} pairs of {Folder(table).name}", texts=texts)
