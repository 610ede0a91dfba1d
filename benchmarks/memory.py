"""Peak memory of a scoring actor and of the driver, for corpora of very different size.

python benchmarks/memory.py --corpus harmless-base-test.jsonl.gz --json memory.json

Runs the whole job, tracking included, on the corpus repeated to 2,000, 20,000 and 200,000 pairs, with a model so
small (hidden 64, one layer) that what grows with the corpus would be seen beside it. While a job runs, the resident
memory of its driver and of every process of its scoring actors is read several times a second; shown is the largest
of each. Pages that processes share, as those of libraries, count in each of them.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import psutil
import torch
import yaml

from benchmarks.recipe import Corpus, find_corpus, save_model, train_tokenizer
from benchmarks.tables import machine, show, write_json

UNIT_PAIRS = 256
EVERY_S = 0.1
ACTOR_TITLE = "ray::MapWorker"  # Ray names a process for what it runs: no other pass has actors


@dataclass(frozen=True)
class Peak:
    """Most memory that the two held, in MiB, and how long the job took."""

    actor_mib: float
    driver_mib: float
    seconds: float


def measure(folder: Path, corpus: Corpus, *, num_pairs: int) -> Peak:
    """Run a job on so many pairs, with the model in `folder`, and watch its processes."""
    job = folder / str(num_pairs)
    job.mkdir()
    corpus.write(job / "corpus.jsonl", num_pairs=num_pairs)
    config = {
        "inputs": [str(job / "corpus.jsonl")],
        "model": str(folder / "model"),
        "run": str(job / "run"),
        "prepare": {"unit_pairs": UNIT_PAIRS},
        "tracking": {"uri": f"sqlite:///{job / 'mlflow.db'}"},
    }
    (job / "job.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    command = [sys.executable, "-m", "encore_ray.cli", "run", str(job / "job.yaml")]
    environment = {key: value for key, value in os.environ.items() if key not in ("MLFLOW_TRACKING_URI", "RAY_ADDRESS")}
    environment["ENCORE_RAY_CLUSTER_ENGINE"] = "ray"
    clock = time.perf_counter()
    with (job / "log").open("w", encoding="utf-8") as log:
        started = psutil.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    actor = driver = 0
    while started.poll() is None:
        with suppress(psutil.Error):  # processes come and go
            driver = max(driver, started.memory_info().rss)
            actor = max([actor, *map(_actor_memory, started.children(recursive=True))])
        time.sleep(EVERY_S)
    if started.returncode:
        sys.exit(f"encore-ray run failed:\n{(job / 'log').read_text(encoding='utf-8')}")
    assert actor, f"no process was called {ACTOR_TITLE}"
    return Peak(actor / 2**20, driver / 2**20, time.perf_counter() - clock)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, help="HH-RLHF transcripts. Default: those of ENCORE_RAY_CORPORA.")
    parser.add_argument("--pairs", type=int, nargs="+", default=[2_000, 20_000, 200_000])
    parser.add_argument("--json", type=Path, help="Write the figures to this file, by number of pairs.")
    options = parser.parse_args(arguments)
    corpus = find_corpus(options.corpus)
    print(f"Corpus: {corpus.name}", flush=True)
    peaks = {}
    with tempfile.TemporaryDirectory() as folder:
        save_model(Path(folder, "model"), tokenizer=train_tokenizer(corpus), hidden_size=64, num_layers=1)
        for num_pairs in options.pairs:
            peaks[num_pairs] = measure(Path(folder), corpus, num_pairs=num_pairs)
            print(f"{num_pairs:,} pairs: {peaks[num_pairs].seconds:.0f} s", flush=True)
    rows = [[f"{n:,}", f"{p.actor_mib:,.0f}", f"{p.driver_mib:,.0f}", f"{p.seconds:,.0f}"] for n, p in peaks.items()]
    show(["pairs", "scoring actor, MiB", "driver, MiB", "job, s"], rows)
    print(f"{machine()}; torch {torch.__version__}")
    write_json(options.json, {str(num_pairs): vars(peak) for num_pairs, peak in peaks.items()})


def _actor_memory(process: psutil.Process) -> int:
    """Resident bytes of a process if it is a scoring actor, else 0."""
    with suppress(psutil.Error):
        if " ".join(process.cmdline()).startswith(ACTOR_TITLE):
            return process.memory_info().rss
    return 0


if __name__ == "__main__":
    main()
