"""Exported datasets, read by the code that trainers read them with."""

import json
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from encore_ray.errors import ConfigError, DataError
from encore_ray.folder.attempt import Attempt
from encore_ray.folder.pass_table import pass_tables
from encore_ray.folder.reading.tables import table_units
from encore_ray.passes.export.layouts import LAYOUTS
from encore_ray.passes.export.rewards import ExportReport, export_rewards
from encore_ray.schema import MESSAGES
from encore_ray.storage import Folder
from tests.corpora.prepared import prepare
from tests.models import tiny

Turns = list[dict[str, str]]


def turns(*contents: str, first: str = "user") -> Turns:
    """Messages that alternate between user and assistant."""
    roles = ("user", "assistant") if first == "user" else ("assistant", "user")
    return [{"role": roles[number % 2], "content": content} for number, content in enumerate(contents)]


SYSTEM: Turns = [{"role": "system", "content": "Be kind."}]
PROMPT, CHOSEN, REJECTED = turns("Is tea hot?"), turns("Usually.", first="assistant"), turns("No.", first="assistant")
LONG = turns("Hi.", "Hello.", "Is tea hot? ☕")


def write_rewards(folder: Path, rows: list[dict[str, Any]]) -> Folder:
    """A run folder with rewards of two files, as a foreign table."""
    filled = [
        {"pair_id": f"p{n}", "prompt": PROMPT, "chosen": CHOSEN, "rejected": REJECTED, "margin": 1.0, **row}
        for n, row in enumerate(rows)
    ]
    schema = pa.schema(
        [
            ("pair_id", pa.string()),
            *((name, MESSAGES) for name in ("prompt", "chosen", "rejected")),
            ("margin", pa.float64()),
        ]
    )
    (folder / "rewards").mkdir()
    for number, part in enumerate((filled[:2], filled[2:])):
        pq.write_table(pa.Table.from_pylist(part, schema=schema), folder / "rewards" / f"{number}.parquet")
    return Folder(str(folder))


def export(
    run: Folder, layout: str = "trl", on_negative_margin: str = "keep", margin: str = "as-loss"
) -> tuple[list[dict[str, Any]], ExportReport]:
    output = run.child(f"out-{layout}")
    report = export_rewards(run, output, layout=layout, on_negative_margin=on_negative_margin, margin=margin)
    lines = output.read_bytes("train.jsonl").decode().splitlines()
    assert report.written == len(lines)
    assert report.path == output.path("train.jsonl")
    return [json.loads(line) for line in lines], report


def load(run: Folder, layout: str) -> Any:
    """What `datasets`, which all three trainers read files with, makes of the exported one."""
    path = run.child(f"out-{layout}").path("train.jsonl")
    return datasets.load_dataset("json", data_files=path, split="train", cache_dir=f"{run.uri}/cache")


@pytest.fixture(autouse=True)
def quiet() -> Any:
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


# What every layout does


@pytest.mark.parametrize("layout", ["trl", "openrlhf"])
@pytest.mark.parametrize(
    ("choice", "written", "margins"),
    [("keep", 3, [2.0, -1.5, 0.0]), ("drop", 2, [2.0, 0.0]), ("swap", 3, [2.0, 1.5, 0.0])],
)
def test_negative_margins_are_kept_dropped_or_swapped_and_counted(
    tmp_path: Path, layout: str, choice: str, written: int, margins: list[float]
) -> None:
    run = write_rewards(tmp_path, [{"margin": 2.0}, {"margin": -1.5}, {"margin": 0.0}])
    lines, report = export(run, layout, choice)
    assert (report.written, report.negative, report.singles, report.unfit) == (written, 1, 0, 0)
    assert [line["margin"] for line in lines] == margins
    kept = [json.dumps(line["chosen"]).count("No.") for line in lines]
    assert kept == ([0, 1, 0] if choice == "swap" else [0] * written)
    assert {"keep": "kept", "drop": "dropped", "swap": "swapped"}[choice] in str(report)


def test_single_responses_are_left_out_and_counted(tmp_path: Path) -> None:
    run = write_rewards(tmp_path, [{}, {"rejected": None, "margin": None}, {"margin": None}])
    _, report = export(run)
    assert (report.written, report.singles) == (1, 2)
    assert "2 single responses left out" in str(report)


