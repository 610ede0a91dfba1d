"""Pairs a second on a GPU, and the share of its matmul peak that they use: 1B and 8B Llama shapes, random weights.

python benchmarks/gpu.py --json gpu.json
python benchmarks/gpu.py --shapes tiny --device cpu     to see it run without a GPU

Needs torch, transformers, numpy and safetensors only, from a checkout: encore_ray need not be installed. Scores random
ids of the token lengths of HH-RLHF (hh_lengths.json) in bf16, the next unit planned by a thread while one is scored.

- tree, packed: our scorer with and without sharing prompts, the tree also compiled with --compile.
- length_sorted: padded batches of similar length under the same token budget, which may choose among all pairs.
- padded_64: 64 pairs in the order of the corpus, padded to the longest, two forwards: the usual evaluation tool.

A pair's FLOPs are 2 for each parameter of the body (embeddings and heads left out) and token, and 4 x hidden size for
each token that a token attends to in each layer. "Peak, computed" counts all token slots that went through the model,
padding too; "peak, real" counts 2 a parameter for the tokens of the tree alone, whatever the strategy computed: the
share of the machine that does work which has to be done. The peak is a bf16 matrix product measured here.
"""

import argparse
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import torch
from transformers import LlamaConfig, LlamaModel
from transformers import __version__ as transformers_version

from benchmarks.lengths import Lengths, pairs_of_ids, random_pairs
from benchmarks.tables import machine, show, write_json
from encore_ray.models.forward.body_model import BodyModel
from encore_ray.models.forward.budget import find_budget, with_budget
from encore_ray.models.forward.heads import LinearHeads, PooledHeads
from encore_ray.models.forward.multihead import MultiHeadModel
from encore_ray.models.forward.scorer import PairScorer, Plan
from encore_ray.models.text.conversations import TokenizedPairs
from encore_ray.rules import Rule, RuleSet, Scale

