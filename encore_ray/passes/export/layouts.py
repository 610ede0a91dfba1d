"""The layouts of an exported dataset: the columns that each trainer documents, in one table."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pyarrow as pa

from encore_ray.errors import ConfigError
from encore_ray.passes.export.writing import FILES, Kind, Row, write_rows
from encore_ray.schema import CHOSEN, MARGIN, MESSAGES, PAIR_ID, PROMPT, REJECTED
from encore_ray.storage import Folder, to_json

NO_MARGIN, MARGIN_AS_LOSS = "none", "as-loss"
DATASET_INFO_FILE = "dataset_info.json"  # LLaMA-Factory's
SHARE_GPT_ROLES = {"user": "human", "assistant": "gpt", "system": "system"}
SHARE_GPT_TURNS = ("human", "gpt")  # LLaMA-Factory drops an example whose turns do not alternate, human first and last
INDEX = "index"  # of a row among those written


@dataclass(frozen=True)
class Layout:
    """What a trainer reads.

    Attributes:
        record: the example of a pair, or None where the layout has no place for its turns.
        columns: of an example.
        subtracts: whether the trainer takes a column called margin into its loss by itself.
        kind: of its files.
        types: of its columns; JSON Lines need none.
        is_plain: whether it is of no trainer, and has what a table of rewards has.
    """

    record: Callable[[Row], Row | None]
    columns: tuple[str, ...]
    subtracts: bool = False
    kind: Kind = "jsonl"
    types: pa.Schema | None = None
    is_plain: bool = False

    def path(self, output: Folder) -> str:
        """Where the dataset is."""
        return output.uri if self.kind == "datasets" else output.path(FILES[self.kind][0])


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
        if not known.subtracts and not known.is_plain:
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
        known = LAYOUTS[layout]
        as_loss = "--margin as-loss writes it, " if known.is_plain or known.subtracts else ""
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
    files = FILES[LAYOUTS[layout].kind]
    return (*files, DATASET_INFO_FILE) if layout == "llamafactory" else files


def write_dataset(
    output: Folder,
    records: Iterable[Row],
    *,
    layout: str,
    margin: str | None,
    name: str,
    carried: Iterable[pa.Field] = (),
) -> None:
    """Write the records of a layout, and what its trainer needs beside them; memory holds a row group.

    Args:
        output: folder for the dataset.
        records: as `LAYOUTS` makes them, with the column of margins.
        layout: row of `LAYOUTS`.
        margin: column of margins, or None.
        name: of the run.
        carried: further columns of the records.
    """
    known = LAYOUTS[layout]
    types = pa.schema([*(known.types or ()), *carried, *([] if margin is None else [pa.field(margin, pa.float64())])])
    write_rows(output, records, kind=known.kind, types=types)
    if layout == "llamafactory":
        output.write_atomic(DATASET_INFO_FILE, to_json(_dataset_info(name)))


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
    file = FILES[LAYOUTS["llamafactory"].kind][0]
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
    "verl": Layout(_verl, tuple(_VERL_TYPES.names), kind="parquet", types=_VERL_TYPES),
    # plain tables; a folder for datasets.load_from_disk
    **{kind: Layout(_plain, tuple(_PLAIN_TYPES.names), kind=kind, types=_PLAIN_TYPES, is_plain=True) for kind in FILES},
}
