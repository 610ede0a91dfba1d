"""Export: composed rewards as a preference dataset in the exact layout that a trainer reads.

- trl: JSON Lines with prompt, chosen, rejected (message lists) and margin, for TRL's RewardTrainer and DPOTrainer.
- openrlhf: JSON Lines with chosen and rejected whole conversations, for --apply_chat_template.
- llamafactory: JSON Lines in ShareGPT form with its dataset_info.json.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from encore_ray.errors import ConfigError, DataError
from encore_ray.folder.tables import TableUnit, table_units
from encore_ray.schema import (
    CHOSEN,
    LABEL_PROBABILITY,
    MARGIN,
    PAIR_ID,
    PLAN_FILE,
    PROMPT,
    REFINED_DIR,
    REJECTED,
    REWARDS_DIR,
)
from encore_ray.storage import Folder, to_json

Row = dict[str, Any]
ON_NEGATIVE_MARGIN = ("keep", "drop", "swap")
DATASET_FILE, DATASET_INFO_FILE = "train.jsonl", "dataset_info.json"
SHARE_GPT_ROLES = {"user": "human", "assistant": "gpt", "system": "system"}
SHARE_GPT_TURNS = ("human", "gpt")  # LLaMA-Factory drops an example whose turns do not alternate, human first and last
COLUMNS = (PAIR_ID, PROMPT, CHOSEN, REJECTED, MARGIN)


@dataclass(frozen=True)
class ExportReport:
    """What an export wrote.

    Attributes:
        path: the dataset.
        written: rows in it.
        negative: pairs with a negative margin, and what was done with them.
        singles: single responses, left out since there is nothing to compare.
        unfit: pairs that the layout cannot express, left out.
        unsure: pairs whose label is less probable than was asked for, left out.
    """

    path: str
    written: int
    negative: int
    on_negative_margin: str
    singles: int
    unfit: int
    unsure: int = 0

    def __str__(self) -> str:
        words = {"keep": "kept", "drop": "dropped", "swap": "swapped"}[self.on_negative_margin]
        text = f"{self.written:,} pairs written to {self.path}; {self.negative:,} with a negative margin, {words}."
        if self.singles:
            text += f" {self.singles:,} single responses left out."
        if self.unfit:
            text += f" {self.unfit:,} pairs left out: the layout has no place for turns like theirs."
        if self.unsure:
            text += f" {self.unsure:,} pairs left out: their label is less probable than --min-confidence."
        return text


def export_rewards(
    run: Folder,
    output: Folder,
    *,
    layout: str,
    on_negative_margin: str,
    min_confidence: float | None = None,
    overwrite: bool = False,
) -> ExportReport:
    """Write a run's rewards as a dataset; memory holds one unit at a time.

    Args:
        run: run folder after `compose`.
        output: folder for the dataset.
        layout: trl, openrlhf or llamafactory.
        on_negative_margin: what to do with pairs whose rejected response has the higher reward.
        min_confidence: leave out pairs whose label is less probable by `refine apply`, in (0, 1).
        overwrite: replace a dataset that is in the output folder already.

    Raises:
        ConfigError: an unknown layout or choice, or a dataset in the way. DataError: the rewards carry no texts.
    """
    if on_negative_margin not in ON_NEGATIVE_MARGIN:
        raise ConfigError(f"--on-negative-margin {on_negative_margin}: known are {', '.join(ON_NEGATIVE_MARGIN)}.")
    require_room(output, layout=layout, overwrite=overwrite)
    if min_confidence is not None and not 0 < min_confidence < 1:
        raise ConfigError(f"--min-confidence must lie between 0 and 1, found {min_confidence}.")
    units = table_units(run.child(REWARDS_DIR).uri)
    refined = {} if min_confidence is None else _refined_units(run)
    counts = {"written": 0, "negative": 0, "singles": 0, "unfit": 0, "unsure": 0}

    def rows() -> Iterator[Row]:
        for unit in units:
            table = unit.read(COLUMNS)
            missing = [name for name in COLUMNS if name not in table.column_names]
            if missing:
                raise DataError(
                    f"{unit.folder.path(unit.file)} lacks {', '.join(missing)}: compose with --run or --pairs, which "
                    "put the texts beside the rewards."
                )
            probable = _label_probabilities(unit, refined) if min_confidence is not None else {}
            for row in table.to_pylist():
                yield row | {LABEL_PROBABILITY: probable.get(row[PAIR_ID])}

    def records() -> Iterator[Row]:
        for row in rows():
            if row[REJECTED] is None or row[MARGIN] is None:
                counts["singles"] += 1
                continue
            if min_confidence is not None and (row[LABEL_PROBABILITY] or 0.0) < min_confidence:
                counts["unsure"] += 1
                continue
            if row[MARGIN] < 0:
                counts["negative"] += 1
                if on_negative_margin == "drop":
                    continue
                if on_negative_margin == "swap":
                    row |= {CHOSEN: row[REJECTED], REJECTED: row[CHOSEN], MARGIN: -row[MARGIN]}
            record = LAYOUTS[layout](row)
            if record is None:
                counts["unfit"] += 1
                continue
            counts["written"] += 1
            yield record

    write_dataset(output, records(), layout=layout, name=run.name)
    return ExportReport(
        output.path(DATASET_FILE),
        written=counts["written"],
        negative=counts["negative"],
        on_negative_margin=on_negative_margin,
        singles=counts["singles"],
        unfit=counts["unfit"],
        unsure=counts["unsure"],
    )


def require_room(output: Folder, *, layout: str, overwrite: bool) -> None:
    """ConfigError for an unknown layout, or a dataset that is in the way."""
    if layout not in LAYOUTS:
        raise ConfigError(f"--format {layout}: known are {', '.join(LAYOUTS)}.")
    files = (DATASET_FILE, DATASET_INFO_FILE) if layout == "llamafactory" else (DATASET_FILE,)
    standing = [output.path(name) for name in files if output.exists(name)]
    if standing and not overwrite:
        raise ConfigError(
            f"There is a dataset already: {', '.join(standing)}. Name another --output, or replace it with --overwrite."
        )


def write_dataset(output: Folder, records: Iterable[Row], *, layout: str, name: str) -> None:
    """Write the records of a layout, which `LAYOUTS` makes, and what its trainer needs beside them."""
    output.write_stream(DATASET_FILE, (json.dumps(each, ensure_ascii=False).encode() + b"\n" for each in records))
    if layout == "llamafactory":
        output.write_atomic(DATASET_INFO_FILE, to_json(_dataset_info(name)))


def _refined_units(run: Folder) -> dict[str, TableUnit]:
    """The units of refined/ by name."""
    if not run.child(REFINED_DIR).exists(PLAN_FILE):
        raise ConfigError(f"{run.path(REFINED_DIR)} is not there: --min-confidence needs `encore-ray refine apply`.")
    return {unit.unit: unit for unit in table_units(run.child(REFINED_DIR).uri)}


def _label_probabilities(unit: TableUnit, refined: dict[str, TableUnit]) -> dict[str, float]:
    """The probability of each label of a unit of rewards, by pair_id."""
    found = refined[unit.unit].read([PAIR_ID, LABEL_PROBABILITY]) if unit.unit in refined else None
    if found is None or found.num_rows != unit.rows:
        raise DataError(
            f"{unit.folder.path(unit.file)} has not been refined as it is now: run `encore-ray refine apply` again."
        )
    return dict(zip(*(column.to_pylist() for column in found.columns), strict=True))


def _trl(row: Row) -> Row:
    return {PROMPT: row[PROMPT], CHOSEN: row[CHOSEN], REJECTED: row[REJECTED], MARGIN: row[MARGIN]}


def _openrlhf(row: Row) -> Row:
    return {CHOSEN: row[PROMPT] + row[CHOSEN], REJECTED: row[PROMPT] + row[REJECTED], MARGIN: row[MARGIN]}


def _llamafactory(row: Row) -> Row | None:
    turns = [_share_gpt(message) for message in row[PROMPT]]
    system = turns.pop(0)["value"] if turns and turns[0]["from"] == "system" else ""
    alternating = all(turn["from"] == SHARE_GPT_TURNS[number % 2] for number, turn in enumerate(turns))
    if len(row[CHOSEN]) != 1 or len(row[REJECTED]) != 1 or not alternating or len(turns) % 2 == 0:
        return None
    return {
        "conversations": turns,
        "system": system,
        CHOSEN: _share_gpt(row[CHOSEN][0]),
        REJECTED: _share_gpt(row[REJECTED][0]),
        MARGIN: row[MARGIN],
    }


def _share_gpt(message: Row) -> Row:
    return {"from": SHARE_GPT_ROLES[message["role"]], "value": message["content"]}


def _dataset_info(name: str) -> Row:
    columns = {"messages": "conversations", "chosen": CHOSEN, "rejected": REJECTED, "system": "system"}
    return {name: {"file_name": DATASET_FILE, "ranking": True, "formatting": "sharegpt", "columns": columns}}


LAYOUTS: dict[str, Callable[[Row], Row | None]] = {
    "trl": _trl,
    "openrlhf": _openrlhf,
    "llamafactory": _llamafactory,
}
