"""The passes over tables of scores against DuckDB: seconds for each further million pairs.

python benchmarks/reduce.py --json reduce.json

Two tables of scores, of about 5 and 20 million pairs under 20 rules, lie in pass folders as `encore-ray score` leaves
them: units of 65,536 pairs, a file each (zstd, no dictionaries), with two float32 columns a rule, ids, subset and
lengths. There are 16 different files, the others are hard links to them. On the same files, with as many threads as
Ray has CPUs, alternating in one run:

- histogram: the `weigh` pass, which counts more than histograms (chosen against rejected, wins and ties, activity,
  moments, distinct prompts, each subset) and checks every file's digest; DuckDB's histogram aggregate of each column.
  Both must give the same counts.
- compose: the `compose` pass, with its commits and digests; DuckDB's COPY of ids, further columns, both weighted sums
  and the margin. Both must give the same sums.
- consensus: the `weigh` pass by consensus, which also sums the products of each two rules' differences, against the
  first.
- evaluate and compare (all schemes), against the first, on the larger table.

Ray is up, and its workers have run once. Ray runs them at niceness 15, so DuckDB's process gets the same: what else
the machine does slows both alike. A slope is the median time of the large table less that of the small one,
over the pairs between them; the ratios are of slopes. What is left of the small table's time is shown as fixed.
"""

import argparse
import hashlib
import importlib.util
import json
import math
import multiprocessing
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import psutil
import pyarrow as pa

from benchmarks.tables import machine, show, write_json
from encore_ray.artifacts import Comparison
from encore_ray.composition.weigh.weights import Weights
from encore_ray.config import ClusterOptions, TrackingOptions, WeighOptions
from encore_ray.engine.on_ray.cluster import cluster
from encore_ray.folder.attempt import Attempt
from encore_ray.folder.pass_table import PassTable
from encore_ray.folder.protocol.seal import read_manifest
from encore_ray.folder.reading.table_rules import RULES_METADATA
from encore_ray.passes.compare import Compare
from encore_ray.passes.compose import Compose
from encore_ray.passes.evaluate import Evaluate, Evaluation
from encore_ray.passes.weigh import Weigh
from encore_ray.rules import Rule, RuleSet, Scale
from encore_ray.run import Result, hold_run
from encore_ray.schema import (
    CHOSEN_REWARD,
    CHOSEN_TOKENS,
    COMPARISON_FILE,
    GROUP_ID,
    MARGIN,
    PAIR_ID,
    PROMPT_ID,
    REJECTED_REWARD,
    REJECTED_TOKENS,
    SUBSET,
    TRUNCATED,
    chosen_column,
    rejected_column,
)
from encore_ray.step import Step
from encore_ray.storage import Folder

DISTINCT_FILES = 16
WARM_UP_UNITS = 8
WORKER_NICENESS = 15
SEED = 0
NUM_BINS = 20
LEVELS = tuple(float(level) for level in range(11))
CARRIED = (PAIR_ID, PROMPT_ID, GROUP_ID, SUBSET, CHOSEN_TOKENS, REJECTED_TOKENS, TRUNCATED)
SIDES = (chosen_column, rejected_column)
OTHERS = {"consensus": "consensus_over_encore", "compare": "compare_over_weigh", "evaluate": "evaluate_over_weigh"}


@dataclass(frozen=True)
class Table:
    """A table of scores in a run folder of its own."""

    run: Folder
    rules: RuleSet
    num_pairs: int

    @property
    def scores(self) -> Folder:
        return self.run.child("scores")

    @property
    def rewards(self) -> Folder:
        return self.run.child("rewards")

    @property
    def source(self) -> str:
        """The files, as DuckDB reads them."""
        return _parquet(self.scores)


@dataclass
class Times:
    """Seconds of every round: of ours and of DuckDB's."""

    ours: list[float] = field(default_factory=list)
    duckdb: list[float] = field(default_factory=list)


class PeakMemory:
    """The most memory that this process, the driver, held inside a block, in MiB."""

    mib = 0.0

    def __enter__(self) -> "PeakMemory":
        self._done = threading.Event()
        self._watcher = threading.Thread(target=self._watch)
        self._watcher.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._done.set()
        self._watcher.join()

    def _watch(self) -> None:
        process = psutil.Process()
        while not self._done.wait(0.02):
            self.mib = max(self.mib, process.memory_info().rss / 2**20)


