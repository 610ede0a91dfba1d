"""Flags as other tools call them (TRL, Hugging Face, Ray, MLflow), answered with what they are called here."""

from collections.abc import Collection, Mapping

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


def other_name(flag: str, have: Collection[str]) -> str | None:
    """What a command calls a flag that has this name, in any case, elsewhere; None where it has no such flag.

    Args:
        have: the flags of the command.
    """
    return next((ours for ours in _OF_OTHERS.get(flag.lower(), ()) if ours.split()[0] in have), None)
