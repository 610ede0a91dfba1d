"""The prepare pass against `datasets` and DuckDB: rows a second on one core.

python benchmarks/prepare.py --json prepare.json

Two corpora lie on the disk:

- rated: Parquet (zstd, row groups of 65,536 rows) of planted words, prompts of about 110 characters and two responses
  of about 220, with ratings of ten rules for either: 20 columns of float32.
- hh: HH-RLHF transcripts as JSONL, repeated as often as it takes.

Each is read and written, in turns, by every way in a process of its own that is bound to one core:

- ours: the `prepare` pass in this process's stead (engine: local): layout, digests, canonical pairs with their ids,
  repeats and contradictions, committed units.
- datasets: `load_dataset`, then `map` to a prompt and two responses as lists of messages.
- DuckDB: COPY of the same columns from Parquet to Parquet, zstd, one thread. It reads and writes and makes nothing.

Shown are medians of the processor time (user and system) of the work itself, without the start of the process; what
else the machine does slows no way more than another. Memory is the most that the process held.
"""

import argparse
import importlib.util
import json
import multiprocessing
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.tables import machine, show, write_json

NUM_RULES = 10
GROUP_ROWS = 65_536
SEED = 0
SPEAKER = re.compile(r"\n\n(Human|Assistant): ?")
ROLES = {"Human": "user", "Assistant": "assistant"}

Row = dict[str, Any]


@dataclass(frozen=True)
class Cost:
    """What a way took: processor seconds, seconds by the clock, the most memory in MiB, and rows that came out."""

    seconds: float
    wall: float
    peak_mib: float
    rows: int


