"""python benchmarks/refine_negatives.py --json negatives.json

What 768 negatives as 64 strata cost and find, against 768 random ones: energies fitted with both on the same planted
pairs, on one thread, alternating, for three seeds. The base reward is linear in the embedding, with as much noise as
signal; rewards are refined on pairs that no fit saw and judged by the truth without the noise. The loss on these pairs
is taken with 768 random negatives for both, the same ones.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.tables import machine, show, write_json
from encore_ray.models.energy.data import ResponseBatch
from encore_ray.models.energy.maximum import Maximiser
from encore_ray.models.energy.pair_blocks import PairBlock, PairBlocks
from encore_ray.models.energy.training import EnergyFit, add_gradients, fit_energies
from encore_ray.models.spec.energy import EnergySettings

NUM_DIMS, DOMAIN = 64, 5.0


@dataclass(frozen=True)
class Found:
    """Of one fit.

    Attributes:
        processor_s: that it took.
        loss: on pairs of its own, under random negatives.
        accuracy: share of these pairs that refined rewards order as the truth does. base_accuracy: of base rewards.
        correlation: of refined rewards with the truth.
    """

    processor_s: float
    loss: float
    accuracy: float
    base_accuracy: float
    correlation: float


def planted(seed: int, num_pairs: int) -> tuple[PairBlock, np.ndarray]:
    """Pairs labelled by the truth, a fifth of the labels turned round; and the truth, [N, 2]."""
    rng = np.random.default_rng(seed)
    direction_D = np.random.default_rng(0).standard_normal(NUM_DIMS) / NUM_DIMS**0.5
    e_N2D = rng.standard_normal((num_pairs, 2, NUM_DIMS), dtype=np.float32)
    truth_N2 = e_N2D.astype(np.float64) @ direction_D
    wrong_N = (truth_N2[:, 0] < truth_N2[:, 1]) ^ (rng.random(num_pairs) < 0.2)
    e_N2D[wrong_N] = e_N2D[wrong_N][:, ::-1]
    truth_N2[wrong_N] = truth_N2[wrong_N][:, ::-1]
    r_N2 = truth_N2 + rng.standard_normal((num_pairs, 2))
    return PairBlock(e_N2D.astype(np.float16), r_N2[:, :, None], np.zeros(num_pairs, dtype=bool)), truth_N2


@torch.no_grad()
def judge(fit: EnergyFit, processor_s: float, *, num_pairs: int) -> Found:
    block, truth_N2 = planted(10_000, num_pairs)
    batch = ResponseBatch.of(block, fit.moments)
    (branch,) = fit.network.energies
    torch.manual_seed(0)
    loss = add_gradients(fit.network, batch, replace(fit.settings, num_strata=fit.settings.num_negatives))
    everything = replace(block, r_N2K=truth_N2[:, :, None])
    order_N2 = np.argsort(-truth_N2, axis=1)
    e_N2D = np.take_along_axis(everything.e_N2D, order_N2[:, :, None], axis=1)
    base_N2 = np.take_along_axis(block.r_N2K[:, :, 0], order_N2, axis=1)
    e_MD = torch.from_numpy(fit.moments.embedding.apply(e_N2D.reshape(-1, NUM_DIMS)))
    base_M = torch.from_numpy(fit.moments.reward.apply(base_N2.reshape(-1, 1))[:, 0])
    refined_M = Maximiser(branch, low=-DOMAIN, high=DOMAIN).find(fit.network.embed(e_MD), base_M).reward_B.numpy()
    refined_N2, best_N2 = refined_M.reshape(-1, 2), np.take_along_axis(truth_N2, order_N2, axis=1)
    return Found(
        processor_s=processor_s,
        loss=loss,
        accuracy=float((refined_N2[:, 0] > refined_N2[:, 1]).mean()),
        base_accuracy=float((base_N2[:, 0] > base_N2[:, 1]).mean()),
        correlation=float(np.corrcoef(refined_M, best_N2.ravel())[0, 1]),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=1024, help="That energies are fitted to.")
    parser.add_argument("--judge-pairs", type=int, default=512)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--negatives", type=int, default=EnergySettings.num_negatives)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--batch-responses", type=int, default=128)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    found: dict[str, list[Found]] = {"random": [], "strata": []}
    for seed in range(options.seeds):
        strata = EnergySettings(
            num_negatives=options.negatives,
            learning_rate=options.learning_rate,
            batch_responses=options.batch_responses,
            epochs=options.epochs,
            seed=seed,
        )
        block, _ = planted(seed, options.pairs)
        blocks = PairBlocks(1, lambda number, block=block: block)
        for name, settings in (("random", replace(strata, num_strata=options.negatives)), ("strata", strata)):
            began = time.process_time()
            fit = fit_energies(blocks, settings=settings, device="cpu")
            found[name].append(judge(fit, time.process_time() - began, num_pairs=options.judge_pairs))
    rows = [
        [
            name,
            str(seed),
            f"{each.processor_s:,.1f}",
            f"{each.loss:.4f}",
            f"{each.accuracy:.1%}",
            f"{each.correlation:.4f}",
        ]
        for seed in range(options.seeds)
        for name, each in ((name, fits[seed]) for name, fits in found.items())
    ]
    show(["negatives", "seed", "processor s", "loss", "right, of held-out pairs", "r with the truth"], rows)
    ratio = statistics.median(
        one.processor_s / other.processor_s for one, other in zip(found["random"], found["strata"], strict=True)
    )
    print(
        f"Base rewards are right for {found['random'][0].base_accuracy:.1%}. {options.negatives} negatives as "
        f"{EnergySettings.num_strata} strata take a {ratio:.1f}th of the time."
    )
    print(f"{machine()}; torch {torch.__version__}")
    rounds = {name: [asdict(each) for each in fits] for name, fits in found.items()}
    write_json(options.json, {**rounds, "random_over_strata": ratio, "machine": machine()})


if __name__ == "__main__":
    main()
