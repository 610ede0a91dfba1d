"""Rules of a table of scores that comes without any: read off its scores, told, and kept in a file to be corrected."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from encore_ray.drafts.observed import observe_units
from encore_ray.drafts.rules import DraftedRules, draft_rules
from encore_ray.errors import ConfigError, DataError
from encore_ray.files.drafted import mark_draft, read_draft
from encore_ray.folder.reading.table_rules import carried_rules, rules_beside, scored_rules, table_rules
from encore_ray.folder.reading.tables import TableUnit, column_names
from encore_ray.rules import Rule, RuleSet, Scale
from encore_ray.schema import RULES_FILE, chosen_column, rejected_column
from encore_ray.shell import again, near, option
from encore_ray.storage import Folder
from encore_ray.visible import short


def infer_rules(
    units: Sequence[TableUnit], names: Sequence[str], *, texts: Mapping[str, str] | None = None
) -> DraftedRules:
    """Rules of these names, on the scale and in the direction that all scores of a table suggest.

    Args:
        texts: what the table calls the rules.

    Raises:
        DataError: a column is not there or holds no numbers, or no score of a rule is finite.
    """
    named = RuleSet(Rule(name, name, "better", Scale(0.0, 1.0)) for name in names)
    seen = observe_units(units, table_rules(units, named))
    table = units[0].table_name
    if all(each.low is None for each in seen):
        raise DataError(f"{table} holds no finite score.")
    num_rows = sum(unit.rows for unit in units)
    name = Folder(table).name
    drafted = draft_rules(seen, of=f"the scores of all {num_rows:,} pairs of {name}", texts=texts)
    return replace(drafted, text=mark_draft(drafted.text, of=name))


@dataclass(frozen=True)
class KnownRules:
    """The rules of a table of scores.

    Attributes:
        rules: None where those of the weights are taken.
        draft: of rules that nobody gives, as they were read off the scores.
        unused: rules of which the table has scores, and which do not count.
    """

    rules: RuleSet | None
    draft: DraftedRules | None
    unused: Sequence[str]

    @property
    def assumed(self) -> list[str]:
        """What is taken for granted of rules that nobody gave."""
        return self.draft.assumed if self.draft else []

    @property
    def sentences(self) -> list[str]:
        """Where they are, and what they leave out."""
        said = []
        if self.rules is not None and self.rules.where:
            said.append(f"rules: {self.rules.place}")
        if self.unused:
            said.append(f"the rules do not name {', '.join(map(short, self.unused))}: such scores are not used")
        return said


def known_rules(
    units: Sequence[TableUnit],
    given: RuleSet | Sequence[str] | None,
    *,
    weighed: Sequence[str] | None = None,
    texts: Mapping[str, str] | None = None,
) -> KnownRules:
    """The rules of a table: those given, those that stand with it, or what its scores suggest.

    Args:
        given: rules, or names alone, whose scale and direction are read off the scores.
        weighed: names of the rules of weights, which will do where the table has none of its own.
        texts: what the table calls the rules.

    Raises:
        ConfigError, DataError: as of `table_rules`, `named_by_columns` and `infer_rules`.
    """
    rules = given if isinstance(given, RuleSet) else None
    if given is None and units:
        rules = carried_rules(units[0])
    if rules is not None or not units:
        rules = table_rules(units, rules)
    draft = None
    if rules is None and weighed is None:
        names = named_by_columns(units) if given is None or isinstance(given, RuleSet) else given
        draft = infer_rules(units, names, texts=texts)
        rules = draft.rules
    counted = set(rules.names if rules is not None else weighed or ())
    return KnownRules(rules, draft, [name for name in scored_rules(units[0]) if name not in counted])


def named_by_columns(units: Sequence[TableUnit]) -> list[str]:
    """A rule for each column chosen__RULE; DataError where its other side is missing, or there is none."""
    names, rules = column_names(units[0]), scored_rules(units[0])
    odd = [rule for rule in rules if not {chosen_column(rule), rejected_column(rule)} <= {*names}]
    if odd or not rules:
        what = f"of {_listed(odd)} it has one of the two" if odd else f"found {_listed(names)}"
        raise DataError(
            f"{units[0].table_name}: expected the columns {chosen_column('RULE')} and {rejected_column('RULE')} of "
            f"each rule; {what}. Name the rules that count by {option('rules')}."
        )
    return rules


def _listed(names: Sequence[str], most: int = 6) -> str:
    return ", ".join(map(short, names[:most])) + (" …" if len(names) > most else "")


@dataclass(frozen=True)
class KeptDraft:
    """A draft of a table's rules, and the file for it.

    Attributes:
        text: of the draft.
        path: of the file.
        told: what the draft is of, and why it replaces another.
        is_there: whether the file has this text already.
    """

    text: str
    path: str
    told: str
    is_there: bool

    def write(self) -> None:
        """Keep it: once the rules have served, so that what failed leaves nothing that is taken for rules."""
        if not self.is_there:
            folder, _, name = self.path.rpartition("/")
            Folder(folder or "/").write_atomic(name, self.text.encode())


def keep_draft(text: str, units: Sequence[TableUnit], folder: Folder) -> KeptDraft:
    """Where a draft is kept: in the folder of the results, or where it stands beside the table.

    One that nobody has changed gives way to the draft of what the table holds now.

    Raises:
        ConfigError: the file is there, and is no draft or was changed since.
    """
    mark = read_draft(text)
    assert mark is not None
    beside = rules_beside(units[0].folders_beside, table=units[0].table_name)
    if beside is not None and beside.drafted == mark:
        return KeptDraft(text, beside.where, str(mark), is_there=True)
    path = folder.path(RULES_FILE)
    if not folder.exists(RULES_FILE):
        return KeptDraft(text, path, str(mark), is_there=False)
    standing = read_draft(folder.read_file(RULES_FILE).decode(errors="replace"))
    if standing is None or standing.is_edited:
        raise ConfigError(
            f"{path} ({standing or 'no draft'}) is there, and a draft of rules for {mark.of} would replace it. If it "
            f"has the rules of these scores, name it; else have the results in another folder.\n  "
            f"{again(rules=near(path))}"
        )
    if standing == mark:
        return KeptDraft(text, path, str(mark), is_there=True)
    why = f"it was {standing}" if standing.of != mark.of else f"{mark.of} has changed since"
    return KeptDraft(text, path, f"drafted anew from {mark.of}: {why}", is_there=False)
