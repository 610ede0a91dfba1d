"""Flags as other tools call them (TRL, Hugging Face, Ray, MLflow), answered with what they are called here."""

import typing
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any

from encore_ray.errors import ConfigError

# By other names: ours, of which the first that a command has is told; --set is for commands that run a whole job.
OURS: Mapping[tuple[str, ...], tuple[str, ...]] = {
    ("--model-name-or-path", "--model-name", "--model-path", "--pretrained", "--reward-model"): ("--model",),
    ("--output-dir", "--out-dir", "--save-dir"): ("--output", "--run"),
    ("--dataset", "--dataset-name", "--dataset-path", "--data", "--data-path", "--data-files", "--train-file"): (
        "--input",
        "--pairs",
    ),
    ("--num-train-epochs", "--max-epochs", "--num-epochs"): ("--epochs",),
    ("--lr",): ("--learning-rate",),
    ("--warmup-ratio", "--warmup-steps"): ("--warmup",),
    ("--lora-r",): ("--lora-rank",),
    ("--batch-size", "--train-batch-size", "--per-device-train-batch-size"): (
        "--batch-rows",
        "--batch-responses",
        "--batch-tokens",
        "--set score.batch_tokens=TOKENS",
    ),
    ("--per-device-eval-batch-size", "--eval-batch-size"): ("--batch-tokens", "--set score.batch_tokens=TOKENS"),
    ("--max-length", "--max-seq-length", "--max-seq-len", "--max-model-len", "--cutoff-len"): (
        "--max-tokens",
        "--set score.max_tokens=TOKENS",
    ),
    ("--torch-dtype", "--precision"): ("--dtype", "--set score.dtype=DTYPE"),
    ("--chat-template",): ("--template", "--set score.template=FILE"),
    ("--num-actors", "--num-workers", "--num-gpus"): ("--actors", "--workers", "--set score.actors=NUMBER"),
    ("--ray-address",): ("--address", "--set cluster.address=ADDRESS"),
    ("--tau",): ("--temperature", "--set weigh.temperature=NUMBER"),
    ("--tracking-uri", "--mlflow-tracking-uri"): ("--uri", "--set tracking.uri=URI"),
    ("--experiment-name", "--mlflow-experiment-name"): ("--set tracking.experiment=NAME",),
    ("--max-samples", "--num-samples", "--max-train-samples", "--max-eval-samples"): ("--limit",),
}
_OF_OTHERS = {name: ours for names, ours in OURS.items() for name in names}


def refuse_other_names(args: Sequence[str], commands: Mapping[str, type]) -> None:
    """ConfigError for a flag that the command has under another name, which is told.

    Args:
        args: the command line: a command and what follows it.
    """
    command = commands.get(args[0].replace("_", "-")) if args else None
    others = [arg for arg in args[1:] if _plain(arg) in _OF_OTHERS]
    if command is None or not others:
        return
    have = flags_of(command)
    for arg in others:
        ours = next((flag for flag in _OF_OTHERS[_plain(arg)] if flag.split()[0] in have), None)
        if ours and _plain(arg) not in have:
            raise ConfigError(f"{args[0]} has no {arg.partition('=')[0]}: it is {ours} here.")


def flags_of(command: type) -> set[str]:
    """The flags of a command: its fields, and those of the sections among them."""
    hints = typing.get_type_hints(command, include_extras=True)
    sections = {name: _section(hint) for name, hint in hints.items()}
    ours = {f"--{name.replace('_', '-')}" for name, section in sections.items() if section is None}
    return ours.union(*(flags_of(section) for section in sections.values() if section is not None))


def _section(hint: Any) -> type | None:
    """The class of options among the types of a field; None where the field is an option itself."""
    if isinstance(hint, type) and (is_dataclass(hint) or hasattr(hint, "model_fields")):
        return hint
    return next(filter(None, map(_section, typing.get_args(hint))), None)


def _plain(arg: str) -> str:
    return arg.partition("=")[0].lower().replace("_", "-") if arg.startswith("--") else ""
