"""A run exported as one model, from the command line, and read by transformers alone."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from encore_ray.cli import main
from encore_ray.errors import ConfigError, DataError
from encore_ray.passes.export.model import export_model
from encore_ray.storage import Folder
from tests.passes import jobs


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of short conversations scored by model/ into run/, weighed in the unit range and composed."""
    folder = tmp_path_factory.mktemp("export_model")
    rows = [
        {"prompt": f"Is {what} hot?", "chosen": f"No, {what} is {n}.", "rejected": f"Touch the {what}!"}
        for n, what in enumerate(["tea", "ice", "fire", "the sun ☕", "lava", "milk", "a gas bottle", "an old fox"])
    ]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    jobs.save_model(folder / "model")
    here = ("--run", folder / "run")
    assert run("prepare", "--input", folder / "corpus.jsonl", *here) == 0
    assert run("score", "--model", folder / "model", "--max-tokens", 100, *here) == 0
    assert run("weigh", "--score-range", "unit", *here) == 0
    assert run("compose", *here) == 0
    return folder


@torch.inference_mode()
def rewards_by_transformers(folder: Path, rows: list[dict], side: str) -> np.ndarray:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    texts = [tokenizer.apply_chat_template(row["prompt"] + row[side], tokenize=False) for row in rows]
    inputs = tokenizer(texts, add_special_tokens=False, padding=True, return_token_type_ids=False, return_tensors="pt")
    return model(**inputs).logits[:, 0].double().numpy()


def test_the_exported_model_gives_the_margins_of_the_run(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = tmp_path / "one"
    assert run("export", "--run", place / "run", "--as-model", one) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"3 rules folded into {one}, one LlamaForSequenceClassification." in said
    assert "Margins of conversations of up to 100 tokens are the composed ones" in said
    table = jobs.table(place / "run" / "rewards")
    expected_N = table.column("margin").to_numpy()
    sides = (rewards_by_transformers(one, table.to_pylist(), side) for side in ("chosen", "rejected"))
    found_N = np.subtract(*sides)
    np.testing.assert_allclose(found_N, expected_N, atol=1e-5 * expected_N.std(), rtol=0)
    recorded = json.loads((one / "config.json").read_text())["encore_ray"]
    weights = json.loads((place / "run" / "weights.json").read_text())
    assert recorded["weights"] == weights["fingerprint"]
    assert f"rewards are lower by {recorded['offset']:.6g}" in said
    offset_N = table.column("chosen_reward").to_numpy() - rewards_by_transformers(one, table.to_pylist(), "chosen")
    np.testing.assert_allclose(offset_N, recorded["offset"], atol=1e-5)


def test_a_model_that_has_moved_is_named_and_another_is_refused(place: Path, tmp_path: Path) -> None:
    moved, other = tmp_path / "moved", tmp_path / "other"
    shutil.copytree(place / "model", moved)
    shutil.copytree(place / "model", other)
    (other / "heads.safetensors").write_bytes((other / "heads.safetensors").read_bytes()[:-4] + b"\0\0\0\0")
    folder = Folder(str(place / "run"))
    with pytest.raises(ConfigError, match="other is not the model that scores/ was made with: its digest is"):
        export_model(folder, str(tmp_path / "one"), model=str(other))
    assert not (tmp_path / "one").exists()
    assert export_model(folder, str(tmp_path / "one"), model=str(moved)).num_rules == 3


def test_weights_that_the_run_has_outgrown_are_not_exported(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "run", tmp_path / "run")
    assert run("weigh", "--run", tmp_path / "run", "--score-range", "unit", "--scheme", "uniform", "--overwrite") == 0
    with pytest.raises(DataError, match="rewards is not finished"):
        export_model(Folder(str(tmp_path / "run")), str(tmp_path / "one"))
    assert not (tmp_path / "one").exists()


def test_only_a_model_of_ours_is_replaced_and_only_when_asked(place: Path, tmp_path: Path) -> None:
    folder, one = Folder(str(place / "run")), tmp_path / "one"
    export_model(folder, str(one))
    with pytest.raises(ConfigError, match=r"There is a model already: .*one\. .*--overwrite"):
        export_model(folder, str(one))
    export_model(folder, str(one), overwrite=True)
    with pytest.raises(ConfigError, match="is not empty, and holds no exported model"):
        export_model(folder, str(place / "model"), overwrite=True)
    with pytest.raises(ConfigError, match=r"corpus\.jsonl is a file\. Name a folder"):
        export_model(folder, str(place / "corpus.jsonl"), overwrite=True)
    with pytest.raises(ConfigError, match="a model is written to a local folder"):
        export_model(folder, "s3://bucket/one")


def test_either_a_dataset_or_a_model_is_exported(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in ((), ("--output", "a", "--as-model", "b")):
        assert run("export", "--run", place / "run", *words) == 2
        assert "export needs either --output, for a dataset, or --as-model" in " ".join(capsys.readouterr().err.split())


def test_ratings_in_the_data_have_no_heads_to_fold(tmp_path: Path) -> None:
    row = {"prompt": "Hi.", "chosen": "Hello.", "rejected": "No.", "chosen__kind": 1.0, "rejected__kind": 0.5}
    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps({**row, "n": n}) + "\n" for n in range(4)))
    (tmp_path / "rules.yaml").write_text("- {name: kind, text: Kind., higher_is: better, scale: {lo: 0, hi: 1}}")
    (tmp_path / "job.yaml").write_text(
        "inputs: [corpus.jsonl]\nrun: run\nrules: rules.yaml\ntracking: {enabled: false}\n"
    )
    assert run("run", tmp_path / "job.yaml") == 0
    with pytest.raises(ConfigError, match="holds no scores of a model, but ratings that came with the data"):
        export_model(Folder(str(tmp_path / "run")), str(tmp_path / "one"))


def test_a_reading_that_no_tokenizer_brings_about_is_not_exported(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = ("--run", tmp_path / "run")
    assert run("prepare", "--input", place / "corpus.jsonl", *here) == 0
    assert run("score", "--model", place / "model", "--system", "merge", *here) == 0
    assert run("weigh", "--score-range", "unit", *here) == 0
    assert run("compose", *here) == 0
    assert run("export", *here, "--as-model", tmp_path / "one") == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "made with score.system: merge, which no tokenizer brings about by itself" in said