NUM_RULES = 8
SEED = 7
UNIT_PAIRS = 1024
PADDED_PAIRS = 64
MATMUL_SIZE = {"cuda": 8192, "cpu": 512}
MATMULS = 50
_OF_LLAMA_3 = {"num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256}
SHAPES: dict[str, dict[str, Any]] = {
    "tiny": {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 176},
    "1b": {"hidden_size": 2048, "num_hidden_layers": 16, "intermediate_size": 8192, **_OF_LLAMA_3},
    "8b": {"hidden_size": 4096, "num_hidden_layers": 32, "intermediate_size": 14336, **_OF_LLAMA_3},
}


@dataclass(frozen=True)
class Way:
    """One way to score all pairs: a scorer, and what it gets at a time."""

    name: str
    scorer: PairScorer
    units: list[TokenizedPairs]


@dataclass(frozen=True)
class Measured:
    """What a way did in the median round.

    Attributes:
        pairs_per_s, tokens_per_s: of pairs, and of the tokens of their sequences.
        computed_per_pair: token slots that went through the model.
        peak_computed, peak_real: share of the measured matmul peak, see the top of this file.
        idle: share of the time in which the device had no forward pass to run.
        memory_gib: most that the device held, 0 on a CPU.
    """

    pairs_per_s: float
    tokens_per_s: float
    computed_per_pair: float
    peak_computed: float
    peak_real: float
    idle: float
    memory_gib: float


def random_model(shape: str, device: str) -> MultiHeadModel:
    """A Llama of a shape with random bf16 weights, made on the device, and float32 heads."""
    torch.manual_seed(SEED)
    config = LlamaConfig(**SHAPES[shape], max_position_embeddings=8192, use_cache=False)
    with torch.device(device):
        backbone = LlamaModel._from_config(config, dtype=torch.bfloat16)
        heads = LinearHeads(torch.randn(NUM_RULES, config.hidden_size) * 0.02, torch.zeros(NUM_RULES))
    rules = RuleSet(Rule(f"rule_{k}", "A random head", "better", Scale(-3.0, 3.0)) for k in range(NUM_RULES))
    return MultiHeadModel(
        backbone,
        heads=PooledHeads(heads, pooling="last"),
        rules=rules,
        conversations=None,  # type: ignore[arg-type]  # nothing is tokenised: the ids are given
        dtype=torch.bfloat16,
    ).eval()


def matmul_peak(device: str) -> float:
    """FLOPs a second of a large bf16 matrix product, in the median of many."""
    size = MATMUL_SIZE[device]
    a, b = (torch.randn(size, size, device=device).to(torch.bfloat16) for _ in range(2))
    seconds = []
    for _ in range(MATMULS):
        synchronize(device)
        clock = time.perf_counter()
        torch.mm(a, b)
        synchronize(device)
        seconds.append(time.perf_counter() - clock)
    return 2 * size**3 / statistics.median(seconds)


def ways_of(scorer: PairScorer, pairs: TokenizedPairs, *, batch_tokens: int) -> list[Way]:
    """All ways but the compiled one."""
    units = [pairs.take(part) for part in _parts(len(pairs), UNIT_PAIRS)]
    sides = [
        pairs_of_ids([ids[i] for i in part], [None] * len(part))
        for part in _parts(len(pairs), PADDED_PAIRS)
        for ids in (pairs.chosen_ids, [ids for ids in pairs.rejected_ids if ids is not None])
    ]
    whole = PADDED_PAIRS * int(max(pairs.chosen_tokens.max(), pairs.rejected_tokens.max()))
    return [
        Way("tree", with_budget(scorer, batch_tokens), units),
        Way("packed", with_budget(scorer, batch_tokens, strategy="packed"), units),
        Way("length_sorted", with_budget(scorer, batch_tokens, strategy="padded"), [pairs]),
        Way("padded_64", with_budget(scorer, whole, strategy="padded"), sides),
    ]


def measure(way: Way, lengths: Lengths, *, peak: float, num_rounds: int) -> Measured:
    """Score all pairs so many times, after a first unit that warms up."""
    scorer, device = way.scorer, way.scorer.model.device.type
    scorer.score(way.units[0])
    scorer.occupancy.take()
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    seconds, plans = [], []
    with ThreadPoolExecutor(1) as planner:
        for _ in range(num_rounds):
            clock = time.perf_counter()
            coming = [planner.submit(scorer.plan, unit) for unit in way.units]
            for plan in coming:
                scorer.run(plan.result())
            seconds.append(time.perf_counter() - clock)
            plans = [plan.result() for plan in coming]
    median_s = statistics.median(seconds)
    occupied = scorer.occupancy.take()
    num_computed = sum(plan.num_computed for plan in plans)
    num_parameters = body_parameters(scorer.model)
    config = scorer.model.backbone.config
    attention = 4 * config.hidden_size * config.num_hidden_layers * sum(map(num_attended, plans))
    return Measured(
        pairs_per_s=len(lengths) / median_s,
        tokens_per_s=sum(plan.num_tokens for plan in plans) / median_s,
        computed_per_pair=num_computed / len(lengths),
        peak_computed=(2 * num_parameters * num_computed + attention) / median_s / peak,
        peak_real=2 * num_parameters * int(lengths.tree_N.sum()) / median_s / peak,
        idle=occupied.idle_s / (occupied.busy_s + occupied.idle_s),
        memory_gib=torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else 0.0,
    )


def body_parameters(model: BodyModel) -> int:
    """Parameters of the backbone without its embeddings, which multiply nothing."""
    embeddings = model.backbone.get_input_embeddings().weight
    assert isinstance(embeddings, torch.Tensor)
    return sum(parameter.numel() for parameter in model.backbone.parameters()) - embeddings.numel()


def num_attended(plan: Plan) -> int:
    """Over all token slots of a plan, how many tokens each attends to: its position + 1, in padding too."""
    total = 0
    for batch in plan.batches:
        if batch.row is not None:
            total += int(batch.row.positions_T.sum()) + len(batch.row.positions_T)
        else:
            num_rows, length = batch.inputs["input_ids"].shape
            total += num_rows * length * (length + 1) // 2
    return total


def synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def benchmark(shape: str, options: argparse.Namespace, *, peak: float) -> dict[str, Any]:
    """All ways on one shape: prints its table, returns its record."""
    model = random_model(shape, options.device)
    lengths = Lengths.read().take(options.pairs)
    pairs = random_pairs(lengths, vocab_size=model.backbone.config.vocab_size, seed=SEED)
    scorer = PairScorer(model, strategy="tree")
    batch_tokens = options.batch_tokens
    if batch_tokens is None:
        search = find_budget([scorer], [pairs])
        batch_tokens = search.batch_tokens
        print(f"{shape}: token budget {batch_tokens:,} ({'; '.join(map(str, search.trials))})", flush=True)
    ways = ways_of(scorer, pairs, batch_tokens=batch_tokens)
    found = {way.name: measure(way, lengths, peak=peak, num_rounds=options.rounds) for way in ways}
    if options.compile:
        model.backbone.compile(dynamic=True)
        compiled = Way("tree, compiled", ways[0].scorer, ways[0].units)
        found[compiled.name] = measure(compiled, lengths, peak=peak, num_rounds=options.rounds)
    tree = found["tree"].pairs_per_s
    rows = [
        [
            name,
            f"{one.pairs_per_s:,.1f}",
            f"{tree / one.pairs_per_s:.2f}x",
            f"{one.tokens_per_s:,.0f}",
            f"{one.computed_per_pair:.0f}",
            f"{one.peak_computed:.1%}",
            f"{one.peak_real:.1%}",
            f"{one.idle:.1%}",
            f"{one.memory_gib:.1f}",
        ]
        for name, one in found.items()
    ]
    header = ["pairs/s", "tree is", "tokens/s", "computed a pair", "peak, computed", "peak, real", "idle", "GiB"]
    show([f"{shape}, {body_parameters(model) / 1e9:.2f}G", *header], rows)
    return {
        "body_parameters": body_parameters(model),
        "batch_tokens": batch_tokens,
        "num_pairs": len(lengths),
        "ways": {name: asdict(one) for name, one in found.items()},
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", choices=list(SHAPES), default=["1b", "8b"])
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--pairs", type=int, default=1024, help="The first so many of the 2,312.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch-tokens", type=int, help="Token budget of a forward pass. Default: searched.")
    parser.add_argument("--compile", action="store_true", help="Measure the tree with torch.compile too.")
    parser.add_argument("--json", type=Path, help="Write the figures to this file.")
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("this process sees no CUDA device. Run it where there is one, or with --device cpu --shapes tiny.")
    name = torch.cuda.get_device_name() if options.device == "cuda" else machine()
    peak = matmul_peak(options.device)
    print(
        f"{name}; torch {torch.__version__}, transformers {transformers_version}; {Lengths.read().take(options.pairs)}"
    )
    print(f"bf16 matmul, {MATMUL_SIZE[options.device]} squared: {peak / 1e12:.1f} TFLOP/s", flush=True)
    shapes = {shape: benchmark(shape, options, peak=peak) for shape in options.shapes}
    write_json(options.json, {"device": name, "matmul_tflops": peak / 1e12, "shapes": shapes})


def _parts(total: int, size: int) -> list[range]:
    return [range(start, min(start + size, total)) for start in range(0, total, size)]


if __name__ == "__main__":
    main()
