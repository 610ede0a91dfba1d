"""The scorer against transformers' own AutoModelForSequenceClassification, on one thread: a table of speed-ups.

python benchmarks/scorer.py --corpus harmless-base-test.jsonl.gz --json scorer.json

Both sides have the same weights (a random Llama, hidden 512, 6 layers, 8 labels) and get the same token ids: a sample
of HH-RLHF stratified by length, in the order of the corpus. Theirs runs at its best: sdpa, inference_mode, no cache.
Each round takes another part of the sample, through each of their four ways and, between them, through ours, so that
a busy machine slows both alike; a ratio is the median over the rounds. Sorting by length needs many pairs to choose
from: it gets the whole corpus, and a round runs every so manieth of its batches.

The floor is what the products of the linear layers alone take, 2,048 token slots at a time: the share of ours that they
are says how much is left to gain. In the last layer only keys and values are computed of all slots.

Rates are per second of process CPU time: with one thread that is the wall time of a free core. Wall time is shown
beside it. First both sides score a few pairs, and the scores are compared. Part of the gain in float32 is that our
linear layers are computed by oneDNN, which is faster than torch's choice on some processors; in bf16 torch itself
chooses it, and the whole gain is in what is not computed.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification, PreTrainedModel
from transformers import __version__ as transformers_version

from benchmarks.lengths import Lengths, by_length, random_pairs
from benchmarks.recipe import PAD_ID, SEED, find_corpus, save_model, tokenize, train_tokenizer
from benchmarks.tables import machine, show, write_json
from encore_ray.models.families.loaders import no_progress_bar
from encore_ray.models.forward.scorer import PairScorer, pack
from encore_ray.models.loading.checkpoint import load_model
from encore_ray.models.text.conversations import TokenizedPairs

DTYPES = {"float32": "float32", "bf16": "bfloat16"}
SORTED_TOKENS = 4096  # budget of a batch of sequences sorted by length
SORTED_SHARE = 24  # a round runs every so manieth of these batches, which makes it about as long as the others
NUM_CHECKED = 16
FLOOR_SLOTS = 2048
# Largest difference in standard deviations of the scores. In bf16 also their heads are bf16, ours are not.
TOLERANCE_SD = {"float32": 1e-4, "bf16": 0.25}

Batches = list[list[int]]


def padded(num_pairs: int) -> Callable[[list[np.ndarray]], Batches]:
    """Batches of so many pairs in their order, first the chosen, then the rejected sides, padded to the longest."""

    def batches(sequences: list[np.ndarray]) -> Batches:
        half = len(sequences) // 2
        starts = [(start, min(start + num_pairs, half)) for start in range(0, half, num_pairs)]
        return [list(range(side + a, side + b)) for a, b in starts for side in (0, half)]

    return batches


def length_sorted(sequences: list[np.ndarray]) -> Batches:
    """Batches of sequences of about the same length, under a budget of token slots."""
    return pack(sequences, batch_tokens=SORTED_TOKENS)


def one_by_one(sequences: list[np.ndarray]) -> Batches:
    """Each sequence alone: no padding."""
    return [[i] for i in range(len(sequences))]


WAYS = {"padded_8": padded(8), "padded_64": padded(64), "length_sorted": length_sorted, "one_by_one": one_by_one}


@dataclass(frozen=True)
class Timing:
    """What it took to score sequences of so many tokens, padding and sharing not counted."""

    num_tokens: int
    cpu_s: float
    wall_s: float

    def __add__(self, other: "Timing") -> "Timing":
        return Timing(self.num_tokens + other.num_tokens, self.cpu_s + other.cpu_s, self.wall_s + other.wall_s)

    @property
    def tokens_per_cpu_s(self) -> float:
        return self.num_tokens / self.cpu_s


class Contest:
    """One dtype: our scorer and theirs, loaded from the same folder."""

    def __init__(self, folder: Path, dtype: str):
        self.ours = PairScorer(load_model(folder, dtype=DTYPES[dtype], device="cpu"))  # type: ignore[arg-type]
        with no_progress_bar():
            self.theirs: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(
                folder, dtype=getattr(torch, DTYPES[dtype]), attn_implementation="sdpa"
            ).eval()

    def time_ours(self, pairs: TokenizedPairs) -> tuple[np.ndarray, Timing]:
        """Scores [2N, K], chosen sides first, and the time, planning included."""
        return _timed(lambda: self.ours.score(pairs).swapaxes(0, 1).reshape(2 * len(pairs), -1), sequences_of(pairs))

    def time_theirs(self, sequences: list[np.ndarray], batches: Batches) -> tuple[np.ndarray, Timing]:
        """Scores of the sequences in the batches, in their order, and the time, padding included."""
        run = [sequences[i] for batch in batches for i in batch]
        return _timed(lambda: np.concatenate([self._forward([sequences[i] for i in batch]) for batch in batches]), run)

    @torch.inference_mode()
    def _forward(self, sequences: Sequence[np.ndarray]) -> np.ndarray:
        ids_BT = np.full((len(sequences), max(map(len, sequences))), PAD_ID, dtype=np.int64)
        mask_BT = np.zeros_like(ids_BT)
        for row, ids in enumerate(sequences):
            ids_BT[row, : len(ids)] = ids
            mask_BT[row, : len(ids)] = 1
        inputs = {"input_ids": torch.from_numpy(ids_BT), "attention_mask": torch.from_numpy(mask_BT)}
        return self.theirs(**inputs, use_cache=False).logits.float().numpy()

    def floor_share(self, pairs: TokenizedPairs) -> float:
        """Which share of our processor time the products of the linear layers alone would take, around the same run."""
        plan = self.ours.plan(pairs)
        before = self._products_s()
        cpu = time.process_time()
        self.ours.run(plan)
        spent = time.process_time() - cpu
        return (before + self._products_s()) / 2 * plan.num_computed / FLOOR_SLOTS / spent

    @torch.inference_mode()
    def _products_s(self) -> float:
        """Processor seconds of the products for so many slots: of each layer the least of three."""
        body = self.ours.model.backbone
        last = f"layers.{body.config.num_hidden_layers - 1}."
        seconds = 0.0
        for name, layer in body.named_modules():
            if not isinstance(layer, torch.nn.Linear) or (last in name and not name.endswith(("k_proj", "v_proj"))):
                continue
            x = torch.randn(1, FLOOR_SLOTS, layer.in_features).to(layer.weight.dtype)
            layer(x)
            times = []
            for _ in range(3):
                cpu = time.process_time()
                layer(x)
                times.append(time.process_time() - cpu)
            seconds += min(times)
        return seconds

    def difference_sd(self, pairs: TokenizedPairs) -> float:
        """Largest difference of any score of any way from ours, in standard deviations of the rule's scores."""
        sequences = sequences_of(pairs)
        ours_SK, _ = self.time_ours(pairs)
        largest = 0.0
        for batches in (way(sequences) for way in WAYS.values()):
            theirs_SK, _ = self.time_theirs(sequences, batches)
            difference_SK = np.abs(theirs_SK - ours_SK[[i for batch in batches for i in batch]])
            largest = max(largest, float((difference_SK / ours_SK.std(axis=0)).max()))
        return largest

    def round(self, part: TokenizedPairs, sorted_batches: Batches, corpus: list[np.ndarray]) -> "Round":
        """Every way once over the part, ours before and after each."""
        own, other = [self.time_ours(part)[1]], {}
        for name, way in WAYS.items():
            if way is length_sorted:
                other[name] = self.time_theirs(corpus, sorted_batches)[1]
            else:
                sequences = sequences_of(part)
                other[name] = self.time_theirs(sequences, way(sequences))[1]
            own.append(self.time_ours(part)[1])
        return Round(own, other)


