"""The layouts of an exported dataset: the columns that each trainer documents, in one table."""

import io
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from encore_ray.errors import ConfigError
from encore_ray.schema import CHOSEN, MARGIN, MESSAGES, PAIR_ID, PROMPT, REJECTED
from encore_ray.storage import Folder, to_json

Row = dict[str, Any]

NO_MARGIN, MARGIN_AS_LOSS = "none", "as-loss"
DATASET_INFO_FILE = "dataset_info.json"
SHARE_GPT_ROLES = {"user": "human", "assistant": "gpt", "system": "system"}
SHARE_GPT_TURNS = ("human", "gpt")  # LLaMA-Factory drops an example whose turns do not alternate, human first and last
ROWS_A_GROUP = 1024  # of Parquet
INDEX = "index"  # of a row among those written


@dataclass(frozen=True)
class Layout:
    """What a trainer reads.

    Attributes:
        record: the example of a pair, or None where the layout has no place for its turns.
        columns: of an example.
        subtracts: whether the trainer takes a column called margin into its loss by itself.
        types: of a Parquet file's columns; None for JSON Lines.
    """

    record: Callable[[Row], Row | None]
    columns: tuple[str, ...]
    subtracts: bool = False
    types: pa.Schema | None = None

    @property
    def file(self) -> str:
        """Name of the dataset's file."""
        return "train.jsonl" if self.types is None else "train.parquet"


def margin_column(layout: str, margin: str, *, has_vetoes: bool) -> str | None:
    """The column that margins are written to, as `--margin` asks; None for no column.

    Args:
        has_vetoes: whether a pair may be decided by a veto, and have no margin.

    Raises:
        ConfigError: a name that the layout has already, or margin itself, which must be asked for by what it does; or
            margins for a loss where a pair may have none.
    """
    if margin == NO_MARGIN:
        return None
    known = LAYOUTS[layout]
    if margin == MARGIN_AS_LOSS:
        if not known.subtracts and layout != "parquet":
            by = ", ".join(name for name, other in LAYOUTS.items() if other.subtracts)
            raise ConfigError(
                f"--margin as-loss: no trainer of the layout {layout} takes margins into its loss; those of {by} do. "
                "Keep them under a name of yours, as in --margin reward_margin, or leave them out."
            )
        if has_vetoes:
            raise ConfigError(
                "--margin as-loss: a pair that a veto decides has no margin, and a loss subtracts one of every pair. "
                "Leave margins out, or keep them under a name of yours, null for these pairs."
            )
        return MARGIN
    if margin == MARGIN:
        raise ConfigError(
            "--margin margin: TRL, OpenRLHF and ms-swift subtract a column of that name in their loss. Say "
            "--margin as-loss for that, or another name."
        )
    if not margin.isidentifier() or margin in known.columns:
        raise ConfigError(
            f"--margin {margin}: expected none, as-loss or the name of a column, other than {', '.join(known.columns)}."
        )
    return margin


def said_of_margins(layout: str, margin: str, *, num_negative: int) -> str:
    """What became of the margins, and what trainers do with them, in a sentence for the report."""
    if margin == NO_MARGIN:
        said = "No margins are written: TRL, OpenRLHF and ms-swift subtract a column called margin in their loss. "
        as_loss = "--margin as-loss writes it, " if layout == "parquet" or LAYOUTS[layout].subtracts else ""
        return f"{said}{as_loss}--margin NAME keeps them under another name."
    if margin != MARGIN_AS_LOSS:
        return f"Margins are in the column {margin}, which no trainer takes into its loss by itself."
    text = (
        "Margins are in the column margin, which TRL, OpenRLHF and ms-swift subtract in their loss, in the units of "
        "the rules' scales."
    )
    if num_negative:
        text += f" {num_negative:,} of them are negative, which turns the loss of these pairs round: see "
        text += "--on-negative-margin."
    return text


def dataset_files(layout: str) -> tuple[str, ...]:
    """Names of the files that `write_dataset` makes."""
    return (LAYOUTS[layout].file, DATASET_INFO_FILE) if layout == "llamafactory" else (LAYOUTS[layout].file,)


def write_dataset(output: Folder, records: Iterable[Row], *, layout: str, margin: str | None, name: str) -> None:
    """Write the records of a layout, and what its trainer needs beside them; memory holds a row group.

    Args:
        output: folder for the dataset.
        records: as `LAYOUTS` makes them, with the column of margins.
        layout: row of `LAYOUTS`.
        margin: column of margins, or None.
        name: of the run.
    """
    known = LAYOUTS[layout]
    if known.types is None:
        chunks = (json.dumps(each, ensure_ascii=False).encode() + b"\n" for each in records)
    else:
        types = known.types if margin is None else known.types.append(pa.field(margin, pa.float64()))
        chunks = _parquet(records, types)
    output.write_stream(known.file, chunks)
    if layout == "llamafactory":
        output.write_atomic(DATASET_INFO_FILE, to_json(_dataset_info(name)))


def _parquet(records: Iterable[Row], types: pa.Schema) -> Iterator[bytes]:
    sink, rows = _Pieces(), iter(records)
    with pq.ParquetWriter(sink, types, compression="zstd") as writer:
        while group := list(islice(rows, ROWS_A_GROUP)):
            writer.write_table(pa.Table.from_pylist(group, schema=types))
            yield from sink.taken()
    yield from sink.taken()