def write_table(folder: Path, *, rules: RuleSet, num_units: int, unit_pairs: int) -> Table:
    """Write a finished scores/ folder: few files of random scores, and links to them."""
    run = Folder(str(folder))
    table = PassTable(run.child("scores"), run, "score").open({"random": SEED})
    attempt = Attempt(table, "all", "random")
    rng = np.random.default_rng(SEED)
    for number in range(num_units):
        unit = f"{number:06d}"
        if number < DISTINCT_FILES:
            attempt.write(_random_unit(rng, rules, unit_pairs), unit=unit)
            continue
        source = attempt.data[number % DISTINCT_FILES]
        file = f"data/{unit}-{attempt.name}.parquet"
        os.link(table.folder.path(source.file), table.folder.path(file))
        attempt.data.append(replace(source, unit=unit, file=file))
    num_pairs = num_units * unit_pairs
    commit = attempt.commit({"rows": num_pairs})
    table.seal(["all"], {"all": commit}, commit.counts)
    return Table(run, rules, num_pairs)


@dataclass(frozen=True)
class Timed(Generic[Result]):
    """What a pass made, and the seconds that it took."""

    made: Result
    seconds: float


def timed(step: Step[Result], folder: Folder) -> Timed[Result]:
    """Do a pass on the cluster as a command does, and clock it without the check of the nodes that comes first."""
    cluster, untracked = ClusterOptions(engine="ray"), TrackingOptions(enabled=False)
    with hold_run(folder, cluster=cluster, tracking=untracked, params={}, overwrite=True, journal=False) as run:
        run.engines.ray()
        clock = time.perf_counter()
        return Timed(run.do(step), time.perf_counter() - clock)


def weigh_table(table: Table, scheme: str = "encore") -> Timed[Weights]:
    """The weigh pass."""
    return timed(Weigh(WeighOptions(scheme=scheme)), table.run)


def compose_table(table: Table, weights: Weights) -> Timed[dict[str, int]]:
    """The compose pass."""
    return timed(Compose(weights, scores=table.scores.uri), table.rewards)


def evaluate_table(table: Table) -> Timed[Evaluation]:
    """The evaluate pass over composed rewards."""
    return timed(Evaluate(table.rewards.uri), table.rewards)


def compare_table(table: Table) -> Timed[Comparison]:
    """The compare pass: every scheme; never the one that stands."""
    table.run.delete(COMPARISON_FILE)
    return timed(Compare(WeighOptions()), table.run)


def histogram_sql(table: Table) -> str:
    """One aggregate a column, in rule order, chosen before rejected."""
    columns = [f'"{side(name)}"' for name in table.rules.names for side in SIDES]
    if table.rules[0].scale.levels is None:
        columns = [f"least(floor({column}::DOUBLE * {NUM_BINS}), {NUM_BINS - 1})" for column in columns]
    counts = ", ".join(f"histogram({column}::UTINYINT)" for column in columns)
    return f"SELECT {counts} FROM {table.source}"  # noqa: S608  our own names


def compose_sql(table: Table, weights: Weights, output: Path) -> str:
    """The same columns as compose writes, in one file with the same codec and level."""
    terms = [
        (rule.weight * rule.polarity, *(f'"{side(rule.name)}"::DOUBLE' for side in SIDES)) for rule in weights.rules
    ]
    sums = {
        CHOSEN_REWARD: " + ".join(f"{factor!r} * {chosen}" for factor, chosen, _ in terms),
        REJECTED_REWARD: " + ".join(f"{factor!r} * {rejected}" for factor, _, rejected in terms),
        MARGIN: " + ".join(f"{factor!r} * ({chosen} - {rejected})" for factor, chosen, rejected in terms),
    }
    columns = ", ".join([*CARRIED, *(f"{total} AS {name}" for name, total in sums.items())])
    query = f"SELECT {columns} FROM {table.source}"  # noqa: S608  our own names
    return f"COPY ({query}) TO '{output}' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1)"


def run_duckdb(sql: str, threads: int) -> tuple[float, list[Any]]:
    """Seconds of a query on a new connection, and its rows."""
    import duckdb

    with duckdb.connect() as connection:
        connection.execute(f"SET threads = {threads}")
        connection.execute("SET preserve_insertion_order = false")  # faster, and nothing here needs it
        clock = time.perf_counter()
        rows = connection.execute(sql).fetchall()
        return time.perf_counter() - clock, rows


