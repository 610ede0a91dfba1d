"""Export by the labels of a selection: the adaptively labelled preference dataset, which reward models are trained on.

The direction of each pair is that of its `selection_label`: as it is, or turned round. Ties are left out.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from encore_ray.artifacts import Comparison
from encore_ray.errors import ConfigError, DataError
from encore_ray.folder.reading.table_rules import stored_rules
from encore_ray.folder.reading.tables import table_units
from encore_ray.passes.export.carrying import carried_columns
from encore_ray.passes.export.layouts import (
    INDEX,
    LAYOUTS,
    NO_MARGIN,
    Row,
    margin_column,
    said_of_margins,
    write_dataset,
)
from encore_ray.passes.export.rewards import require_room
from encore_ray.passes.selection.selected import Selection, find_selection
from encore_ray.schema import (
    CHOSEN,
    PAIR_ID,
    PAIRS_DIR,
    PROMPT,
    REJECTED,
    SELECTION_DIR,
    SELECTION_LABEL,
    SELECTION_MARGIN,
)
from encore_ray.storage import Folder


@dataclass(frozen=True)
class LabelledReport:
    """What an export by the labels of a selection wrote.

    Attributes:
        path: the dataset.
        kept, swapped: rows in it, as the corpus labels them and turned round.
        ties: pairs without a direction, left out.
        singles: single responses, left out since there is nothing to compare.
        unselected: pairs without a selection, such as those without scores, left out.
        unfit: pairs that the layout cannot express, left out.
        margins: what became of the margins, in a sentence.
        uniform: share of the labels that uniform weights over all rules agree with, as the run's comparison has it.
    """

    path: str
    kept: int
    swapped: int
    ties: int
    singles: int
    unselected: int
    unfit: int
    margins: str
    uniform: float | None = None

    def __str__(self) -> str:
        text = (
            f"{self.kept + self.swapped:,} pairs written to {self.path} with the direction of their selected rules: "
            f"{self.kept:,} kept, {self.swapped:,} swapped; {self.ties:,} ties left out."
        )
        if self.singles:
            text += f" {self.singles:,} single responses left out."
        if self.unselected:
            text += f" {self.unselected:,} pairs without a selection left out."
        if self.unfit:
            text += f" {self.unfit:,} pairs left out: the layout has no place for turns like theirs."
        return f"{text} {self._said_of_labels()}{self.margins}"

    def _said_of_labels(self) -> str:
        """How many labels are turned round, and whether the selection is fit to do so."""
        if not self.swapped:
            return ""
        agrees = self.kept / (self.kept + self.swapped)
        text = f"That turns round {1 - agrees:.1%} of the labels: the selected rules agree with {agrees:.1%} of them"
        if self.uniform is None:
            return f"{text}. `encore-ray compare` says how many all rules together agree with. "
        if agrees > self.uniform:
            return f"{text}, uniform weights over all rules with {self.uniform:.1%}. "
        return (
            f"{text}, uniform weights over all rules with {self.uniform:.1%}, so that this selection is no better "
            "judge than all rules: keep the corpus's labels (--labels corpus), unless you know that they are worse. "
        )


def export_selection(
    run: Folder,
    output: Folder,
    *,
    layout: str,
    margin: str = NO_MARGIN,
    carry: Sequence[str] | None = None,
    overwrite: bool = False,
) -> LabelledReport:
    """Write a run's pairs as a dataset, each in the direction of its selection; memory holds one unit at a time.

    Args:
        run: run folder after `select`, with scores.
        output: folder for the dataset.
        layout: row of `LAYOUTS`.
        margin: none, as-loss (the column margin, which trainers subtract), or the name of a column for the margins of
            the selected rules, >= 0; null of a pair that a veto decides.
        carry: further columns, see `carried_columns`.
        overwrite: replace a dataset that is in the output folder already.

    Raises:
        ConfigError: no selection, an unknown layout, or a dataset in the way. DataError: the selection has no labels,
            or the rules have changed since.
    """
    require_room(output, layout=layout, overwrite=overwrite)
    selection = find_selection(run)
    if selection is None:
        raise ConfigError(f"{run.path(SELECTION_DIR)} is not there, or not finished: run `encore-ray select` first.")
    column = margin_column(layout, margin, has_vetoes=_has_vetoes(selection))
    pairs = table_units(run.child(PAIRS_DIR).uri)
    carried = carried_columns(pairs[0].schema if pairs else pa.schema([]), carry, layout=layout, margin=column)
    counts = {"kept": 0, "swapped": 0, "ties": 0, "singles": 0, "unselected": 0, "unfit": 0}

    def records() -> Iterator[Row]:
        for unit in pairs:
            table = selection.units[unit.unit].read([PAIR_ID, SELECTION_LABEL, SELECTION_MARGIN])
            if table.column(SELECTION_LABEL).null_count:
                raise DataError(
                    f"{run.path(SELECTION_DIR)} has no labels: its rules were selected for pairs without scores. Score "
                    "the run, then select again."
                )
            labelled = {row[PAIR_ID]: row for row in table.to_pylist()}
            read = list(dict.fromkeys([PAIR_ID, PROMPT, CHOSEN, REJECTED, *carried.names]))
            for row in unit.read(read).to_pylist():
                label = labelled.get(row[PAIR_ID])
                for record in _records(row, label, layout=layout, column=column, counts=counts):
                    yield record | carried.of(row, turned=label is not None and label[SELECTION_LABEL] < 0)

    write_dataset(output, records(), layout=layout, margin=column, name=run.name, carried=carried.fields)
    return LabelledReport(
        LAYOUTS[layout].path(output),
        kept=counts["kept"],
        swapped=counts["swapped"],
        ties=counts["ties"],
        singles=counts["singles"],
        unselected=counts["unselected"],
        unfit=counts["unfit"],
        margins=said_of_margins(layout, margin, num_negative=0),
        uniform=_uniform(run),
    )


def _uniform(run: Folder) -> float | None:
    """What uniform weights agree with, where a comparison that stands tells it."""
    with contextlib.suppress(DataError):
        if run.exists(Comparison.FILE):
            lines = Comparison.read(run).schemes
            return next((line.all.accuracy for line in lines if line.name == "uniform" and line.all), None)
    return None


def _has_vetoes(selection: Selection) -> bool:
    rules = [stored_rules(unit) for unit in list(selection.units.values())[:1]]
    return any(rule.veto for each in rules for rule in each or ())


def _records(
    row: Row, labelled: Row | None, *, layout: str, column: str | None, counts: dict[str, int]
) -> Iterator[Row]:
    """The pair in the direction of its label; nothing where it has none. Counts what became of it."""
    if row[REJECTED] is None or labelled is None:
        counts["singles" if row[REJECTED] is None else "unselected"] += 1
        return
    label, margin = labelled[SELECTION_LABEL], labelled[SELECTION_MARGIN]
    if label == 0:
        counts["ties"] += 1
        return
    sides = (row[CHOSEN], row[REJECTED]) if label > 0 else (row[REJECTED], row[CHOSEN])
    directed = {**row, CHOSEN: sides[0], REJECTED: sides[1], INDEX: counts["kept"] + counts["swapped"]}
    record = LAYOUTS[layout].record(directed)
    if record is None:
        counts["unfit"] += 1
        return
    counts["kept" if label > 0 else "swapped"] += 1
    if column:
        record[column] = None if margin is None else label * margin
    yield record
