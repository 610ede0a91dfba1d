"""A judge that shares each conversation among its rules, against one unpadded call a rule and response.

python benchmarks/judge.py --corpus harmless-base-test.jsonl.gz --json judge.json

20 rules of the pool, a sample of HH-RLHF stratified by length, one thread, and a random Llama (hidden 512, 6 layers).
All ways get the same token ids:

- `one_call`: transformers' AutoModelForCausalLM, one call a rule and response, at its best: sdpa, inference_mode, no
  cache, logits of the last position alone;
- `same_kernels`: the judge without sharing and packing, one call a rule and response. What is gained over it comes from
  sharing, not from faster linear layers;
- `packed`: the judge without sharing, sequences packed into rows without padding;
- `tree`: as `encore-ray rate` does it.

With p tokens before the rules part and r behind, sharing gains at most K (p + r) / (p + K r): that is the bound, from
the tokens counted. Sharing also what rules begin with, and the prompt of two responses, is beyond it.

Each round takes another part of the sample; ours runs before and after each other way, and a ratio is the median over
the rounds. Rates are per second of process CPU time. First all ways' ratings are compared.

At the end the same questions are asked the other way round, rule before conversation, of the random model or of the
one that --judge names: how often both orders agree in the sign of a rating, and in which response of a pair is rated
higher. Of a random model that says nothing about judges.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers import __version__ as transformers_version

from benchmarks.lengths import Lengths, by_length
from benchmarks.recipe import SEED, Corpus, find_corpus, save_judge, train_tokenizer
from benchmarks.tables import machine, show, write_json
from encore_ray.corpora.rows import BadRow
from encore_ray.corpora.turns.messages import transcript_turns
from encore_ray.models.families.loaders import no_progress_bar
from encore_ray.models.forward.rows import distinct_sequences
from encore_ray.models.forward.scorer import PairScorer
from encore_ray.models.judge.judge import Judge, load_judge
from encore_ray.models.judge.questions import NO, YES, question
from encore_ray.models.spec.conversation import Message
from encore_ray.models.spec.load_options import Dtype, LoadOptions
from encore_ray.models.spec.source import ModelSource
from encore_ray.models.text.conversations import TokenizedPairs
from encore_ray.rule_pools import rule_pool
from encore_ray.rules import RuleSet

NUM_RULES = 20
DTYPES: dict[str, Dtype] = {"float32": "float32", "bf16": "bfloat16"}
OTHERS = ("one_call", "same_kernels", "packed")
AGREEMENT_PAIRS = 12
# Largest difference of a rating of any way, in standard deviations of the ratings.
TOLERANCE_SD = {"float32": 1e-3, "bf16": 0.25}

Conversation = list[Message]


@dataclass(frozen=True)
class Bound:
    """What sharing can gain on some responses.

    Attributes:
        tokens: of all questions.
        shared: with what all rules of a response share counted once: p + K r.
        tree: with every shared prefix counted once, also among rules and the responses of a pair.
    """

    tokens: int
    shared: int
    tree: int

    @classmethod
    def of(cls, asked: TokenizedPairs) -> "Bound":
        """Of N * K pairs, K questions of a pair one after the other."""
        tokens = shared = 0
        for side in (asked.chosen_ids, asked.rejected_ids):
            for start in range(0, len(side), NUM_RULES):
                questions = [ids for ids in side[start : start + NUM_RULES] if ids is not None]
                prefix = min(_common_prefix(questions[0], other) for other in questions[1:])
                tokens += sum(map(len, questions))
                shared += sum(map(len, questions)) - (len(questions) - 1) * prefix
        sequences, _ = distinct_sequences([*asked.chosen_ids, *asked.rejected_ids])
        repeated = sum(_common_prefix(a, b) for a, b in pairwise(sequences))
        return cls(tokens, shared, sum(map(len, sequences)) - repeated)


def _common_prefix(a: np.ndarray, b: np.ndarray) -> int:
    length = min(len(a), len(b))
    different = np.flatnonzero(a[:length] != b[:length])
    return int(different[0]) if len(different) else length


class Contest:
    """One dtype: our judge and transformers' model, loaded from the same folder."""

    def __init__(self, folder: Path, dtype: str, rules: RuleSet):
        self.judge = load_judge(ModelSource(folder), LoadOptions(DTYPES[dtype], "cpu"), rules=rules, strategy="tree")
        tree = self.judge.scorers[0]
        same, packed = (PairScorer(tree.model, strategy=way) for way in ("one_by_one", "packed"))
        with no_progress_bar():
            self._theirs: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
                folder, dtype=getattr(torch, DTYPES[dtype]), attn_implementation="sdpa"
            ).eval()
        self.ways: dict[str, Callable[[TokenizedPairs], np.ndarray]] = {
            "tree": lambda asked: tree.score(asked)[:, :, 0],
            "one_call": self._one_call,
            "same_kernels": lambda asked: same.score(asked)[:, :, 0],
            "packed": lambda asked: packed.score(asked)[:, :, 0],
        }

    @torch.inference_mode()
    def _one_call(self, asked: TokenizedPairs) -> np.ndarray:
        yes, no = self.judge.scorers[0].model.heads.outputs.ids[0]  # type: ignore[union-attr]
        ratings = []
        for sides in zip(asked.chosen_ids, asked.rejected_ids, strict=True):
            for ids in sides:
                assert ids is not None
                ids_1T = torch.from_numpy(ids.astype(np.int64)).unsqueeze(0)
                logits = self._theirs(input_ids=ids_1T, use_cache=False, logits_to_keep=1).logits[0, -1]
                probability_V = logits.float().softmax(dim=0)
                ratings.append(float(probability_V[yes].sum() - probability_V[no].sum()))
        return np.array(ratings).reshape(len(asked), 2)

    def difference_sd(self, asked: TokenizedPairs) -> float:
        """The largest difference of any way from ours, in standard deviations of the ratings."""
        ours = self.ways["tree"](asked)
        return max(float(np.abs(self.ways[name](asked) - ours).max() / ours.std()) for name in OTHERS)

    def cpu_s(self, name: str, asked: TokenizedPairs) -> float:
        """Seconds of the process for all questions, planning and padding included."""
        started = time.process_time()
        self.ways[name](asked)
        return time.process_time() - started

    def round(self, asked: TokenizedPairs) -> dict[str, tuple[float, float]]:
        """CPU seconds of each other way, and the mean of ours just before and after."""
        own = [self.cpu_s("tree", asked)]
        found = {}
        for name in OTHERS:
            other = self.cpu_s(name, asked)
            own.append(self.cpu_s("tree", asked))
            found[name] = other, (own[-2] + own[-1]) / 2
        return found


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, help="HH-RLHF transcripts. Default: those of ENCORE_RAY_CORPORA.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--round-pairs", type=int, default=4, help="Pairs of a round, other ones in each.")
    parser.add_argument("--hidden-size", type=int, default=512)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--judge", type=Path, help="Folder of a causal model that is asked in both orders.")
    parser.add_argument("--json", type=Path, help="Write the figures to this file.")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    corpus = find_corpus(options.corpus)
    pairs = conversations(corpus)
    rules = RuleSet(list(rule_pool("all"))[:: len(rule_pool("all")) // NUM_RULES][:NUM_RULES])
    print(f"Corpus: {corpus.name}; {len(pairs):,} pairs, {len(rules)} rules")
    record: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tokenizer = train_tokenizer(corpus)
        tokenizer.add_tokens([f" {answer}" for answer in (YES, NO)])  # planted text may not have them
        save_judge(folder, tokenizer=tokenizer, hidden_size=options.hidden_size, num_layers=options.layers)
        sample = _sample(pairs, num_pairs=options.rounds * options.round_pairs)
        for dtype in DTYPES:
            found = compare(Contest(folder, dtype, rules), dtype, sample, num_rounds=options.rounds)
            record = {**found, **record} if dtype == "float32" else {**record, dtype: found}
        record["orders"] = orders_agree(options.judge or folder, rules, _sample(pairs, num_pairs=AGREEMENT_PAIRS))
    print(f"{machine()}, one thread; torch {torch.__version__}, transformers {transformers_version}")
    write_json(options.json, record)


def conversations(corpus: Corpus) -> list[tuple[Conversation, Conversation]]:
    """Both sides of every pair as turns; transcripts with an empty turn left out."""
    pairs = []
    for row in corpus.rows:
        if not corpus.is_real:
            prompt: Conversation = [{"role": "user", "content": row["prompt"]}]
            sides = [[*prompt, {"role": "assistant", "content": row[side]}] for side in ("chosen", "rejected")]
        else:
            try:
                turns = [transcript_turns(row[side], where=side) for side in ("chosen", "rejected")]
            except BadRow:
                continue
            sides = [[{"role": role, "content": content} for role, content in of_side] for of_side in turns]
        pairs.append((sides[0], sides[1]))
    return pairs


def _sample(pairs: Sequence[tuple[Conversation, Conversation]], *, num_pairs: int) -> list:
    """Pairs stratified by the length of their texts."""
    sizes = [np.array([sum(len(turn["content"]) for turn in pair[side]) for pair in pairs]) for side in (0, 1)]
    return [pairs[i] for i in by_length(Lengths(sizes[0], *sizes), num_pairs=num_pairs, seed=SEED)]


def ask(judge: Judge, pairs: Sequence[tuple[Conversation, Conversation]]) -> TokenizedPairs:
    """All questions about the pairs."""
    names = [f"number {i}" for i in range(len(pairs))]
    chosen, rejected = ([pair[side] for pair in pairs] for side in (0, 1))
    return judge.prepare([[] for _ in pairs], chosen=chosen, rejected=rejected, pair_ids=names).pairs[0]


def compare(contest: Contest, dtype: str, sample: list, *, num_rounds: int) -> dict[str, float]:
    """Run all rounds of one dtype and print its table."""
    difference = contest.difference_sd(ask(contest.judge, sample[:: max(1, len(sample) // 2)]))
    print(f"\n{dtype}: the ratings of all ways agree within {difference:.2g} standard deviations.", flush=True)
    if difference > TOLERANCE_SD[dtype]:
        sys.exit(f"They differ by more than {TOLERANCE_SD[dtype]:g}: a comparison of speed would mean nothing.")
    bound = Bound.of(ask(contest.judge, sample))
    rounds = []
    for number in range(num_rounds):
        rounds.append(contest.round(ask(contest.judge, sample[number::num_rounds])))
        ratios = ", ".join(f"{name} {other / own:.2f}x" for name, (other, own) in rounds[-1].items())
        print(f"{dtype}, round {number + 1} of {num_rounds}: {ratios}", flush=True)
    found = {name: float(np.median([of_round[name][0] / of_round[name][1] for of_round in rounds])) for name in OTHERS}
    bound_x, tree_x = bound.tokens / bound.shared, bound.tokens / bound.tree
    rows = [[name, f"{found[name]:.2f}x", f"{found[name] / bound_x:.0%}"] for name in OTHERS]
    show([dtype, "tree is faster by", "of the bound"], rows)
    print(
        f"{bound.tokens / (2 * NUM_RULES * len(sample)):.0f} tokens a question. Bound K(p + r)/(p + Kr): "
        f"{bound_x:.2f}x; with all shared prefixes: {tree_x:.2f}x.",
        flush=True,
    )
    return {
        "speedup": found["one_call"],
        "bound": bound_x,
        "tree_bound": tree_x,
        "over_same_kernels": found["same_kernels"],
        "over_packed": found["packed"],
    }


def orders_agree(folder: Path, rules: RuleSet, pairs: list) -> dict[str, float]:
    """Ask with the rule behind the conversation, and before it: how often both orders say the same."""
    judge = load_judge(ModelSource(folder), LoadOptions(device="cpu"), rules=rules, strategy="tree")
    scorer, conversations = judge.scorers[0], judge.scorers[0].model.conversations
    after_N2 = scorer.score(ask(judge, pairs))[:, :, 0]
    before = [
        [{"role": "user", "content": question(rule).replace("above", "below")}, *pair[side], _CLOSING]
        for pair in pairs
        for rule in rules
        for side in (0, 1)
    ]
    encoded = conversations.encode(before, ["pair"] * len(before), to_answer=True)
    ids = [conversations.cut(np.array(row, dtype=np.int32), len(row) - conversations.max_length) for row in encoded]
    whole = np.zeros(len(ids) // 2, dtype=bool)
    num_tokens = np.array([len(row) for row in ids]).reshape(-1, 2)
    asked = TokenizedPairs(ids[::2], [*ids[1::2]], num_tokens[:, 0], num_tokens[:, 1], whole, whole)
    before_N2 = scorer.score(asked)[:, :, 0]
    higher = [np.sign(ratings_N2[:, 0] - ratings_N2[:, 1]) for ratings_N2 in (after_N2, before_N2)]
    found = {
        "sign": float((np.sign(after_N2) == np.sign(before_N2)).mean()),
        "ranking": float((higher[0] == higher[1]).mean()),
    }
    print(
        f"\nRule behind and before the conversation, {len(pairs)} pairs, {len(rules)} rules: the ratings have the same "
        f"sign in {found['sign']:.0%}, the same response is rated higher in {found['ranking']:.0%} of the cases."
    )
    return found


_CLOSING: Message = {"role": "user", "content": "Reply with Yes or No only."}


if __name__ == "__main__":
    main()