def check_counts(table: Table, weights: Weights, histograms: Sequence[dict[int, int]]) -> None:
    """End the benchmark if DuckDB counted anything else than weigh."""
    digest = hashlib.sha256()
    for k, rule in enumerate(table.rules):
        num_cells = len(rule.scale.levels or range(NUM_BINS))
        both = [[side.get(cell, 0) for cell in range(num_cells)] for side in histograms[2 * k : 2 * k + 2]]
        digest.update(np.sum(both, axis=0).astype("<i8").tobytes())
    if digest.hexdigest() != weights.counts_sha256:
        sys.exit("weigh and DuckDB did not count the same histograms.")


def check_sums(ours: Folder, theirs: Path, duck: Executor, threads: int) -> None:
    """End the benchmark if DuckDB composed anything else than compose."""
    columns = ", ".join(f"sum({name})" for name in (CHOSEN_REWARD, REJECTED_REWARD, MARGIN))
    sources = (_parquet(ours), f"read_parquet('{theirs}')")
    queries = [f"SELECT count(*), {columns} FROM {source}" for source in sources]  # noqa: S608  our own names
    found = [duck.submit(run_duckdb, query, threads).result()[1][0] for query in queries]
    if found[0][0] != found[1][0] or not np.allclose(found[0], found[1], rtol=1e-9, atol=1e-6):
        sys.exit(f"compose and DuckDB did not compose the same rewards: {found[0]} and {found[1]}.")


def measure(tables: Sequence[Table], *, rounds: int, threads: int, duck: Executor, folder: Path) -> dict[str, Any]:
    """Times of all passes on every table, and the driver's memory, by number of pairs."""
    times = {what: [Times() for _ in tables] for what in ("histogram", "compose")}
    others: dict[str, list[list[float]]] = {what: [[] for _ in tables] for what in OTHERS}
    peaks = [0.0 for _ in tables]
    for number in range(rounds):
        for index, table in enumerate(tables):
            histogram, compose = times["histogram"][index], times["compose"][index]
            with PeakMemory() as peak:
                weighed = weigh_table(table)
            weights = weighed.made
            histogram.ours.append(weighed.seconds)
            peaks[index] = max(peaks[index], peak.mib)
            others["consensus"][index].append(weigh_table(table, "consensus").seconds)
            others["compare"][index].append(compare_table(table).seconds)
            seconds, rows = duck.submit(run_duckdb, histogram_sql(table), threads).result()
            histogram.duckdb.append(seconds)
            check_counts(table, weights, rows[0])
            with PeakMemory() as peak:
                compose.ours.append(compose_table(table, weights).seconds)
            peaks[index] = max(peaks[index], peak.mib)
            output = folder / "rewards.parquet"
            seconds, _ = duck.submit(run_duckdb, compose_sql(table, weights, output), threads).result()
            compose.duckdb.append(seconds)
            check_sums(table.rewards, output, duck, threads)
            others["evaluate"][index].append(evaluate_table(table).seconds)
            table.rewards.delete_tree()
            output.unlink()
            print(
                f"round {number + 1}, {table.num_pairs:,} pairs: histogram {histogram.ours[-1]:.2f} s, DuckDB "
                f"{histogram.duckdb[-1]:.2f} s; compose {compose.ours[-1]:.2f} s, DuckDB {compose.duckdb[-1]:.2f} s; "
                + "; ".join(f"{what} {seconds[index][-1]:.2f} s" for what, seconds in others.items()),
                flush=True,
            )
    return {"times": times, "others": others, "peaks": peaks}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, nargs=2, default=[5_000_000, 20_000_000], metavar=("SMALL", "LARGE"))
    parser.add_argument("--unit-pairs", type=int, default=65_536, help="Pairs a file.")
    parser.add_argument("--rules", type=int, default=20)
    parser.add_argument("--ratings", action="store_true", help="Ratings 0 to 10, declared as levels, not any number.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="Where to write. Default: the folder for temporary files.")
    parser.add_argument("--json", type=Path, help="Write the ratios to this file.")
    options = parser.parse_args(arguments)
    if importlib.util.find_spec("duckdb") is None:
        parser.error('DuckDB is not installed. Install it with: pip install "encore-ray[test]"')
    scale = Scale(LEVELS[0], LEVELS[-1], LEVELS) if options.ratings else Scale(0.0, 1.0)
    rules = RuleSet(Rule(f"rule_{k}", "", "worse" if k % 4 == 3 else "better", scale) for k in range(options.rules))
    spawning = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory(dir=options.folder) as name,
        ProcessPoolExecutor(1, mp_context=spawning, initializer=os.nice, initargs=(WORKER_NICENESS,)) as duck,
        cluster(ClusterOptions()) as resources,
    ):
        folder = Path(name)
        sizes = [WARM_UP_UNITS, *(math.ceil(pairs / options.unit_pairs) for pairs in options.pairs)]
        warm_up, small, large = (
            write_table(folder / str(number), rules=rules, num_units=num_units, unit_pairs=options.unit_pairs)
            for number, num_units in enumerate(sizes)
        )
        print(f"{machine()}; {resources}; load {os.getloadavg()[0]:.1f}", flush=True)
        compose_table(warm_up, weigh_table(warm_up).made)
        threads = int(resources.cpus)
        found = measure([small, large], rounds=options.rounds, threads=threads, duck=duck, folder=folder)
    report(found, [small.num_pairs, large.num_pairs], options.json)


