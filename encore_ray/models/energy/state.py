"""Checkpoint of a fit of energies after an epoch: what goes on from there ends with the same bits."""

import copy
import hashlib
import io
from typing import Any

import torch
from torch import Tensor

from encore_ray.models.energy.network import EnergyNetwork

_DIGEST_BYTES = hashlib.sha256().digest_size


class FitState:
    """A network in training, with the best it has been.

    Args:
        network: on its device.
        optimizer: of its weights.

    Attributes:
        losses: mean training loss of each epoch. heldout_losses: after each; empty without held-out pairs.
        best_epoch: from 1 on; 0 before the first.
    """

    def __init__(self, network: EnergyNetwork, optimizer: torch.optim.Optimizer):
        self._network, self._optimizer = network, optimizer
        self._best = _copied(network)
        self.losses: list[float] = []
        self.heldout_losses: list[float] = []
        self.best_epoch = 0

    @property
    def num_epochs(self) -> int:
        return len(self.losses)

    def add_epoch(self, loss: float, heldout_loss: float | None) -> None:
        """Take note of an epoch that is over."""
        self.losses.append(loss)
        if heldout_loss is not None:
            self.heldout_losses.append(heldout_loss)
        if heldout_loss is None or heldout_loss == min(self.heldout_losses):
            self.best_epoch, self._best = self.num_epochs, _copied(self._network)

    def take_best(self) -> None:
        """Put the weights of the best epoch into the network."""
        self._network.load_state_dict(self._best)

    def to_bytes(self) -> bytes:
        """All that the next epoch depends on, the random numbers to come included."""
        kept = {
            "network": self._network.state_dict(),
            "best": self._best,
            "optimizer": self._optimizer.state_dict(),
            "random": _random_states(),
            "losses": self.losses,
            "heldout_losses": self.heldout_losses,
            "best_epoch": self.best_epoch,
        }
        content = io.BytesIO()
        torch.save(kept, content)
        return hashlib.sha256(content.getbuffer()).digest() + content.getvalue()

    def restore(self, kept: bytes) -> None:
        """Go back to what `to_bytes` made of a fit of the same network; damaged bytes change nothing."""
        digest, content = kept[:_DIGEST_BYTES], kept[_DIGEST_BYTES:]
        if hashlib.sha256(content).digest() != digest:
            return
        found: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        self._network.load_state_dict(found["network"])
        self._optimizer.load_state_dict(found["optimizer"])
        self._best = found["best"]
        self.losses, self.heldout_losses = found["losses"], found["heldout_losses"]
        self.best_epoch = found["best_epoch"]
        _set_random_states(found["random"])


def _copied(network: EnergyNetwork) -> dict[str, Tensor]:
    return {name: copy.deepcopy(tensor.cpu()) for name, tensor in network.state_dict().items()}


def _random_states() -> dict[str, Tensor]:
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def _set_random_states(states: dict[str, Tensor]) -> None:
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])
