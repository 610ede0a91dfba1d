"""The demo: a corpus with planted truth, a small model trained on its ratings, and the very job a user runs.

The planted world is one in which noise drives entropy, so ENCORE should beat uniform weights; two of the ten rules
are degenerate on purpose, so that their warnings can be seen.
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from encore_ray.config.sources import load_config
from encore_ray.console.show import show_job
from encore_ray.corpora.planted.corpus import planted_text
from encore_ray.engine.display import LINE_EVERY_S
from encore_ray.errors import ConfigError
from encore_ray.job import JobResult, run_job
from encore_ray.models.training.demo_model import train_regression
from encore_ray.storage import Folder

TRAINING_PAIRS = 3072
TRAINING_SEED, CORPUS_SEED = 1, 2
CORPUS_FILE, MODEL_DIR, CONFIG_NAME, RUN_DIR = "corpus.jsonl", "model", "job.yaml", "run"

JOB_YAML = f"""\
# The demo's job: what you would write for your own corpus and model. docs/configuration.md has all keys.
inputs:
  - {CORPUS_FILE}
model: {MODEL_DIR}
run: {RUN_DIR}
prepare:
  unit_pairs: 256
weigh:
  scheme: encore
  temperature: 2
"""


@dataclass(frozen=True)
class Demo:
    """What the demo made: its job's file, and what came of it."""

    job: str
    result: JobResult


def run_demo(folder: Folder, *, num_pairs: int, console: Console) -> Demo:
    """Make the corpus and the model where they are not there yet, run the job, and explain what came out.

    Args:
        folder: local folder for everything.
        num_pairs: planted pairs to score.
        console: where it is told.
    """
    if not folder.is_local:
        raise ConfigError(f"The demo needs a local folder, found {folder.uri}.")
    root = Path(folder.uri)
    console.print(f"[bold]1. A corpus of {num_pairs:,} preference pairs with planted truth[/]")
    _make_corpus(folder, num_pairs)
    console.print(f"   {root / CORPUS_FILE}")
    console.print("[bold]2. A small multi-head reward model, trained on the ratings of other pairs[/]")
    _make_model(folder, console)
    console.print("[bold]3. The job: prepare, score, weigh, compose, evaluate, compare[/]")
    folder.write_atomic(CONFIG_NAME, JOB_YAML.encode())
    result = run_job(load_config(root / CONFIG_NAME), overwrite=True, console=console)
    show_job(result, console=console)
    return Demo(str(root / CONFIG_NAME), result)


def _make_corpus(folder: Folder, num_pairs: int) -> None:
    rows = planted_text(num_pairs, seed=CORPUS_SEED).rows
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    folder.write_atomic(CORPUS_FILE, lines.encode())


def _make_model(folder: Folder, console: Console) -> None:
    """Train on a corpus of its own seed; the model of an earlier demo is used again."""
    target = Path(folder.uri) / MODEL_DIR
    if (target / "encore.json").exists():
        console.print(f"   {target} (from an earlier demo)")
        return
    planted = planted_text(TRAINING_PAIRS, seed=TRAINING_SEED)
    conversations, ratings = [], []
    for row, chosen_K, rejected_K in zip(planted.rows, planted.world.chosen_NK, planted.world.rejected_NK, strict=True):
        for side, ratings_K in (("chosen", chosen_K), ("rejected", rejected_K)):
            turns = (("user", row["prompt"]), ("assistant", row[side]))
            conversations.append([{"role": role, "content": content} for role, content in turns])
            ratings.append(ratings_K)
    if not console.is_terminal:  # where no bar says that it goes on
        console.print(f"   training on {len(conversations):,} rated responses, for a minute or more", highlight=False)
    columns = (
        TextColumn("   training"),
        BarColumn(bar_width=30),
        TextColumn("{task.fields[loss]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("training", total=None, loss="")

        told_at = time.monotonic()

        def on_step(step: int, num_steps: int, loss: float) -> None:
            nonlocal told_at
            progress.update(bar, total=num_steps, completed=step, loss=f"loss {loss:.4f}")
            if not console.is_terminal and time.monotonic() - told_at >= LINE_EVERY_S:
                told_at = time.monotonic()
                console.print(f"   training, step {step:,} of {num_steps:,}, loss {loss:.4f}", highlight=False)

        report = train_regression(
            conversations, ratings_NK=np.stack(ratings), rules=planted.world.rules, folder=target, on_step=on_step
        )
    console.print(
        f"   {target}: {report.num_parameters / 1e6:.2f}M parameters, {report.num_conversations:,} rated responses, "
        f"{report.seconds:.0f} s",
        soft_wrap=True,
        highlight=False,
    )
