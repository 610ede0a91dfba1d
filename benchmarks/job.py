"""The whole job against a bare scorer: what Ray, commits, tracking and the other passes cost.

python benchmarks/job.py --corpus harmless-base-test.jsonl.gz --json job.json

Both sides score the same units of 256 pairs with the same model and PairScorer, in as many one-thread processes: by
default one for each core but one. That one is left to the driver and to Ray's own processes, as a node with GPUs has
cores beside them. With --actors as many as cores, what they take is taken from the scoring: Ray's dozen processes and
the driver need about 6 % of two cores all the time.

- The job: the wall time of `encore-ray run` from its start to its exit, on the corpus as JSON lines: Python and Ray
  start, prepare, score, weigh, compose, evaluate, compare, everything tracked in a new MLflow store (sqlite).
- The bare scorer: the wall time from the start of its processes to the exit of the last: Python starts, the model is
  loaded, and they take prepared units from a queue; each reads Parquet, tokenises, scores, and writes Parquet.
  No commits, no quarantine, no weights, no rewards, no tracking; pairs/ is already there.

Overhead = wall / wall - 1, the median of two rounds that run the two in turn. Planned for at least five minutes of
scoring: what the job spends once, most of all its start, weighs more in a shorter one.
"""

import argparse
import math
import multiprocessing
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import yaml

from benchmarks.lengths import Lengths, by_length, random_pairs
from benchmarks.recipe import SEED, find_corpus, save_model, train_tokenizer
from benchmarks.tables import machine, show, write_json
from encore_ray.folder.pass_table import pass_tables
from encore_ray.folder.protocol.commits import total_counts
from encore_ray.models.forward.scorer import PairScorer
from encore_ray.models.loading.checkpoint import Dtype, load_model
from encore_ray.passes.scorers.scoring_cost import ScoringCost
from encore_ray.schema import CHOSEN, PAIR_ID, PROMPT, REJECTED, chosen_column, rejected_column
from encore_ray.storage import Folder

UNIT_PAIRS = 256
PASSES = ("prepare", "score", "weigh", "compose", "evaluate", "compare")


@dataclass(frozen=True)
class Setting:
    """What both sides score: files in a folder, a dtype, and the number of scoring processes."""

    folder: Path
    dtype: Dtype
    actors: int

    @property
    def corpus(self) -> Path:
        return self.folder / "corpus.jsonl"

    @property
    def model(self) -> Path:
        return self.folder / "model"


@dataclass(frozen=True)
class JobRun:
    """One whole job.

    Attributes:
        run: its folder. wall_s: of the process.
        parts: seconds of its parts in order, which add up to `wall_s`.
    """

    run: Path
    wall_s: float
    parts: dict[str, float]


