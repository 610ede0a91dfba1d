"""What is right for each case: exit codes of its commands, what they say, and what lies in the folder afterwards."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq


@dataclass(frozen=True)
class Case:
    """What must come of a case.

    Attributes:
        exits: of its calls of encore-ray, in their order.
        says: regular expressions, each found in what was printed (runs of white space are one space).
        never: regular expressions that are not.
        check: looks at the folder in which it ran; raises on what is wrong.
        needs: a program of others that it is about; without it the case is not tried, which is told.
    """

    exits: tuple[int, ...]
    says: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    check: Callable[[Path], None] | None = None
    needs: str | None = None


def rows(folder: Path) -> list[dict[str, Any]]:
    """Of a table of a run, in the order of its files."""
    return [row for file in sorted(folder.glob("data/*.parquet")) for row in pq.read_table(file).to_pylist()]


def turns(row: dict[str, Any], side: str = "chosen") -> list[tuple[str, str]]:
    return [(turn["role"], turn["content"]) for turn in [*row["prompt"], *row[side]]]


def same(seen: object, right: object) -> None:
    if seen != right:
        raise AssertionError(f"{seen!r}, not {right!r}")


def scores(folder: Path, name: str = "out/run", column: str = "chosen__reward") -> np.ndarray:
    return np.array([row[column] for row in rows(folder / name / "scores")], dtype=np.float64)


def reference(model: Path, folder: Path, *, of_head: Callable[[np.ndarray], np.ndarray] | None = None) -> np.ndarray:
    """The rewards of the chosen responses by plain transformers, from the messages on.

    Args:
        of_head: of the last hidden states, where the model's head is none that transformers reads; [N, D] to [N].
    """
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    loaded = AutoModelForSequenceClassification.from_pretrained(model, num_labels=1, dtype=torch.float32).eval()

    def read(ids: Any) -> Any:
        if of_head is None:
            return loaded(ids).logits[0, 0]
        return of_head(loaded.model(ids).last_hidden_state[0, -1].numpy())

    return of_chosen(folder, tokenizer, read)


def of_chosen(folder: Path, tokenizer: Any, read: Callable[[Any], Any]) -> np.ndarray:
    """What is read of the tokens of each chosen response, from the messages on."""
    import torch

    values = []
    with torch.inference_mode():
        for line in folder.joinpath("pairs.jsonl").read_text().splitlines():
            pair = json.loads(line)
            messages = [{"role": "user", "content": pair["prompt"]}, {"role": "assistant", "content": pair["chosen"]}]
            ids = tokenizer.apply_chat_template(messages, return_tensors="pt", return_dict=True)["input_ids"]
            values.append(float(read(ids)))
    return np.array(values)


def close(seen: np.ndarray, right: np.ndarray) -> None:
    if not np.allclose(seen, right, rtol=1e-5, atol=1e-5):
        raise AssertionError(f"scores {seen}, not {right}")


def counted_head(folder: Path) -> None:
    close(scores(folder), reference(folder / "model", folder))


def few_requests(folder: Path) -> None:
    answers = [path for path in folder.joinpath("out/run").rglob("answers/*") if path.is_file()]
    asked = sum(len(path.read_text(errors="replace").splitlines()) for path in answers)
    if asked > 400:
        raise AssertionError(f"{asked} answers were paid for")


def legible_tokenizer(folder: Path) -> None:
    config = json.loads(folder.joinpath("out/rm/tokenizer_config.json").read_text())
    same(config.get("tokenizer_class"), "PreTrainedTokenizerFast")
    written = json.loads(folder.joinpath("out/rm/config.json").read_text())
    if "rope_theta" not in written:
        raise AssertionError("transformers 4 finds no rope_theta in config.json")


def hh_turns(folder: Path) -> None:
    first = rows(folder / "out/run/pairs")[0]
    same([role for role, _ in turns(first)], ["user", "assistant", "user", "assistant"])
    same(turns(first)[0], ("user", "Is it safe to eat green potatoes?"))
    same(turns(first)[-1], ("assistant", "Better not: it may hold much solanine."))
    same(turns(first, "rejected")[-1], ("assistant", "Yes, enjoy it."))


def lists_in_text(folder: Path) -> None:
    for name in ("run", "repr"):
        for row in rows(folder / "out" / name / "pairs"):
            same(turns(row), [("user", "Where do swifts sleep?"), ("assistant", "In the air, mostly.")])
            same(turns(row, "rejected")[-1], ("assistant", "In burrows."))


def system_turns(folder: Path) -> None:
    first = turns(rows(folder / "out/a/pairs")[0])
    same(first[:2], [("system", "Answer in French only."), ("user", "Good morning!")])
    same(turns(rows(folder / "out/b/pairs")[0])[0], ("system", "Be brief."))
    same(turns(rows(folder / "out/c/pairs")[0])[-1], ("assistant", "Ask your pharmacist first."))


def head_values(folder: Path) -> None:
    from safetensors.numpy import load_file

    for kind, name, bias in (("value-head", "value_head", 0.0), ("v-head", "v_head.summary", 0.25)):
        model = folder / f"model-{kind}"
        weight = load_file(model / "model.safetensors")[f"{name}.weight"]
        right = reference(model, folder, of_head=lambda hidden, weight=weight, bias=bias: hidden @ weight[0] + bias)
        close(scores(folder, f"out/{kind}"), right)


def adapter_values(folder: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    base = AutoModelForSequenceClassification.from_pretrained(folder / "model/base", num_labels=1, dtype=torch.float32)
    loaded = PeftModel.from_pretrained(base, str(folder / "model")).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder / "model/base")
    close(scores(folder), of_chosen(folder, tokenizer, lambda ids: loaded(input_ids=ids).logits[0, 0]))


def all_tensors_used(folder: Path) -> None:
    plain = reference(folder / "model-head-bias", folder)
    close(scores(folder, "out/head-bias"), plain + 1.5)
    close(scores(folder, "out/head-normalised"), (plain - 0.7) / 2)


def system_stays_out(folder: Path) -> None:
    same(folder.joinpath("out/run/scores/_SUCCESS").exists(), False)


def keys_left_out(folder: Path) -> None:
    same(len(rows(folder / "out/keys/pairs")), 2)
    same(turns(rows(folder / "out/keys/pairs")[1]), [("user", "Hello"), ("assistant", "Hello!")])


def no_margin_in_loss(folder: Path) -> None:
    for line in folder.joinpath("out/trl/train.jsonl").read_text().splitlines():
        same("margin" in json.loads(line), False)


def experiment_of_the_environment(folder: Path) -> None:
    import sqlite3

    with sqlite3.connect(folder / "out/x.db") as store:
        names = {name for (name,) in store.execute("select name from experiments")}
    if "/Users/someone/rm" not in names:
        raise AssertionError(f"experiments {names}")


def ratings_pair(folder: Path) -> None:
    first = rows(folder / "out/uf/pairs")[0]
    same({turns(first)[-1][1], turns(first, "rejected")[-1][1]}, {"Iron, zinc.", "Wood."})
    second = rows(folder / "out/hs/pairs")[0]
    same((turns(second)[-1][1], turns(second, "rejected")[-1][1]), ("Hat.", "Dog."))


def no_row_blamed(folder: Path) -> None:
    held = list(folder.joinpath("out/run").rglob("quarantine/data/*.parquet"))
    same(held, [])


def share_gpt(folder: Path) -> None:
    right = [("system", "Be brief."), ("user", "Name a moon."), ("assistant", "Io. Another?"), ("user", "Yes.")]
    same(turns(rows(folder / "out/r/pairs")[0]), [*right, ("assistant", "Titan.")])
    same(turns(rows(folder / "out/a/pairs")[0]), [("user", "Name a moon."), ("assistant", "Io.")])


def nine_pairs(folder: Path) -> None:
    same(len(rows(folder / "out/a/pairs")), 9)
    first = rows(folder / "out/b/pairs")[0]
    same((turns(first)[-1][1], turns(first, "rejected")[-1][1]), ("I will not help with that.", "Hide a phone."))


EXPECTED: dict[str, Case] = {
    "01-rm-num-labels-default": Case((0,), check=counted_head),
    "02-judge-quarantines-after-the-bill": Case((3,), ("think",), check=few_requests),
    "03-judge-max-completion-tokens": Case((0, 0), ("max_completion_tokens",)),
    "05-export-tokenizer-class": Case((0, 0), check=legible_tokenizer),
    "06-data-hh-static": Case((0, 0), check=hh_turns),
    "07-data-json-in-text": Case((0, 0, 0, 0), check=lists_in_text),
    "08-data-system-column": Case((0, 0, 0, 0), check=system_turns),
    "09-rm-head-names": Case((0, 0), check=head_values),
    "10-template-refuses-late": Case((3,), ("score.system", "system"), check=system_stays_out),
    "11-template-date": Case((0, 0), ("True",)),
    # The scores are right, and the scale in its rules.yaml is not that of the adapter's head.
    "13-rm-adapter": Case((3,), ("3.92 to 5.48",), check=adapter_values),
    "14-rm-unused-tensors": Case((0, 0, 0), check=all_tensors_used),
    "15-data-message-keys": Case((0, 3), ("tool_calls",), check=keys_left_out),
    "17-rm-missing-package": Case((4, 4), ("flash_attn", "bitsandbytes")),
    "18-run-no-flock": Case((0,), ("lock",)),
    "20-export-margin-in-loss": Case((0, 0), ("margin",), check=no_margin_in_loss),
    "21-data-opposite-labels": Case((0,), ("contradict",)),
    "24-mlflow-databricks-and-files": Case((2, 0), ("sqlite",), check=experiment_of_the_environment),
    "26-data-ultrafeedback-raw": Case((0, 0, 0), check=ratings_pair),
    "27-rm-text-pair": Case((0,), ("score.template",)),
    "29-ray-memory-pressure": Case((4,), ("memory",), check=no_row_blamed),
    "30-judge-legacy-logprobs": Case((0, 0, 0, 0), ("all or nothing",)),
    "31-judge-context": Case((0, 2), ("too long for its context", "lost their beginning")),
    "34-ray-uv-run": Case((0,), needs="uv"),
    "37-data-sharegpt": Case((0, 0), check=share_gpt),
    "38-data-rmb-rmbench": Case((0, 0, 0), check=nine_pairs),
    "39-data-null-response": Case((3, 0, 3), ("d.parquet", "max_bad_fraction"), ("Traceback",)),
    "42-score-16k": Case((0,), ("8,192", "131,072", "score.max_tokens")),
}