@dataclass(frozen=True)
class Round:
    """Times of our runs, and of their ways that ran between them."""

    own: list[Timing]
    other: dict[str, Timing]

    def ratio(self, name: str) -> float:
        """How many times faster ours was, in the runs just before and after."""
        i = list(self.other).index(name)
        return (self.own[i] + self.own[i + 1]).tokens_per_cpu_s / self.other[name].tokens_per_cpu_s


def sequences_of(pairs: TokenizedPairs) -> list[np.ndarray]:
    """All chosen, then all rejected sides."""
    return [*pairs.chosen_ids, *(ids for ids in pairs.rejected_ids if ids is not None)]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, help="HH-RLHF transcripts. Default: those of ENCORE_RAY_CORPORA.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--round-pairs", type=int, default=64, help="Pairs of a round, other ones in each.")
    parser.add_argument("--hidden-size", type=int, default=512)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--json", type=Path, help="Write the ratios to this file.")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    corpus = find_corpus(options.corpus)
    tokenizer = train_tokenizer(corpus)
    if corpus.is_real:
        everything = tokenize(corpus, tokenizer)
        print(f"Corpus: {corpus.name}")
    else:
        everything = random_pairs(Lengths.read(), vocab_size=len(tokenizer), seed=SEED)
        print("Corpus: random ids of HH-RLHF's token lengths, for want of its texts (--corpus, ENCORE_RAY_CORPORA)")
    lengths = Lengths.of(everything)
    sample = everything.take(by_length(lengths, num_pairs=options.rounds * options.round_pairs, seed=SEED))
    print(f"  {lengths}.\n  Sample: {Lengths.of(sample)}.", flush=True)
    ratios, floor = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        save_model(Path(folder), tokenizer=tokenizer, hidden_size=options.hidden_size, num_layers=options.layers)
        for dtype in DTYPES:
            contest = Contest(Path(folder), dtype)
            ratios[dtype] = compare(contest, dtype, everything, sample, num_rounds=options.rounds)
            parts = [sample.take(range(number, len(sample), options.rounds)) for number in range(options.rounds)]
            floor[dtype] = float(np.median([contest.floor_share(part) for part in parts]))
            print(f"The products of the linear layers alone would take {floor[dtype]:.0%} of our time.", flush=True)
    print(f"{machine()}, one thread; torch {torch.__version__}, transformers {transformers_version}")
    write_json(options.json, {**ratios, "floor": floor})