def test_rewards_without_texts_are_refused_and_leave_no_dataset(tmp_path: Path) -> None:
    (tmp_path / "rewards").mkdir()
    pq.write_table(pa.table({"pair_id": ["a"], "margin": [1.0]}), tmp_path / "rewards" / "x.parquet")
    with pytest.raises(DataError, match=r"x\.parquet lacks prompt, chosen, rejected: compose with --run or --pairs"):
        export_rewards(Folder(str(tmp_path)), Folder(str(tmp_path / "out")), layout="trl", on_negative_margin="keep")
    assert list((tmp_path / "out").iterdir()) == []


def test_pairs_with_an_improbable_label_are_left_out_and_counted(tmp_path: Path) -> None:
    run = write_rewards(tmp_path, [{"margin": 2.0}, {"margin": -1.5}, {"margin": 0.5}])
    how: dict[str, Any] = {"layout": "trl", "on_negative_margin": "keep", "margin": "as-loss", "min_confidence": 0.4}
    with pytest.raises(ConfigError, match=r"--min-confidence needs `encore-ray refine apply`"):
        export_rewards(run, run.child("out"), **how)
    with pytest.raises(ConfigError, match="must lie between 0 and 1, found 40"):
        export_rewards(run, run.child("out"), **{**how, "min_confidence": 40})
    refined, probability = pass_tables(run)["refine"].open({}), {"p0": 0.9, "p1": 0.1, "p2": 0.4}
    for unit, ids in zip(table_units(run.child("rewards").uri), (["p1", "p0"], ["p2"]), strict=True):
        attempt = Attempt(refined, unit.unit, "digest")
        attempt.write(pa.table({"pair_id": ids, "label_probability": [probability[one] for one in ids]}))
        attempt.commit({"rows": len(ids)})
    commits = refined.commits()
    refined.seal(sorted(commits), commits, {})
    report = export_rewards(run, run.child("out"), **how)
    assert (report.written, report.unsure, report.negative) == (2, 1, 0)
    lines = run.child("out").read_bytes("train.jsonl").decode().splitlines()
    assert [json.loads(line)["margin"] for line in lines] == [2.0, 0.5]  # p0 and p2; of p1 .1 < .4
    assert "1 pairs left out: their label is less probable" in str(report)
    refined.seal(sorted(commits)[1:], commits, {})
    with pytest.raises(DataError, match="run `encore-ray refine apply` again"):
        export_rewards(run, run.child("again"), **how)


def test_labels_of_which_no_probability_is_known_cannot_be_left_out_by_it(tmp_path: Path) -> None:
    run = write_rewards(tmp_path, [{"margin": 2.0}])
    refined = pass_tables(run)["refine"].open({})
    (unit,) = table_units(run.child("rewards").uri)
    attempt = Attempt(refined, unit.unit, "digest")
    attempt.write(pa.table({"pair_id": ["p0"], "label_probability": pa.array([None], pa.float64())}))
    attempt.commit({"rows": 1})
    refined.seal([unit.unit], refined.commits(), {})
    with pytest.raises(DataError, match=r"no better than a coin.*Leave out --min-confidence"):
        export_rewards(run, run.child("out"), layout="trl", on_negative_margin="keep", min_confidence=0.4)


def test_an_unknown_layout_or_choice_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    run = write_rewards(tmp_path, [{}])
    with pytest.raises(ConfigError, match="--format csv: known are trl, openrlhf, llamafactory"):
        export_rewards(run, run.child("out"), layout="csv", on_negative_margin="keep")
    with pytest.raises(ConfigError, match="--on-negative-margin flip: known are keep, drop, swap"):
        export_rewards(run, run.child("out"), layout="trl", on_negative_margin="flip")


@pytest.mark.parametrize(("layout", "file"), [("trl", "train.jsonl"), ("llamafactory", "dataset_info.json")])
def test_a_dataset_in_the_way_is_kept_unless_it_is_to_be_replaced(tmp_path: Path, layout: str, file: str) -> None:
    run = write_rewards(tmp_path, [{}])
    output = run.child("out")
    output.write_atomic(file, b"mine")
    with pytest.raises(ConfigError, match=rf"There is a dataset already: .*out/{file}\. .*--overwrite"):
        export_rewards(run, output, layout=layout, on_negative_margin="keep")
    assert output.names() == [file]
    assert output.read_bytes(file) == b"mine"
    export_rewards(run, output, layout=layout, on_negative_margin="keep", overwrite=True)
    assert output.read_bytes(file) != b"mine"


ALL = list(LAYOUTS)
PLAIN = ("jsonl", "parquet", "datasets")