def write_rated(path: Path, num_rows: int, *, first: int = 0) -> None:
    """Planted words under ratings; no two prompts are the same, nor those of files whose `first` rows differ."""
    rng = np.random.default_rng(SEED + first)
    words = ["".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), size)) for size in rng.integers(2, 10, 4096)]
    book = " ".join(words[word] for word in rng.integers(0, len(words), 1 << 20))

    def texts(size: int, mean: int) -> list[str]:
        starts = rng.integers(0, len(book) - 4 * mean, size)
        ends = starts + rng.integers(mean // 2, mean + mean // 2, size)
        return [book[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]

    writer = None
    for start in range(0, num_rows, GROUP_ROWS):
        size = min(GROUP_ROWS, num_rows - start)
        prompts = [f"Question {first + start + row}: {text}?" for row, text in enumerate(texts(size, 95))]
        columns: dict[str, Any] = {
            "prompt": prompts,
            "chosen": [f"Well, {text}." for text in texts(size, 212)],
            "rejected": [f"Now, {text}." for text in texts(size, 212)],
        }
        for rule in range(NUM_RULES):
            for side in ("chosen", "rejected"):
                columns[f"{side}__rule_{rule}"] = rng.integers(0, 11, size).astype(np.float32)
        table = pa.table(columns)
        writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
        writer.write_table(table, row_group_size=GROUP_ROWS)
    if writer:
        writer.close()


def write_hh(path: Path, corpus: Path | None, num_rows: int) -> str:
    """Real transcripts where there are any; returns where they come from."""
    from benchmarks.recipe import find_corpus

    found = find_corpus(corpus)
    found.write(path, num_pairs=num_rows)
    return found.name


def by_ours(source: Path, folder: Path) -> int:
    """The prepare pass."""
    from encore_ray.config import ClusterOptions, PrepareOptions, TrackingOptions
    from encore_ray.corpora.files.sources import InputSpec, list_files
    from encore_ray.passes.prepare import Prepare
    from encore_ray.run import hold_run
    from encore_ray.storage import Folder

    cluster, tracking = ClusterOptions(engine="local"), TrackingOptions(enabled=False)
    with hold_run(Folder(str(folder / "run")), cluster=cluster, tracking=tracking, params={}, journal=False) as run:
        return run.do(Prepare(list_files([InputSpec(str(source))]), PrepareOptions())).counts["rows"]


def by_datasets(source: Path, folder: Path) -> int:
    """`load_dataset` and `map`, with a cache of its own."""
    import datasets

    datasets.disable_progress_bars()
    kind = "parquet" if source.suffix == ".parquet" else "json"
    loaded: Any = datasets.load_dataset(kind, data_files=str(source), split="train", cache_dir=str(folder / "cache"))
    return loaded.map(_as_messages if "prompt" in loaded.column_names else _taken_apart).num_rows


def _as_messages(row: Row) -> Row:
    return {
        "prompt": [{"role": "user", "content": row["prompt"]}],
        "chosen": [{"role": "assistant", "content": row["chosen"]}],
        "rejected": [{"role": "assistant", "content": row["rejected"]}],
    }


def _taken_apart(row: Row) -> Row:
    sides = []
    for text in (row["chosen"], row["rejected"]):
        parts = SPEAKER.split(text)
        turns = zip(parts[1::2], parts[2::2], strict=True)
        sides.append([{"role": ROLES[speaker], "content": content} for speaker, content in turns])
    chosen, rejected = sides
    common = 0
    while common < min(len(chosen), len(rejected)) - 1 and chosen[common] == rejected[common]:
        common += 1
    return {"prompt": chosen[:common], "chosen": chosen[common:], "rejected": rejected[common:]}


def by_duckdb(source: Path, folder: Path) -> int:
    """A COPY of all columns on one thread."""
    import duckdb

    with duckdb.connect() as connection:
        connection.execute("SET threads = 1")
        query = f"SELECT * FROM read_parquet('{source}')"  # noqa: S608  our own names
        output = folder / "copy.parquet"
        made = connection.execute(f"COPY ({query}) TO '{output}' (FORMAT parquet, COMPRESSION zstd)").fetchall()
        return int(made[0][0])


WAYS: dict[str, Callable[[Path, Path], int]] = {"ours": by_ours, "datasets": by_datasets, "DuckDB": by_duckdb}


def cost_of(way: str, source: Path, scratch: Path) -> Cost:
    """Do it on one core, in a folder that is deleted after."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        module = {"ours": "encore_ray.run", "datasets": "datasets", "DuckDB": "duckdb"}[way]
        importlib.import_module(module)  # which is the start of the process, not its work
        clock, processor = time.perf_counter(), time.process_time()
        rows = WAYS[way](source, Path(folder))
        seconds, wall = time.process_time() - processor, time.perf_counter() - clock
    return Cost(seconds, wall, _peak_mib(), rows)


def _peak_mib() -> float:
    """Of this process alone; what getrusage tells begins with that of the process that started it."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return float(re.findall(r"VmHWM:\s*(\d+) kB", status)[0]) / 1024


def measure(source: Path, ways: list[str], *, rounds: int, scratch: Path, num_rows: int) -> dict[str, list[Cost]]:
    """The costs of all rounds by way; each in a fresh process."""
    costs: dict[str, list[Cost]] = {way: [] for way in ways}
    for number in range(rounds):
        for way in ways:
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as one:
                cost = one.submit(cost_of, way, source, scratch).result()
            if cost.rows != num_rows:
                sys.exit(f"{way} made {cost.rows:,} rows of {num_rows:,}.")
            costs[way].append(cost)
            print(
                f"round {number + 1}, {source.name}, {way}: {cost.seconds:.2f} s ({cost.wall:.2f} s by the clock), "
                f"{num_rows / cost.seconds:,.0f} rows/s, {cost.peak_mib:,.0f} MiB",
                flush=True,
            )
    return costs


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs=2, default=[1_000_000, 100_000], metavar=("RATED", "HH"))
    parser.add_argument("--corpus", type=Path, help="HH-RLHF transcripts. Default: those of ENCORE_RAY_CORPORA.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--folder", type=Path, help="Where to write. Default: the folder for temporary files.")
    parser.add_argument("--json", type=Path, help="Write rows a second and ratios to this file.")
    options = parser.parse_args(arguments)
    for package in ("datasets", "duckdb"):
        if importlib.util.find_spec(package) is None:
            parser.error(f'{package} is not installed. Install it with: pip install "encore-ray[test]"')
    record: dict[str, Any] = {}
    table = []
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        scratch = Path(name)
        sources = {"rated": scratch / "rated.parquet", "hh": scratch / "hh.jsonl"}
        write_rated(sources["rated"], options.rows[0])
        origin = write_hh(sources["hh"], options.corpus, options.rows[1])
        print(f"{machine()}; hh: {origin}; load {os.getloadavg()[0]:.1f}", flush=True)
        for (corpus, source), num_rows in zip(sources.items(), options.rows, strict=True):
            ways = [way for way in options.ways if num_rows and not (way == "DuckDB" and corpus == "hh")]
            costs = measure(source, ways, rounds=options.rounds, scratch=scratch, num_rows=num_rows)
            seconds = {way: statistics.median(cost.seconds for cost in costs[way]) for way in ways}
            record[corpus] = {"rows_per_s": num_rows / seconds["ours"]} if "ours" in ways else {}
            for way in ways:
                if way != "ours" and "ours" in ways:
                    record[corpus][f"ours_over_{way.lower()}"] = seconds["ours"] / seconds[way]
                peak = max(cost.peak_mib for cost in costs[way])
                table.append([corpus, way, f"{seconds[way]:.2f}", f"{num_rows / seconds[way]:,.0f}", f"{peak:,.0f}"])
    show(["corpus", "way", "processor seconds", "rows/s", "peak MiB"], table)
    print(json.dumps(record))
    write_json(options.json, record)


if __name__ == "__main__":
    main()