def run_job(setting: Setting, folder: Path) -> JobRun:
    """Run the whole job as a user would, in a folder of its own."""
    folder.mkdir()
    config = {
        "inputs": [str(setting.corpus)],
        "model": str(setting.model),
        "run": str(folder / "run"),
        "prepare": {"unit_pairs": UNIT_PAIRS},
        "score": {"dtype": setting.dtype, "actors": setting.actors},
        "tracking": {"uri": f"sqlite:///{folder / 'mlflow.db'}"},
    }
    (folder / "job.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    started, clock = time.time(), time.perf_counter()
    encore_ray("run", str(folder / "job.yaml"), log=folder / "log")
    wall_s = time.perf_counter() - clock
    return JobRun(folder / "run", wall_s, _parts(folder / "mlflow.db", started=started, wall_s=wall_s))


def run_bare(setting: Setting, pairs: Path, output: Path) -> float:
    """Score all units of pairs/ in bare processes; returns the wall time."""
    output.mkdir()
    units = sorted((pairs / "data").glob("*.parquet"))
    spawning = multiprocessing.get_context("spawn")
    todo = spawning.Queue()
    for unit in [*units, *[None] * setting.actors]:
        todo.put(unit)
    processes = [
        spawning.Process(target=score_units, args=(todo, setting.model, setting.dtype, output))
        for _ in range(setting.actors)
    ]
    clock = time.perf_counter()
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    wall_s = time.perf_counter() - clock
    if any(process.exitcode for process in processes) or len(list(output.iterdir())) != len(units):
        sys.exit("A bare scorer failed: see above.")
    return wall_s


def score_units(todo: Any, model: Path, dtype: Dtype, output: Path) -> None:
    """One bare process: units from the queue until it finds a None."""
    torch.set_num_threads(1)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    scorer = PairScorer(load_model(model, dtype=dtype, device="cpu"))
    while unit := todo.get():
        table = pq.read_table(unit, columns=[PAIR_ID, PROMPT, CHOSEN, REJECTED])
        prompts, chosen, rejected = (table.column(name).to_pylist() for name in (PROMPT, CHOSEN, REJECTED))
        pairs = scorer.model.conversations.tokenize_pairs(prompts, chosen=chosen, rejected=rejected)
        scores_N2K = scorer.score(pairs)
        columns = {PAIR_ID: table.column(PAIR_ID)}
        for k, rule in enumerate(scorer.model.names):
            columns[chosen_column(rule)] = pa.chunked_array([scores_N2K[:, 0, k]])
            columns[rejected_column(rule)] = pa.chunked_array([scores_N2K[:, 1, k]])
        pq.write_table(pa.table(columns), output / unit.name, compression="zstd", use_dictionary=False)


def encore_ray(*arguments: str, log: Path) -> None:
    """Run the command line in a process of its own; ends this one if it fails."""
    environment = {key: value for key, value in os.environ.items() if key not in ("MLFLOW_TRACKING_URI", "RAY_ADDRESS")}
    command = [sys.executable, "-m", "encore_ray.cli", *arguments]
    with log.open("w", encoding="utf-8") as out:
        finished = subprocess.run(command, env=environment, stdout=out, stderr=subprocess.STDOUT, check=False)  # noqa: S603
    if finished.returncode:
        sys.exit(f"encore-ray {arguments[0]} failed:\n{log.read_text(encoding='utf-8')}")


def largest_difference(job: Path, bare: Path) -> float:
    """Largest difference between the two sides' scores of the same pairs; they must have scored the same ones."""
    tables = [
        pa.concat_tables(pq.read_table(file) for file in sorted(folder.glob("*.parquet"))).sort_by(PAIR_ID)
        for folder in (job / "scores" / "data", bare)
    ]
    if tables[0].column(PAIR_ID) != tables[1].column(PAIR_ID):
        sys.exit("The job and the bare scorer did not score the same pairs.")
    names = [name for name in tables[1].column_names if name != PAIR_ID]
    both = [np.stack([table.column(name).to_numpy() for name in names]) for table in tables]
    return float(np.abs(both[0] - both[1]).max())


def measure_rate(setting: Setting) -> float:
    """Pairs a second of one thread, of HH-RLHF's lengths."""
    torch.set_num_threads(1)
    lengths = Lengths.read()
    scorer = PairScorer(load_model(setting.model, dtype=setting.dtype, device="cpu"))
    vocab_size = scorer.model.backbone.config.vocab_size
    few = random_pairs(lengths, vocab_size=vocab_size, seed=SEED).take(by_length(lengths, num_pairs=64, seed=SEED))
    scorer.score(few)
    clock = time.process_time()
    scorer.score(few)
    return len(few) / (time.process_time() - clock)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, help="HH-RLHF transcripts. Default: those of ENCORE_RAY_CORPORA.")
    parser.add_argument("--pairs", type=int, help="Pairs of the job, repeating the corpus. Default: by --minutes.")
    parser.add_argument("--minutes", type=float, default=6.0, help="Scoring to plan for, at the rate of one thread.")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument(
        "--actors", type=int, default=max((os.cpu_count() or 2) - 1, 1), help="Default: a core less than all."
    )
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--hidden-size", type=int, default=512)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--json", type=Path, help="Write the overhead to this file.")
    options = parser.parse_args(arguments)
    corpus = find_corpus(options.corpus)
    with tempfile.TemporaryDirectory() as folder:
        setting = Setting(Path(folder), options.dtype, options.actors)
        sizes = {"hidden_size": options.hidden_size, "num_layers": options.layers}
        save_model(setting.model, tokenizer=train_tokenizer(corpus), **sizes)
        num_pairs = options.pairs or math.ceil(measure_rate(setting) * setting.actors * 60 * options.minutes)
        corpus.write(setting.corpus, num_pairs=num_pairs)
        print(
            f"{corpus.name}, repeated to {num_pairs:,} pairs; {setting.actors} processes, {setting.dtype}", flush=True
        )
        jobs, bare = [], []
        for number in range(options.rounds):
            output = setting.folder / f"bare-{number}"
            if number % 2:
                bare.append(run_bare(setting, jobs[0].run / "pairs", output))
                jobs.append(run_job(setting, setting.folder / f"job-{number}"))
            else:
                jobs.append(run_job(setting, setting.folder / f"job-{number}"))
                bare.append(run_bare(setting, jobs[0].run / "pairs", output))
            difference = largest_difference(jobs[-1].run, output)
            print(
                f"round {number + 1}: job {jobs[-1].wall_s:.1f} s, bare {bare[-1]:.1f} s, "
                f"overhead {jobs[-1].wall_s / bare[-1] - 1:+.1%}; scores differ by {difference:.1g} at most",
                flush=True,
            )
        overhead = statistics.median(job.wall_s / bare_s - 1 for job, bare_s in zip(jobs, bare, strict=True))
        cost = ScoringCost.of_counts(total_counts(pass_tables(Folder(str(jobs[-1].run)))["score"].commits().values()))
    rounds = [f"round {number + 1}" for number in range(options.rounds)]
    rows = [[f"job: {name}", *(f"{job.parts[name]:.1f}" for job in jobs)] for name in jobs[0].parts]
    rows += [["job", *(f"{job.wall_s:.1f}" for job in jobs)], ["bare scorer", *(f"{bare_s:.1f}" for bare_s in bare)]]
    show(["seconds", *rounds], rows)
    print(f"Overhead of the whole job: {overhead:+.1%}. {cost}.\n{machine()}; torch {torch.__version__}")
    write_json(options.json, {"overhead": overhead})


def _parts(store: Path, *, started: float, wall_s: float) -> dict[str, float]:
    """Seconds from the start to the first pass, of each pass as tracked, and of what lies between and after them."""
    with closing(sqlite3.connect(store)) as connection:
        query = "SELECT name, start_time, end_time FROM runs WHERE end_time IS NOT NULL"
        rows = connection.execute(query).fetchall()
    spans = {name.partition(":")[0]: (start / 1000, end / 1000) for name, start, end in rows}
    parts = {"start": spans[PASSES[0]][0] - started, **{name: spans[name][1] - spans[name][0] for name in PASSES}}
    return {**parts, "between and after": wall_s - sum(parts.values())}


if __name__ == "__main__":
    main()
