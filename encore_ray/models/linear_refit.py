"""A plain refit of a linear head: what a refined reward has to beat to be worth its network.

    minimise  sum over pairs of log(1 + exp(-w.(e_chosen - e_rejected)))

on the same filtered pairs, in the same order, as the first energy is trained on.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from encore_ray.models.energy_training import EnergySettings, PairBlocks, Standards, shuffled_batches

LEARNING_RATE = 1e-3


def refit_linear(blocks: PairBlocks, *, standards: Standards, settings: EnergySettings) -> NDArray[np.float64]:
    """Weights [D] on standardised embeddings, by AdamW over as many epochs as the settings have; the first reward's."""
    with torch.random.fork_rng(devices=[]):
        head = nn.Linear(len(standards.embedding.mean_D), 1, bias=False)
        nn.init.zeros_(head.weight)
        optimizer = torch.optim.AdamW(head.parameters(), lr=LEARNING_RATE, weight_decay=settings.weight_decay)
        for epoch in range(1, settings.epochs + 1):
            for batch in shuffled_batches(blocks, standards, settings, epoch=epoch):
                kept_P = batch.agrees_BK[::2, 0]
                if not kept_P.any():
                    continue
                optimizer.zero_grad()
                margin_P = head(batch.e_BD[::2][kept_P] - batch.e_BD[1::2][kept_P]).squeeze(1)
                nn.functional.softplus(-margin_P).mean().backward()
                optimizer.step()
    return head.weight.detach()[0].double().numpy()
