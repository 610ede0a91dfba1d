"""How fast refined rewards are found, and what fitting and applying energies take at scale.

    python benchmarks/refine.py --json refine.json
    python benchmarks/refine.py --rows 10000 20000 40000

Without --rows: the search for each response's highest energy against 50 steps of gradient ascent by autograd, on one
thread, in float32, on the same batch, alternating; the median of the rounds' ratios of processor time. Both sides
start from the embedding's part of the first layer; `uncached` lets the ascent compute it in each step, as a plain
network does.

With --rows: synthetic units of 4,096-wide embeddings on disk (16 KiB a pair, deleted afterwards), a process of one
thread for each number of pairs that fits one epoch with 16 negatives, and one that refines them as a worker of `refine
apply` does: seconds, and the most memory that the process has held after 10 %, 50 % and all of its units. Minutes for a
million pairs are of the processor, so that other work on the machine does not count. Then the paper's settings for a
number of steps; what is extrapolated from these says so.
"""

import argparse
import multiprocessing
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.tables import machine, show, write_json
from encore_ray.engine.work.unit_work import CommittedWork, unit_task
from encore_ray.folder.attempt import Attempt
from encore_ray.folder.pass_table import pass_table
from encore_ray.folder.protocol.commits import Commit
from encore_ray.folder.spec import COMPOSE, EMBED
from encore_ray.folder.status import pass_tables
from encore_ray.models.energy.maximum import Maximiser
from encore_ray.models.energy.network import EnergyBranch, EnergyNetwork
from encore_ray.models.energy.pair_blocks import PairBlock, PairBlocks
from encore_ray.models.energy.refiner import Refiner
from encore_ray.models.energy.training import fit_energies
from encore_ray.models.spec.energy import EnergySettings
from encore_ray.passes.refine.apply import _RefineRewards
from encore_ray.passes.refine.energies import REWARD_ENERGY
from encore_ray.passes.refine.fit_reward import MARGIN
from encore_ray.passes.refine.source import REWARD, embedded_units, training_blocks
from encore_ray.passes.scorers.embedding_table import embedding_columns
from encore_ray.schema import CHOSEN_REWARD, PAIR_ID, REJECTED_REWARD
from encore_ray.storage import Folder

ASCENT_STEPS, ASCENT_RATE = 50, 0.1
UNIT_PAIRS = 1024
STREAMED = EnergySettings(num_negatives=16, epochs=1)


def planted(num_dims: int, rng: np.random.Generator, num_pairs: int) -> PairBlock:
    """Pairs whose reward is linear in the embedding, with noise as large as the signal."""
    direction_D = np.random.default_rng(0).standard_normal(num_dims) / num_dims**0.5
    e_N2D = rng.standard_normal((num_pairs, 2, num_dims), dtype=np.float32)
    r_N2 = e_N2D.astype(np.float64) @ direction_D + rng.standard_normal((num_pairs, 2))
    return PairBlock(e_N2D.astype(np.float16), r_N2[:, :, None], rng.random(num_pairs) < 0.1)


