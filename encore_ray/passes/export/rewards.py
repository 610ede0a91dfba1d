"""Export: composed rewards as a preference dataset in the layout that a trainer reads (`layouts.LAYOUTS`)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from encore_ray.errors import ConfigError, DataError
from encore_ray.folder.reading.tables import TableUnit, column_names, table_units
from encore_ray.folder.reading.vetoes import VETOES, decided_pairs
from encore_ray.passes.export.carrying import carried_columns
from encore_ray.passes.export.layouts import (
    INDEX,
    LAYOUTS,
    NO_MARGIN,
    Row,
    dataset_files,
    margin_column,
    said_of_margins,
    write_dataset,
)
from encore_ray.schema import (
    CHOSEN,
    CHOSEN_VETOES,
    LABEL_PROBABILITY,
    MARGIN,
    PAIR_ID,
    PLAN_FILE,
    PROMPT,
    REFINED_DIR,
    REJECTED,
    REWARDS_DIR,
)
from encore_ray.storage import Folder

ON_NEGATIVE_MARGIN = ("keep", "drop", "swap")
COLUMNS = (PAIR_ID, PROMPT, CHOSEN, REJECTED, MARGIN)
DECIDED = "decided"  # what a veto decides of a row, see `decided_pairs`


@dataclass(frozen=True)
class ExportReport:
    """What an export wrote.

    Attributes:
        path: the dataset.
        written: rows in it.
        negative: pairs with a negative margin, and what was done with them.
        singles: single responses, left out since there is nothing to compare.
        unfit: pairs that the layout cannot express, left out.
        margins: what became of the margins, in a sentence.
        unsure: pairs whose label is less probable than was asked for, or that a veto decides and that have no
            probability, left out.
        vetoed, vetoed_against: pairs that a veto decides, in all and against their label; the latter are dealt with as
            those of negative margin.
    """

    path: str
    written: int
    negative: int
    on_negative_margin: str
    singles: int
    unfit: int
    margins: str
    unsure: int = 0
    vetoed: int = 0
    vetoed_against: int = 0

    def __str__(self) -> str:
        words = {"keep": "kept", "drop": "dropped", "swap": "swapped"}[self.on_negative_margin]
        text = f"{self.written:,} pairs written to {self.path}; {self.negative:,} with a negative margin, {words}."
        if self.vetoed:
            text += f" A veto decides {self.vetoed:,} pairs, {self.vetoed_against:,} against their label, {words}."
        if self.singles:
            text += f" {self.singles:,} single responses left out."
        if self.unfit:
            text += f" {self.unfit:,} pairs left out: the layout has no place for turns like theirs."
        if self.unsure:
            why = "their label is less probable than --min-confidence, or has no probability"
            text += f" {self.unsure:,} pairs left out: {why}."
        return f"{text} {self.margins}"


def export_rewards(
    run: Folder,
    output: Folder,
    *,
    layout: str,
    on_negative_margin: str,
    margin: str = NO_MARGIN,
    min_confidence: float | None = None,
    carry: Sequence[str] | None = None,
    overwrite: bool = False,
) -> ExportReport:
    """Write a run's rewards as a dataset; memory holds one unit at a time.

    Args:
        run: run folder after `compose`.
        output: folder for the dataset.
        layout: row of `LAYOUTS`.
        on_negative_margin: what to do with pairs whose rejected response has the higher reward.
        margin: none, as-loss (the column margin, which trainers subtract), or the name of a column for them.
        min_confidence: leave out pairs whose label is less probable by `refine apply`, in (0, 1).
        carry: further columns, see `carried_columns`.
        overwrite: replace a dataset that is in the output folder already.

    Raises:
        ConfigError: an unknown layout, choice or column, or a dataset in the way. DataError: the rewards carry no
            texts.
    """
    if on_negative_margin not in ON_NEGATIVE_MARGIN:
        raise ConfigError(f"--on-negative-margin {on_negative_margin}: known are {', '.join(ON_NEGATIVE_MARGIN)}.")
    require_room(output, layout=layout, overwrite=overwrite)
    if min_confidence is not None and not 0 < min_confidence < 1:
        raise ConfigError(f"--min-confidence must lie between 0 and 1, found {min_confidence}.")
    units = table_units(run.child(REWARDS_DIR).uri)
    column = margin_column(layout, margin, has_vetoes=any(CHOSEN_VETOES in column_names(unit) for unit in units[:1]))
    schema = units[0].schema if units else pa.schema([])
    carried = carried_columns(schema, carry, layout=layout, margin=column)
    refined = {} if min_confidence is None else _refined_units(run)
    counts = {"written": 0, "negative": 0, "singles": 0, "unfit": 0, "unsure": 0, "written negative": 0}
    counts |= {"vetoed": 0, "vetoed against": 0}

    def rows() -> Iterator[Row]:
        for unit in units:
            table = unit.read(list(dict.fromkeys([*COLUMNS, *VETOES, *carried.names])))
            missing = [name for name in COLUMNS if name not in table.column_names]
            if missing:
                raise DataError(
                    f"{unit.folder.path(unit.file)} lacks {', '.join(missing)}: compose with --run or --pairs, which "
                    "put the texts beside the rewards."
                )
            probable = _label_probabilities(unit, refined) if min_confidence is not None else {}
            decided_N = decided_pairs(table)
            for number, row in enumerate(table.to_pylist()):
                decided = 0 if decided_N is None else int(decided_N[number])
                yield row | {LABEL_PROBABILITY: probable.get(row[PAIR_ID]), DECIDED: decided}

    def records() -> Iterator[Row]:
        for row in rows():
            decided = row[DECIDED]
            if row[REJECTED] is None or (row[MARGIN] is None and not decided):
                counts["singles"] += 1
                continue
            if min_confidence is not None and (row[LABEL_PROBABILITY] or 0.0) < min_confidence:
                counts["unsure"] += 1
                continue
            counts["vetoed"] += decided != 0
            further = carried.of(row)
            if (decided or row[MARGIN]) < 0:
                counts["vetoed against" if decided else "negative"] += 1
                if on_negative_margin == "drop":
                    continue
                if on_negative_margin == "swap":
                    turned = None if decided else -row[MARGIN]
                    row |= {CHOSEN: row[REJECTED], REJECTED: row[CHOSEN], MARGIN: turned}
                    further = carried.of(row, turned=True)
            record = LAYOUTS[layout].record(row | {INDEX: counts["written"]})
            if record is None:
                counts["unfit"] += 1
                continue
            counts["written"] += 1
            counts["written negative"] += not decided and row[MARGIN] < 0
            if column:
                record[column] = row[MARGIN]
            yield record | further

    write_dataset(output, records(), layout=layout, margin=column, name=run.name, carried=carried.fields)
    return ExportReport(
        LAYOUTS[layout].path(output),
        written=counts["written"],
        negative=counts["negative"],
        on_negative_margin=on_negative_margin,
        singles=counts["singles"],
        unfit=counts["unfit"],
        margins=said_of_margins(layout, margin, num_negative=counts["written negative"]),
        unsure=counts["unsure"],
        vetoed=counts["vetoed"],
        vetoed_against=counts["vetoed against"],
    )


def require_room(output: Folder, *, layout: str, overwrite: bool) -> None:
    """ConfigError for an unknown layout, or a dataset that is in the way."""
    if layout not in LAYOUTS:
        raise ConfigError(f"--format {layout}: known are {', '.join(LAYOUTS)}.")
    standing = [output.path(name) for name in dataset_files(layout) if output.exists(name)]
    if standing and not overwrite:
        raise ConfigError(
            f"There is a dataset already: {', '.join(standing)}. Name another --output, or replace it with --overwrite."
        )


def _refined_units(run: Folder) -> dict[str, TableUnit]:
    """The units of refined/ by name."""
    if not run.child(REFINED_DIR).exists(PLAN_FILE):
        raise ConfigError(f"{run.path(REFINED_DIR)} is not there: --min-confidence needs `encore-ray refine apply`.")
    units = {unit.unit: unit for unit in table_units(run.child(REFINED_DIR).uri)}
    tables = (unit.read([LABEL_PROBABILITY]) for unit in units.values())
    if all(table.column(0).null_count == table.num_rows for table in tables):
        raise DataError(
            f"{run.path(REFINED_DIR)} knows no label's probability: there is no pair, or what it would be read from "
            "is no better than a coin, see the verdict of `encore-ray refine fit`. Leave out --min-confidence."
        )
    return units


def _label_probabilities(unit: TableUnit, refined: dict[str, TableUnit]) -> dict[str, float]:
    """The probability of each label of a unit of rewards, by pair_id."""
    found = refined[unit.unit].read([PAIR_ID, LABEL_PROBABILITY]) if unit.unit in refined else None
    if found is None or found.num_rows != unit.rows:
        raise DataError(
            f"{unit.folder.path(unit.file)} has not been refined as it is now: run `encore-ray refine apply` again."
        )
    return dict(zip(*(column.to_pylist() for column in found.columns), strict=True))
