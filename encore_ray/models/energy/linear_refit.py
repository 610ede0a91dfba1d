"""Bradley-Terry logistic regression of linear heads: what a refined reward has to beat to be worth its network.

    minimise  sum over pairs of log(1 + exp(-w_k.(e_chosen - e_rejected)))

for each head k, on the same filtered pairs, in the same order, as its energy is trained on.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from encore_ray.models.energy.data import CorpusMoments
from encore_ray.models.energy.pair_blocks import PairBlocks
from encore_ray.models.energy.training import epoch_batches
from encore_ray.models.spec.energy import EnergySettings

LEARNING_RATE = 1e-3


def refit_linear(blocks: PairBlocks, *, moments: CorpusMoments, settings: EnergySettings) -> NDArray[np.float64]:
    """Weights [K, D] on standardised embeddings, by AdamW over as many epochs as the settings have."""
    with torch.random.fork_rng(devices=[]):
        num_dims, num_heads = len(moments.embedding.mean_D), len(moments.reward.mean_D)
        heads = nn.Linear(num_dims, num_heads, bias=False)
        nn.init.zeros_(heads.weight)
        optimizer = torch.optim.AdamW(heads.parameters(), lr=LEARNING_RATE, weight_decay=settings.weight_decay)
        for epoch in range(1, settings.epochs + 1):
            for batch in epoch_batches(blocks, moments, settings, epoch=epoch):
                agrees_PK = batch.agrees_BK[::2]
                optimizer.zero_grad()
                margin_PK = heads(batch.e_BD[::2] - batch.e_BD[1::2])
                loss_PK = nn.functional.softplus(-margin_PK) * agrees_PK
                (loss_PK.sum(dim=0) / agrees_PK.sum(dim=0).clamp(min=1)).sum().backward()
                optimizer.step()
    return heads.weight.detach().double().numpy()