@pytest.mark.parametrize("layout", ALL)
def test_no_layout_has_a_column_of_margins_that_was_not_asked_for(tmp_path: Path, layout: str) -> None:
    run = write_rewards(tmp_path, [{"margin": -2.0}, {"prompt": SYSTEM + PROMPT}])
    report = export_rewards(run, run.child("none"), layout=layout, on_negative_margin="keep")
    assert report.written == 2
    assert "No margins are written: TRL, OpenRLHF and ms-swift subtract a column called margin" in str(report)
    assert tuple(rows_of(report.path)[0]) == LAYOUTS[layout].columns
    report = export_rewards(run, run.child("named"), layout=layout, on_negative_margin="keep", margin="gap")
    assert "the column gap, which no trainer takes into its loss" in str(report)
    assert [row["gap"] for row in rows_of(report.path)] == [-2.0, 1.0]


@pytest.mark.parametrize("layout", ALL)
def test_margins_for_the_loss_are_written_where_a_trainer_subtracts_them_and_refused_elsewhere(
    tmp_path: Path, layout: str
) -> None:
    run = write_rewards(tmp_path, [{"margin": -2.0}, {}])
    how: dict[str, Any] = {"layout": layout, "on_negative_margin": "keep", "margin": "as-loss"}
    if layout not in ("trl", "openrlhf", "ms-swift", "jsonl", "parquet", "datasets"):
        with pytest.raises(ConfigError, match="those of trl, openrlhf, ms-swift do"):
            export_rewards(run, run.child("out"), **how)
        return
    report = export_rewards(run, run.child("out"), **how)
    assert [row["margin"] for row in rows_of(report.path)] == [-2.0, 1.0]
    assert "1 of them are negative, which turns the loss of these pairs round" in str(report)


@pytest.mark.parametrize(
    ("layout", "margin"), [("trl", "margin"), ("trl", "chosen"), ("nemo-rl", "context"), ("trl", ""), ("trl", "a b")]
)
def test_a_name_that_would_do_something_else_is_refused(tmp_path: Path, layout: str, margin: str) -> None:
    run = write_rewards(tmp_path, [{}])
    with pytest.raises(ConfigError, match=f"--margin {margin}"):
        export_rewards(run, run.child("out"), layout=layout, on_negative_margin="keep", margin=margin)
    assert not run.child("out").exists()


def with_more(run: Folder) -> Folder:
    """Its first file of rewards, with further columns."""
    path = Path(run.uri) / "rewards" / "0.parquet"
    more = {"subset": ["safe", None], "chosen_reward": [1.0, 2.0], "rejected_reward": [0.0, 5.0], "year": [2024, None]}
    table = pq.read_table(path)
    for name, values in more.items():
        table = table.append_column(name, pa.array(values))
    pq.write_table(table, path)
    (Path(run.uri) / "rewards" / "1.parquet").unlink()
    return run


@pytest.mark.parametrize("layout", PLAIN)
def test_a_plain_table_carries_all_that_the_rewards_have(tmp_path: Path, layout: str) -> None:
    run = with_more(write_rewards(tmp_path, [{}, {"margin": -3.0}, {}]))
    report = export_rewards(run, run.child("out"), layout=layout, on_negative_margin="swap", margin="gap")
    first, second = rows_of(report.path)
    assert first == {
        "pair_id": "p0", "prompt": PROMPT, "chosen": CHOSEN, "rejected": REJECTED,
        "subset": "safe", "chosen_reward": 1.0, "rejected_reward": 0.0, "year": 2024, "gap": 1.0,
    }  # fmt: skip
    # Turned round, and with it what is said of either side.
    assert (second["chosen"], second["chosen_reward"], second["rejected_reward"]) == (REJECTED, 5.0, 2.0)
    again = export_rewards(run, run.child("out"), layout=layout, on_negative_margin="drop", overwrite=True)
    assert [row["pair_id"] for row in rows_of(again.path)] == ["p0"]


def test_a_trainer_gets_the_columns_that_are_asked_for(tmp_path: Path) -> None:
    run = with_more(write_rewards(tmp_path, [{}, {}, {}]))
    how: dict[str, Any] = {"layout": "trl", "on_negative_margin": "keep"}
    few = export_rewards(run, run.child("few"), carry=["pair_id", "subset"], **how)
    assert list(rows_of(few.path)[0]) == ["prompt", "chosen", "rejected", "pair_id", "subset"]
    every = export_rewards(run, run.child("all"), carry=["all"], **how)
    assert "year" in rows_of(every.path)[0]
    with pytest.raises(
        ConfigError, match="--carry group: there is no such column; found pair_id, subset, chosen_reward"
    ):
        export_rewards(run, run.child("none"), carry=["group"], **how)


