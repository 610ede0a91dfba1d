"""What became of a table made elsewhere, to be told: nothing of it is passed over without a word."""

from collections.abc import Sequence
from dataclasses import dataclass

from encore_ray.foreign.form.forms import Long, Wide
from encore_ray.foreign.values import Texts
from encore_ray.schema import CHOSEN, PAIR_ID, REJECTED, chosen_column
from encore_ray.shell import option
from encore_ray.visible import short

_MOST = 8  # names in a sentence


@dataclass(frozen=True)
class Account:
    """How a table was read.

    Attributes:
        table: what messages call it.
        form: in which columns its scores and ids were found.
        rules: by name, what the table calls them.
        num_pairs: rows of ours.
        num_without: rows without any score, left out.
        further: its other columns: of a row a pair they are carried along, of a row a score they are left out.
        texts: of a table of texts.
    """

    table: str
    form: Wide | Long
    rules: dict[str, str]
    num_pairs: int
    num_without: int
    further: Sequence[str]
    texts: Texts | None

    def sentences(self, *, of_rules: bool = True, is_second: bool = False) -> list[str]:
        """What was found, assumed and left out.

        Args:
            of_rules: whether it holds scores of rules, and not rewards.
            is_second: whether it lies beside a table of scores: nobody names its columns, and none is carried along.
        """
        pairs, rules = _count(self.num_pairs, "pair"), _count(len(self.rules), "rule")
        under = f" under {rules}: {_listed(self.rules)}" if of_rules else ""
        said = [f"{self.table}: {pairs}{under}", f"{'scores' if of_rules else 'rewards'} stand {self._where()}"]
        if isinstance(self.form, Wide) and self.form.num_listed and self.form.names is None:
            named = [f"rule_{number + 1}" for number in range(self.form.num_listed)]
            if [*self.rules] == named:
                said.append(f"lists do not tell which rules they are of; {option('rules')} names them in their order")
        if PAIR_ID not in self.form.ids:
            how = "" if is_second else f"; {option('map', {PAIR_ID: 'COLUMN'})} names one"
            said.append(f"it has no {PAIR_ID}, so rows are numbered from 0{how}")
        named = [f"{column} is {name}" for name, column in self.form.ids.items() if column != name]
        if named:
            said.append("; ".join(named))
        if self.texts is not None and self.texts.decimal == ",":
            said.append("decimals have a comma")
        said += self.left_out
        if self.further:
            kept = "left out" if isinstance(self.form, Long) or is_second else "carried along, not as scores"
            said.append(f"{kept}: {_count(len(self.further), 'column')}, {_listed(self.further)}")
        return said

    @property
    def left_out(self) -> list[str]:
        """The rows that do not count; none where all do."""
        return [f"left out: {_count(self.num_without, 'row')} without any score"] if self.num_without else []

    def _where(self) -> str:
        if isinstance(self.form, Long):
            form = self.form
            if form.rule is None:
                return f"in a row a response: side in {short(form.side)}, scores in columns called as the rules"
            score = form.scores[""]
            return f"in a row each: rule in {short(form.rule)}, side in {short(form.side)}, score in {short(score)}"
        rule, (chosen, rejected) = next(iter(self.form.scores.items()))
        kind = {str: "structs", int: "lists"}.get(type(chosen.key), "columns")
        if rejected is None:
            return f"in {kind} of single responses, as {short(chosen.column)} for {rule}"
        if chosen.key is not None:
            return (
                f"in {kind}: of {CHOSEN} responses in {short(chosen.column)}, of {REJECTED} in {short(rejected.column)}"
            )
        if chosen.column == chosen_column(rule):
            return f"in {kind} called as ours"
        return f"in {kind} as {short(chosen.column)} ({CHOSEN}) and {short(rejected.column)} ({REJECTED})"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _listed(names: Sequence[str] | dict[str, str]) -> str:
    shown = [short(name) for name in names][:_MOST]
    return ", ".join(shown) + (f" and {len(names) - _MOST:,} more" if len(names) > _MOST else "")