def compare(
    contest: Contest, dtype: str, everything: TokenizedPairs, sample: TokenizedPairs, *, num_rounds: int
) -> dict[str, float]:
    """Run all rounds of one dtype and print its table; returns the median ratio of each way."""
    difference = contest.difference_sd(sample.take(range(0, len(sample), max(1, len(sample) // NUM_CHECKED))))
    print(f"\n{dtype}: the scores of all ways agree within {difference:.2g} standard deviations.", flush=True)
    if difference > TOLERANCE_SD[dtype]:
        sys.exit(f"The scores differ by more than {TOLERANCE_SD[dtype]:g}: a comparison of speed would mean nothing.")
    corpus = sequences_of(everything)
    all_sorted = length_sorted(corpus)
    rounds: list[Round] = []
    for number in range(num_rounds):
        part = sample.take(range(number, len(sample), num_rounds))
        rounds.append(contest.round(part, all_sorted[number::SORTED_SHARE], corpus))
        found = ", ".join(f"{name} {rounds[-1].ratio(name):.2f}x" for name in WAYS)
        print(f"{dtype}, round {number + 1} of {num_rounds}: {found}", flush=True)
    mean_tokens = sum(map(len, sequences_of(sample))) / len(sample)
    own = sum_of([timing for round_ in rounds for timing in round_.own])
    rows = [["tree", *_rates(own, mean_tokens), "", ""]]
    ratios = {}
    for name in WAYS:
        found = [round_.ratio(name) for round_ in rounds]
        ratios[name] = float(np.median(found))
        rates = _rates(sum_of([round_.other[name] for round_ in rounds]), mean_tokens)
        rows.append([name, *rates, f"{ratios[name]:.2f}x", f"{min(found):.2f} to {max(found):.2f}"])
    show([dtype, "pairs/s", "pairs/s, wall", "ours is", "rounds"], rows)
    return ratios


def sum_of(timings: Sequence[Timing]) -> Timing:
    return Timing(
        sum(timing.num_tokens for timing in timings),
        sum(timing.cpu_s for timing in timings),
        sum(timing.wall_s for timing in timings),
    )


def _rates(timing: Timing, mean_tokens: float) -> list[str]:
    num_pairs = timing.num_tokens / mean_tokens
    return [f"{num_pairs / timing.cpu_s:.2f}", f"{num_pairs / timing.wall_s:.2f}"]


def _timed(score: Callable[[], np.ndarray], sequences: Sequence[np.ndarray]) -> tuple[np.ndarray, Timing]:
    cpu, wall = time.process_time(), time.perf_counter()
    scores_SK = score()
    spent = time.process_time() - cpu, time.perf_counter() - wall
    return scores_SK, Timing(sum(map(len, sequences)), *spent)


if __name__ == "__main__":
    main()