class _Pieces(io.RawIOBase):
    """Takes what is written, for someone who writes it elsewhere."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._pieces.append(bytes(data))
        return len(self._pieces[-1])

    def taken(self) -> list[bytes]:
        pieces, self._pieces = self._pieces, []
        return pieces


def _trl(row: Row) -> Row:
    return {PROMPT: row[PROMPT], CHOSEN: row[CHOSEN], REJECTED: row[REJECTED]}


def _openrlhf(row: Row) -> Row:
    return {CHOSEN: row[PROMPT] + row[CHOSEN], REJECTED: row[PROMPT] + row[REJECTED]}


def _llamafactory(row: Row) -> Row | None:
    turns = [_share_gpt(message) for message in row[PROMPT]]
    system = turns.pop(0)["value"] if turns and turns[0]["from"] == "system" else ""
    alternating = all(turn["from"] == SHARE_GPT_TURNS[number % 2] for number, turn in enumerate(turns))
    if _single_replies(row) is None or not alternating or len(turns) % 2 == 0:
        return None
    return {
        "conversations": turns,
        "system": system,
        CHOSEN: _share_gpt(row[CHOSEN][0]),
        REJECTED: _share_gpt(row[REJECTED][0]),
    }


def _share_gpt(message: Row) -> Row:
    return {"from": SHARE_GPT_ROLES.get(message["role"], message["role"]), "value": message["content"]}


def _dataset_info(name: str) -> Row:
    columns = {"messages": "conversations", "chosen": CHOSEN, "rejected": REJECTED, "system": "system"}
    file = LAYOUTS["llamafactory"].file
    return {name: {"file_name": file, "ranking": True, "formatting": "sharegpt", "columns": columns}}


def _nemo_rl(row: Row) -> Row:
    ranked = enumerate((row[CHOSEN], row[REJECTED]))  # the lower rank is preferred
    return {"context": row[PROMPT], "completions": [{"rank": rank, "completion": side} for rank, side in ranked]}


def _axolotl(row: Row) -> Row | None:
    roles, replies = [message["role"] for message in row[PROMPT]], _single_replies(row)
    if roles not in (["user"], ["system", "user"]) or replies is None:
        return None
    system = row[PROMPT][0]["content"] if len(roles) == 2 else ""
    return {"system": system, "input": row[PROMPT][-1]["content"], CHOSEN: replies[0], REJECTED: replies[1]}


def _ms_swift(row: Row) -> Row | None:
    replies = _single_replies(row)
    if replies is None or not row[PROMPT]:
        return None
    return {"messages": row[PROMPT] + row[CHOSEN], "rejected_response": replies[1]}


def _verl(row: Row) -> Row | None:
    replies = _single_replies(row)
    if replies is None:
        return None
    return {
        "data_source": "encore-ray",
        PROMPT: row[PROMPT],
        "ability": "preference",
        "reward_model": {"style": "model", "ground_truth": replies[0]},
        "extra_info": {"split": "train", "index": row[INDEX], PAIR_ID: row[PAIR_ID], REJECTED: replies[1]},
    }


def _plain(row: Row) -> Row:
    return {PAIR_ID: row[PAIR_ID], PROMPT: row[PROMPT], CHOSEN: row[CHOSEN], REJECTED: row[REJECTED]}


def _single_replies(row: Row) -> tuple[str, str] | None:
    """The texts of both responses, where each is a single turn of the assistant."""
    sides = (row[CHOSEN], row[REJECTED])
    if any([message["role"] for message in side] != ["assistant"] for side in sides):
        return None
    return sides[0][0]["content"], sides[1][0]["content"]


_VERL_TYPES = pa.schema(
    [
        ("data_source", pa.string()),
        (PROMPT, MESSAGES),
        ("ability", pa.string()),
        ("reward_model", pa.struct([("style", pa.string()), ("ground_truth", pa.string())])),
        (
            "extra_info",
            pa.struct([("split", pa.string()), ("index", pa.int64()), (PAIR_ID, pa.string()), (REJECTED, pa.string())]),
        ),
    ]
)
_PLAIN_TYPES = pa.schema([(PAIR_ID, pa.string()), (PROMPT, MESSAGES), (CHOSEN, MESSAGES), (REJECTED, MESSAGES)])

LAYOUTS: dict[str, Layout] = {
    # RewardTrainer and DPOTrainer: message lists
    "trl": Layout(_trl, (PROMPT, CHOSEN, REJECTED), subtracts=True),
    # --apply_chat_template: whole conversations
    "openrlhf": Layout(_openrlhf, (CHOSEN, REJECTED), subtracts=True),
    # ShareGPT rankings, with dataset_info.json
    "llamafactory": Layout(_llamafactory, ("conversations", "system", CHOSEN, REJECTED)),
    # PreferenceDataset
    "nemo-rl": Layout(_nemo_rl, ("context", "completions")),
    # type: bradley_terry.chat_template, whose prompt is a single turn
    "axolotl": Layout(_axolotl, ("system", "input", CHOSEN, REJECTED)),
    # --rlhf_type rm or dpo
    "ms-swift": Layout(_ms_swift, ("messages", "rejected_response"), subtracts=True),
    # prompts for reinforcement learning, with the chosen response as ground truth
    "verl": Layout(_verl, tuple(_VERL_TYPES.names), types=_VERL_TYPES),
    "parquet": Layout(_plain, tuple(_PLAIN_TYPES.names), types=_PLAIN_TYPES),
}
