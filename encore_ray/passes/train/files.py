"""The files by which the driver of a training and its workers talk, which survive either of them.

owner         of the driver: the attempt that may write; workers that outlive their driver find another, and end
log.jsonl     of the first worker: a line a step and an evaluation
stop          of the driver: keep the state and end
error.json    what a worker cannot go on from
model/        what is saved
done.json     the result, once the model is saved
"""

from pathlib import Path

TRAINING_DIR = "training"  # in the folder of the model, until it is trained
MODEL_DIR = "model"  # in that one, until it is whole
OWNER_FILE, LOG_FILE, STOP_FILE, ERROR_FILE, DONE_FILE = "owner", "log.jsonl", "stop", "error.json", "done.json"


def files_below(folder: Path) -> list[str]:
    """Paths of all files below a folder, relative to it."""
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())