def rows_of(path: str) -> list[dict[str, Any]]:
    """What `datasets` reads, as the trainers do."""
    if Path(path).is_dir():
        return list(datasets.load_from_disk(path))
    kind = "parquet" if path.endswith(".parquet") else "json"
    loaded: Any = datasets.load_dataset(kind, data_files=path, split="train", cache_dir=f"{path}.cache")
    return list(loaded)


MULTI_TURN = turns("A.", "B?", "C.", first="assistant")


@pytest.mark.parametrize(
    ("layout", "example", "unfit"),
    [
        (  # docs.nvidia.com/nemo/rl, PreferenceDataset: the lower rank is preferred
            "nemo-rl",
            {
                "context": SYSTEM + PROMPT,
                "completions": [{"rank": 0, "completion": CHOSEN}, {"rank": 1, "completion": REJECTED}],
            },
            0,
        ),
        (  # axolotl, prompt_strategies/bradley_terry/chat_template.py: four texts, the first of which may be empty
            "axolotl",
            {"system": "Be kind.", "input": "Is tea hot?", "chosen": "Usually.", "rejected": "No."},
            2,
        ),
        (  # swift.readthedocs.io, Custom dataset: the last turn of messages is the chosen response
            "ms-swift",
            {"messages": SYSTEM + PROMPT + CHOSEN, "rejected_response": "No."},
            1,
        ),
        (  # verl.readthedocs.io, Prepare data for post-training: five columns, in Parquet
            "verl",
            {
                "data_source": "encore-ray",
                "prompt": SYSTEM + PROMPT,
                "ability": "preference",
                "reward_model": {"style": "model", "ground_truth": "Usually."},
                "extra_info": {"split": "train", "index": 0, "pair_id": "p0", "rejected": "No."},
            },
            1,
        ),
        *(
            (plain, {"pair_id": "p0", "prompt": SYSTEM + PROMPT, "chosen": CHOSEN, "rejected": REJECTED}, 0)
            for plain in PLAIN
        ),
    ],
)
def test_an_example_has_the_columns_that_the_trainer_documents(
    tmp_path: Path, layout: str, example: dict[str, Any], unfit: int
) -> None:
    run = write_rewards(tmp_path, [{"prompt": SYSTEM + PROMPT}, {"prompt": LONG}, {"rejected": MULTI_TURN}])
    report = export_rewards(run, run.child("out"), layout=layout, on_negative_margin="keep")
    assert (report.written, report.unfit) == (3 - unfit, unfit)
    assert rows_of(report.path)[0] == example


# TRL, by its own code