def trained_network(num_dims: int, *, num_pairs: int) -> EnergyNetwork:
    """An energy trained for a moment: the landscapes are those of training, not of random weights."""
    blocks = PairBlocks(4, lambda number: planted(num_dims, np.random.default_rng(number), num_pairs // 4))
    return fit_energies(blocks, settings=replace(STREAMED, learning_rate=1e-3)).network


def ascend(branch: EnergyBranch, embed: Callable[[], Tensor], base_B: Tensor) -> Tensor:
    """Gradient ascent by autograd from the base reward, as the paper does it."""
    y_B = base_B.clone()
    for _ in range(ASCENT_STEPS):
        y_B.requires_grad_(True)
        energy = branch(embed(), y_B.unsqueeze(1)).sum()
        (slope_B,) = torch.autograd.grad(energy, y_B)
        y_B = (y_B.detach() + ASCENT_RATE * slope_B).clamp(-5.0, 5.0)
    return y_B


def measure_search(*, num_dims: int, batch: int, rounds: int, num_pairs: int) -> dict[str, float]:
    """Ratios of the ascent's time to the search's."""
    network = trained_network(num_dims, num_pairs=num_pairs)
    (branch,) = network.energies
    e_BD, base_B = torch.randn(batch, num_dims), torch.randn(batch)
    part_BH = network.embed(e_BD)
    maximiser = Maximiser(branch, low=-5.0, high=5.0)
    ways: dict[str, Callable[[], object]] = {
        "search": lambda: maximiser.find(part_BH, base_B),
        "ascent": lambda: ascend(branch, lambda: part_BH, base_B),
        "uncached": lambda: ascend(branch, lambda: network.embed(e_BD), base_B),
    }
    for way in ways.values():
        way()
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            started = time.process_time()
            way()
            seconds[name].append(time.process_time() - started)
    per_response = {name: 1e6 * statistics.median(times) / batch for name, times in seconds.items()}
    show(["way", "µs a response"], [[name, f"{time_us:,.0f}"] for name, time_us in per_response.items()])
    ratios = {
        name: statistics.median(slow / fast for slow, fast in zip(seconds[name], seconds["search"], strict=True))
        for name in ("ascent", "uncached")
    }
    return {"speedup": ratios["ascent"], "speedup_uncached": ratios["uncached"]}


def write_run(run: Folder, *, num_pairs: int, num_dims: int) -> None:
    """Units of rewards and embeddings, as the passes leave them."""
    tables = [pass_table(run, spec).open({}) for spec in (COMPOSE, EMBED)]
    made: list[dict[str, Commit]] = [{}, {}]
    for number in range(num_pairs // UNIT_PAIRS):
        block = planted(num_dims, np.random.default_rng(number), UNIT_PAIRS)
        pair_ids = pa.array([f"{number}-{row}" for row in range(UNIT_PAIRS)])
        rewards = {PAIR_ID: pair_ids, CHOSEN_REWARD: block.r_N2K[:, 0, 0], REJECTED_REWARD: block.r_N2K[:, 1, 0]}
        contents = pa.table(rewards), pa.table({PAIR_ID: pair_ids, **embedding_columns(block.e_N2D)})
        for table, content, commits in zip(tables, contents, made, strict=True):
            attempt = Attempt(table, f"{number:06d}", "")
            attempt.write(content)
            commits[attempt.unit] = attempt.commit({})
    for table, commits in zip(tables, made, strict=True):
        table.seal(list(commits), commits, {})


def fit_run(run: Folder) -> list[float]:
    """Moments and one epoch of the units; the most MiB held when each was read for the epoch, and at the end."""
    blocks = training_blocks(embedded_units(run, REWARD), noise=0.0, seed=0)
    held: list[float] = []

    def read(number: int) -> PairBlock:
        held.append(most_mib())
        return blocks.read(number)

    fit_energies(PairBlocks(blocks.num_blocks, read), settings=STREAMED)
    return [*held[-blocks.num_blocks :], most_mib()]


def apply_run(run: Folder) -> list[float]:
    """Refine the units as a worker does, by energies of the first; the most MiB held after each."""
    units = embedded_units(run, REWARD)
    small = training_blocks(units[:1], noise=0.0, seed=0)
    refiner = Refiner.of(fit_energies(small, settings=replace(STREAMED, num_negatives=1)))
    source = {"source": MARGIN, "slope": 1.0, "intercept": 0.0, "log_loss": 0.5}
    REWARD_ENERGY.keep(run, refiner.with_facts({"calibration": {"used": MARGIN, "sources": [source]}}), {})
    work = CommittedWork(pass_tables(run)["refine"].open({}), partial(_RefineRewards, run))
    held: list[float] = []
    for unit in units:
        work(replace(unit_task(unit.table), input_digest=unit.digest, payload=unit))
        held.append(most_mib())
    return held


def most_mib() -> float:
    """The most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def in_own_process(work: Callable[[], list[float]]) -> tuple[float, float, list[float]]:
    """Seconds and processor seconds that the work took; the MiB that its process held at most after each step."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_measured, (work,))


def _measured(work: Callable[[], list[float]]) -> tuple[float, float, list[float]]:
    torch.set_num_threads(1)
    started = time.perf_counter(), time.process_time()
    held = work()
    return time.perf_counter() - started[0], time.process_time() - started[1], held


def paper_seconds(num_dims: int, *, steps: int) -> float:
    """Processor seconds a response and epoch under the paper's settings, from a few steps."""
    block = planted(num_dims, np.random.default_rng(0), 128 * steps)
    block = replace(block, r_N2K=np.sort(block.r_N2K, axis=1)[:, ::-1], heldout_N=np.zeros(128 * steps, dtype=bool))
    started = time.process_time()
    fit_energies(PairBlocks(1, lambda number: block), settings=EnergySettings(epochs=1))
    return (time.process_time() - started) / (2 * 128 * steps)


def measure_scale(sizes: Sequence[int], *, num_dims: int, steps: int, folder: Path | None) -> dict[str, dict]:
    rows, found = [], {}
    for asked in sizes:
        num_pairs = max(1, asked // UNIT_PAIRS) * UNIT_PAIRS
        with tempfile.TemporaryDirectory(dir=folder) as place:
            run = Folder(place)
            write_run(run, num_pairs=num_pairs, num_dims=num_dims)
            for name, work in (("fit", fit_run), ("apply", apply_run)):
                before = os.getloadavg()[0]
                seconds, busy, held = in_own_process(partial(work, run))
                mib = [held[int(share * (len(held) - 1))] for share in (0.1, 0.5, 1.0)]
                million, load = busy * 1e6 / num_pairs, (before, os.getloadavg()[0])
                loads = f"{load[0]:.1f} to {load[1]:.1f}"
                memory = " / ".join(f"{value:,.0f}" for value in mib)
                rows.append(
                    [name, f"{num_pairs:,}", f"{seconds:,.0f}", f"{busy:,.0f}", memory, f"{million / 60:,.0f}", loads]
                )
                found[f"{name} {num_pairs}"] = {
                    "seconds": seconds,
                    "processor_seconds": busy,
                    "mib": mib,
                    "processor_seconds_a_million": million,
                    "load": list(load),
                }
    head = ["work", "pairs", "s", "processor s", "MiB at most, 10 / 50 / 100 %", "min a million pairs", "load"]
    show(head, rows)
    if not steps:
        return found
    each = paper_seconds(num_dims, steps=steps)
    found["paper"] = {"processor_seconds_a_response": each, "steps": float(steps)}
    print(
        f"The paper's settings (M 768, 5 epochs), from {steps} steps of 256 responses: {each * 1e3:.1f} ms a response "
        f"and epoch; 20,000 pairs with 5 epochs would take {each * 2 * 20_000 * 5 / 3600:.1f} h (extrapolated)."
    )
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", help="Pairs of the corpora that are fitted and refined.")
    parser.add_argument("--dims", type=int, default=4096, help="Width of the embeddings.")
    parser.add_argument("--batch", type=int, default=2048, help="Responses a batch: both sides of a unit.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--train-pairs", type=int, default=8192, help="That the energy of the search is trained on.")
    parser.add_argument("--paper-steps", type=int, default=2, help="Steps under the paper's settings; may be 0.")
    parser.add_argument("--folder", type=Path, help="Where the units of --rows are written for a while.")
    parser.add_argument("--json", type=Path, help="Write the figures to this file.")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if options.rows:
        found: dict = measure_scale(
            options.rows, num_dims=options.dims, steps=options.paper_steps, folder=options.folder
        )
    else:
        sizes = {"num_dims": options.dims, "batch": options.batch, "num_pairs": options.train_pairs}
        found = measure_search(**sizes, rounds=options.rounds)
        print(f"Against {ASCENT_STEPS} steps of ascent: {found['speedup']:.1f} times as fast with the embedding's part")
        print(f"kept, {found['speedup_uncached']:.1f} times where the ascent computes it in every step.")
    print(f"{machine()}; torch {torch.__version__}")
    write_json(options.json, found)


if __name__ == "__main__":
    main()