def report(found: dict[str, Any], num_pairs: Sequence[int], file: Path | None) -> None:
    """Print the table of slopes and write the ratios."""
    further = num_pairs[1] - num_pairs[0]
    rows: list[list[str]] = []
    ratios: dict[str, float] = {}
    for what, (small, large) in found["times"].items():
        slopes = {}
        for who in ("ours", "duckdb"):
            low, high = statistics.median(vars(small)[who]), statistics.median(vars(large)[who])
            slopes[who] = (high - low) / further
            fixed = low - slopes[who] * num_pairs[0]
            rows.append([f"{what}, {who}", *(f"{x:.2f}" for x in (low, high, 1e6 * slopes[who], fixed))])
        ratios[f"{what}_over_duckdb"] = slopes["ours"] / slopes["duckdb"]
    weigh_s = statistics.median(found["times"]["histogram"][1].ours)
    for what, seconds in found["others"].items():
        low, high = map(statistics.median, seconds)
        slope = (high - low) / further
        rows.append([f"{what}, ours", *(f"{x:.2f}" for x in (low, high, 1e6 * slope, low - slope * num_pairs[0]))])
        ratios[OTHERS[what]] = high / weigh_s
    show(["seconds, median", *(f"{n:,} pairs" for n in num_pairs), "each further million", "fixed"], rows)
    print("; ".join(f"{name}: {ratio:.2f}" for name, ratio in ratios.items()))
    peaks = " and ".join(f"{peak:,.0f} MiB" for peak in found["peaks"])
    print(f"The driver held at most {peaks}. Load {os.getloadavg()[0]:.1f}.")
    write_json(file, ratios)


def _random_unit(rng: np.random.Generator, rules: RuleSet, num_pairs: int) -> pa.Table:
    columns: dict[str, Any] = {PAIR_ID: _ids(rng, num_pairs), PROMPT_ID: _ids(rng, num_pairs)}
    columns |= {GROUP_ID: pa.nulls(num_pairs, pa.string()), SUBSET: pa.array(["all"] * num_pairs)}
    for rule in rules:
        for side in SIDES:
            scores_N = rng.random(num_pairs, dtype=np.float32)
            columns[side(rule.name)] = scores_N if rule.scale.levels is None else np.floor(scores_N * len(LEVELS))
    columns |= {name: rng.integers(20, 500, num_pairs).astype(np.int32) for name in (CHOSEN_TOKENS, REJECTED_TOKENS)}
    columns[TRUNCATED] = np.zeros(num_pairs, dtype=bool)
    return pa.table(columns).replace_schema_metadata({RULES_METADATA: json.dumps(rules.to_list())})


def _ids(rng: np.random.Generator, num_pairs: int) -> list[str]:
    """Random ids of 32 hexadecimal digits, as the prepare pass makes them."""
    digits = rng.bytes(16 * num_pairs).hex()
    return [digits[start : start + 32] for start in range(0, len(digits), 32)]


def _parquet(table: Folder) -> str:
    files = ", ".join(f"'{table.path(file.file)}'" for file in read_manifest(table))
    return f"read_parquet([{files}])"


if __name__ == "__main__":
    main()
