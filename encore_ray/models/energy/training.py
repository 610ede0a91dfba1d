"""Noise-contrastive estimation of the energies, on a corpus that need not fit into memory.

For each response with embedding e and standardised reward r, a positive y = r + nu, nu ~ N(0, (beta sigma)^2), stands
against M negatives y ~ N(r, sigma^2) (`noise.py` says how they are drawn):

    loss = -log softmax over {positive, negatives} of f(e, y) - log p_N(y | r)  +  lambda mean f^2

in log space throughout. Batches follow from the seed alone; the same seed, blocks, library set and number of threads
give the same bits on a CPU. After each epoch the loss on held-out pairs, under noise that is the same each time,
says whether to go on. Noise is drawn on the CPU wherever the network is.

Source: EBRM, arXiv 2504.13134; NCE+, Gustafsson et al., arXiv 2005.01698.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from encore_ray.errors import DataError
from encore_ray.models.energy.data import CorpusMoments, ResponseBatch, measure_corpus, shuffled_batches, take_rows
from encore_ray.models.energy.network import EnergyBranch, EnergyNetwork
from encore_ray.models.energy.noise import NoiseSampler
from encore_ray.models.energy.pair_blocks import PairBlocks
from encore_ray.models.energy.state import FitState
from encore_ray.models.families.devices import Device, find_device
from encore_ray.models.spec.energy import EnergySettings, FitProgress

HELDOUT_PAIRS = 2048  # of which at most the loss is taken
SLICE_SAMPLES = {"cpu": 8192, "cuda": 131072}  # rewards that go through at a time; M does not show in the memory


@dataclass(frozen=True, eq=False)
class EnergyFit:
    """A trained network, with how it went.

    Attributes:
        network: of the best epoch.
        losses: mean training loss of each epoch. heldout_losses: after each; empty without held-out pairs.
        best_epoch: from 1 on.
        device: that it was trained on, cpu or cuda. num_threads: that torch computed with there. Others of either give
            other last bits.
    """

    network: EnergyNetwork
    moments: CorpusMoments
    settings: EnergySettings
    losses: tuple[float, ...]
    heldout_losses: tuple[float, ...]
    best_epoch: int
    device: str
    num_threads: int


def fit_energies(
    blocks: PairBlocks,
    *,
    settings: EnergySettings,
    device: Device = "auto",
    kept: bytes | None = None,
    keep: Callable[[bytes], None] = lambda state: None,
    on_epoch: Callable[[int, float, float | None], None] = lambda epoch, loss, heldout: None,
    on_progress: Callable[[FitProgress], None] = lambda progress: None,
) -> EnergyFit:
    """Train K energies, each on the pairs whose reward agrees with the label.

    Args:
        blocks: the corpus.
        settings: see `EnergySettings`.
        device: that the network is on while it is trained; the result is on the CPU.
        kept: what `keep` was last given in a fit of the same blocks and settings that did not end: it goes on from
            there. A damaged one is taken for none.
        keep: given the state of the fit after each epoch: weights, optimiser, random numbers.
        on_epoch: told of each epoch: its number from 1, its loss, and the held-out loss.
        on_progress: told how far the fit is, first where it begins or goes on; at least after each forward pass.

    Raises:
        DataError: there is nothing to learn from, or the loss is not finite.
    """
    place = find_device(device)
    moments = measure_corpus(blocks)
    heldout = _Heldout.take(blocks, moments, place)
    with _own_random_numbers(place, settings.seed):
        num_dims, num_energies = len(moments.embedding.mean_D), len(moments.reward.mean_D)
        network = EnergyNetwork(num_dims, num_energies=num_energies).to(place)
        optimizer = torch.optim.AdamW(
            network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        state = FitState(network, optimizer)
        if kept is not None:
            state.restore(kept)

        def tell(pairs: int) -> None:
            num_pairs = state.num_epochs * moments.num_used + pairs
            on_progress(FitProgress(num_pairs, settings.epochs * moments.num_used, state.num_epochs))

        tell(0)
        while state.num_epochs < settings.epochs and not state.num_epochs - state.best_epoch >= settings.patience:
            epoch = state.num_epochs + 1
            total, num_batches, num_pairs = 0.0, 0, 0
            network.train()
            for batch in epoch_batches(blocks, moments, settings, epoch=epoch):
                optimizer.zero_grad()
                loss = add_gradients(network, batch.to(place), settings, on_slice=partial(tell, num_pairs))
                optimizer.step()
                total, num_batches, num_pairs = total + loss, num_batches + 1, num_pairs + batch.num_pairs
                tell(num_pairs)
            mean_loss = total / max(num_batches, 1)
            _check_finite(mean_loss, "training", epoch)
            heldout_loss = None
            if heldout is not None:
                heldout_loss = heldout.loss(network, settings, on_slice=partial(tell, num_pairs))
                _check_finite(heldout_loss, "held-out", epoch)
            state.add_epoch(mean_loss, heldout_loss)
            keep(state.to_bytes())
            on_epoch(epoch, mean_loss, heldout_loss)
        tell(0)
    state.take_best()
    network.cpu().eval().requires_grad_(False)
    return EnergyFit(
        network,
        moments,
        settings,
        losses=tuple(state.losses),
        heldout_losses=tuple(state.heldout_losses),
        best_epoch=state.best_epoch,
        device=place.type,
        num_threads=torch.get_num_threads(),
    )


@contextlib.contextmanager
def _own_random_numbers(place: torch.device, seed: int) -> Iterator[None]:
    """Random numbers from the seed on, on the CPU and the device; the caller's go on behind the block."""
    with torch.random.fork_rng(devices=[place] if place.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def _check_finite(loss: float, kind: str, epoch: int) -> None:
    if not np.isfinite(loss):
        raise DataError(
            f"The {kind} loss is {loss} in epoch {epoch}: embeddings or rewards hold values that are not finite, or "
            "the learning rate is too high."
        )


def epoch_batches(
    blocks: PairBlocks, moments: CorpusMoments, settings: EnergySettings, *, epoch: int
) -> Iterator[ResponseBatch]:
    """The training pairs in the order of an epoch, from 1."""
    return shuffled_batches(blocks, moments, num_responses=settings.batch_responses, seed=(settings.seed, epoch))


def contrastive_loss(energy_BM: Tensor, log_noise_BM: Tensor, count_M: Tensor) -> Tensor:
    """-log softmax of f - log p_N at the positive, for each of B responses.

    Args:
        energy_BM: f, the positive's first.
        log_noise_BM: log p_N there, but for a constant.
        count_M: how many each of them stands for.
    """
    logit_BM = energy_BM - log_noise_BM + count_M.log()
    return logit_BM.logsumexp(dim=1) - logit_BM[:, 0]


def add_gradients(
    network: EnergyNetwork,
    batch: ResponseBatch,
    settings: EnergySettings,
    *,
    on_slice: Callable[[], None] = lambda: None,
) -> float:
    """Add the gradients of a batch's mean loss over its responses and energies; returns the loss.

    Args:
        on_slice: called after each forward pass, of which a batch may need many.
    """
    num_terms = max(int(batch.agrees_BK.sum()), 1)
    total = 0.0
    sampler = NoiseSampler(settings)
    for part in batch.split(max(1, SLICE_SAMPLES[batch.e_BD.device.type] // sampler.num_drawn)):
        part_BH = network.embed(part.e_BD)
        # Gradients of all energies meet here, so that only one energy's hidden states are held at a time.
        meeting_BH = part_BH.detach().requires_grad_(part_BH.requires_grad)
        for k, branch in enumerate(network.energies):
            row_B = part.agrees_BK[:, k].nonzero().squeeze(1)
            if len(row_B):
                loss = _summed_loss(branch, meeting_BH[row_B], part.r_BK[row_B, k], sampler) / num_terms
                if loss.requires_grad:
                    loss.backward()
                total += loss.item()
                on_slice()
        if meeting_BH.grad is not None:
            part_BH.backward(meeting_BH.grad)
    return total


def _summed_loss(branch: EnergyBranch, part_BH: Tensor, r_B: Tensor, sampler: NoiseSampler) -> Tensor:
    noise = sampler.draw(len(r_B), r_B.device)
    energy_BM = branch(part_BH, r_B.unsqueeze(1) + noise.noise_BM)
    loss_B = contrastive_loss(energy_BM, noise.log_density_BM, noise.count_M)
    mean_square_B = (noise.count_M * energy_BM**2).sum(dim=1) / (sampler.settings.num_negatives + 1)
    return (loss_B + sampler.settings.regularisation * mean_square_B).sum()


@dataclass(frozen=True, eq=False)
class _Heldout:
    """The first held-out pairs, kept in memory."""

    batch: ResponseBatch

    @classmethod
    def take(cls, blocks: PairBlocks, moments: CorpusMoments, place: torch.device) -> "_Heldout | None":
        parts: list[ResponseBatch] = []
        room = HELDOUT_PAIRS
        for number in range(blocks.num_blocks):
            block = blocks.read(number)
            kept_N = np.flatnonzero(block.heldout_N & block.agrees_NK.any(axis=1))[:room]
            if len(kept_N):
                parts.append(ResponseBatch.of(take_rows(block, kept_N), moments))
            room -= len(kept_N)
            if not room:
                break
        if not parts:
            return None
        whole = ResponseBatch(
            *(torch.cat([vars(part)[name] for part in parts]) for name in ("e_BD", "r_BK", "agrees_BK"))
        )
        return cls(whole.to(place))

    @torch.no_grad()
    def loss(self, network: EnergyNetwork, settings: EnergySettings, *, on_slice: Callable[[], None]) -> float:
        network.eval()
        with _own_random_numbers(self.batch.e_BD.device, settings.seed):
            return add_gradients(network, self.batch, settings, on_slice=on_slice)