@pytest.mark.filterwarnings("ignore:.gradient_checkpointing. is deprecated:FutureWarning")  # TRL's own default
def test_trl_trains_on_the_margins_of_the_export(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification
    from trl.data_utils import apply_chat_template, is_conversational
    from trl.trainer.reward_config import RewardConfig
    from trl.trainer.reward_trainer import RewardTrainer

    run = write_rewards(tmp_path, [{"margin": 2.0}, {"prompt": SYSTEM + LONG, "margin": 0.25}])
    lines, _ = export(run)
    assert lines[1] == {"prompt": SYSTEM + LONG, "chosen": CHOSEN, "rejected": REJECTED, "margin": 0.25}
    loaded = load(run, "trl")
    tokenizer: Any = tiny.tokenizer(chat=True)
    assert is_conversational(loaded[0])
    assert apply_chat_template(loaded[0], tokenizer)["chosen"] == "<|im_start|>assistant\nUsually.<|im_end|>\n"

    torch.manual_seed(0)
    config = tiny.config("llama", vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, num_labels=1)
    model = AutoModelForSequenceClassification.from_config(config)
    trainer = RewardTrainer(
        model=model,
        args=RewardConfig(output_dir=f"{tmp_path}/trl", report_to=[], use_cpu=True, bf16=False, disable_tqdm=True),
        train_dataset=loaded,
        processing_class=tokenizer,
    )
    assert isinstance(trainer.train_dataset, datasets.Dataset)
    examples = [trainer.train_dataset[index] for index in range(2)]
    text = tokenizer.decode(examples[1]["chosen_ids"])
    assert all(turn["content"] in text for turn in [*SYSTEM, *LONG, *CHOSEN])
    assert "Usually." not in tokenizer.decode(examples[1]["rejected_ids"])
    batch = trainer.data_collator(examples)
    torch.testing.assert_close(batch["margin"], torch.tensor([2.0, 0.25]))
    with torch.no_grad():
        loss: Any = trainer.compute_loss(model, batch)
    assert torch.isfinite(loss)


# OpenRLHF and LLaMA-Factory pin other versions of our libraries, so that they cannot be installed beside us:
# what follows is what their code asks of an example.


def test_openrlhf_gets_whole_conversations(tmp_path: Path) -> None:
    """openrlhf 0.11.2, datasets/reward_dataset.py: with --apply_chat_template and no prompt key it renders
    data["chosen"] and data["rejected"], DPO takes all turns but the last for the prompt, and "margin" is a number."""
    run = write_rewards(tmp_path, [{"margin": 2.0}, {"prompt": SYSTEM + LONG, "margin": -0.5}])
    lines, _ = export(run, "openrlhf")
    assert lines[1] == {"chosen": SYSTEM + LONG + CHOSEN, "rejected": SYSTEM + LONG + REJECTED, "margin": -0.5}
    tokenizer = tiny.tokenizer(chat=True)
    for example in load(run, "openrlhf"):
        chosen, rejected = (
            str(tokenizer.apply_chat_template(example[side], tokenize=False)) for side in ("chosen", "rejected")
        )
        prompt = str(tokenizer.apply_chat_template(example["chosen"][:-1], tokenize=False))
        assert chosen.startswith(prompt)
        assert rejected.startswith(prompt)


@pytest.mark.parametrize("layout", ["trl", "openrlhf", "llamafactory", "nemo-rl", "ms-swift"])
def test_prepare_reads_back_what_export_writes(tmp_path: Path, layout: str) -> None:
    rows = [{"prompt": prompt, "margin": 2.0} for prompt in (PROMPT, SYSTEM + LONG, LONG)]
    run = write_rewards(tmp_path, rows)
    export(run, layout, margin="none")
    read = prepare(run.child(f"out-{layout}").path("train.jsonl")).pairs
    assert [pair["prompt"] for pair in read] == [row["prompt"] for row in rows]
    assert all((pair["chosen"], pair["rejected"]) == (CHOSEN, REJECTED) for pair in read)
    assert len(prepare(run.child(f"out-{layout}").uri).pairs) == 3  # the folder, with what describes it


def test_llamafactory_gets_share_gpt_turns_and_their_description(tmp_path: Path) -> None:
    run = write_rewards(tmp_path, [{"margin": 2.0}, {"prompt": SYSTEM + LONG, "margin": -0.5}])
    lines, _ = export(run, "llamafactory", margin="reward_margin")
    assert lines[0] == {
        "conversations": [{"from": "human", "value": "Is tea hot?"}],
        "system": "",
        "chosen": {"from": "gpt", "value": "Usually."},
        "rejected": {"from": "gpt", "value": "No."},
        "reward_margin": 2.0,
    }
    assert lines[1]["system"] == "Be kind."
    info = run.child("out-llamafactory").read_json("dataset_info.json")
    assert info == {
        run.name: {
            "file_name": "train.jsonl",
            "ranking": True,
            "formatting": "sharegpt",
            "columns": {
                "messages": "conversations",
                "chosen": "chosen",
                "rejected": "rejected",
                "system": "system",
            },
        }
    }
    # llamafactory 0.9.5, data/converter.py, SharegptDatasetConverter with the default tags: an example with other
    # turns is emptied with no more than a warning.
    columns = info[run.name]["columns"]
    for example in load(run, "llamafactory"):
        messages = example[columns["messages"]]
        assert len(messages) % 2 == 1
        assert [turn["from"] for turn in messages] == ["human", "gpt", "human", "gpt"][: len(messages)]
        assert isinstance(example[columns["system"]], str)
        for side in ("chosen", "rejected"):
            assert isinstance(example[columns[side]], dict)
            assert example[columns[side]]["from"] == "gpt"


@pytest.mark.parametrize(
    "row",
    [
        {"chosen": turns("A.", "B?", "C.", first="assistant")},  # a response of several turns
        {"rejected": turns("A.", "B?", "C.", first="assistant")},
        {"prompt": SYSTEM + SYSTEM + PROMPT},  # a second system turn
        {"prompt": turns("Hi.", "Hello.")},  # ends with the assistant
        {"prompt": []},
        {"prompt": turns("Hello.", first="assistant")},
    ],
)
def test_pairs_that_llamafactory_would_empty_are_left_out_and_counted(tmp_path: Path, row: dict[str, Any]) -> None:
    run = write_rewards(tmp_path, [{}, row, {}])
    lines, report = export(run, "llamafactory", margin="none")
    assert (len(lines), report.written, report.unfit) == (2, 2, 1)
    assert "1 pairs left out: the layout has no place for turns like theirs" in str(report)
