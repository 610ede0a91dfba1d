"""Inference with trained energies (EBRM): safetensors and JSON in, refined rewards out."""

import json
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load, save

from encore_ray.errors import ModelError
from encore_ray.models.energy.maximum import Maximiser
from encore_ray.models.energy.network import EnergyNetwork
from encore_ray.models.energy.standard_scaler import StandardScaler
from encore_ray.models.energy.training import EnergyFit
from encore_ray.models.spec.energy import NUM_GRID

SCHEMA_VERSION = 1
BATCH_RESPONSES = 1024  # that are standardised at a time
_MEAN, _DEVIATION, _NETWORK = "embedding.mean", "embedding.deviation", "network."


@dataclass(frozen=True, eq=False)
class Refined:
    """Refined rewards of N responses under K heads.

    Attributes:
        reward_NK: float64, in the units of the base reward; the base reward itself where the head's energy had
            nothing to learn from.
        boundary_NK: bool, the energy is highest at an end of its domain.
        outside_NK: bool, the base reward lies outside of the domain.
        energy_KNG: float32, energies on each head's grid; NaN for a head without one.
        grid_KG: float64, rewards of the grid, in the units of the base reward.
    """

    reward_NK: NDArray[np.float64]
    boundary_NK: NDArray[np.bool_]
    outside_NK: NDArray[np.bool_]
    energy_KNG: NDArray[np.float32]
    grid_KG: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Refiner:
    """K trained energies over one embedding.

    Attributes:
        network: in evaluation mode.
        embedding, reward: how inputs are standardised.
        low_K, high_K: domain of each standardised reward.
        trained_K: bool, which energies had pairs to learn from.
        facts: how it was trained, as JSON values.
    """

    network: EnergyNetwork
    embedding: StandardScaler
    reward: StandardScaler
    low_K: NDArray[np.float64]
    high_K: NDArray[np.float64]
    trained_K: NDArray[np.bool_]
    facts: dict[str, Any]

    @classmethod
    def of(cls, fit: EnergyFit) -> "Refiner":
        moments = fit.moments
        facts = {
            "settings": asdict(fit.settings),
            "num_pairs": moments.num_pairs,
            "num_agreeing": moments.num_agreeing_K.tolist(),
            "losses": list(fit.losses),
            "heldout_losses": list(fit.heldout_losses),
            "best_epoch": fit.best_epoch,
            "device": fit.device,
            "num_threads": fit.num_threads,
            "torch": torch.__version__,
        }
        trained_K = moments.num_agreeing_K > 0
        return cls(fit.network, moments.embedding, moments.reward, moments.low_K, moments.high_K, trained_K, facts)

    def with_facts(self, facts: dict[str, Any]) -> "Refiner":
        """The same with further facts to keep."""
        return replace(self, facts={**self.facts, **facts})

    @property
    def num_dims(self) -> int:
        return len(self.embedding.mean_D)

    @cached_property
    def _maximisers(self) -> dict[int, Maximiser]:
        """Of the energies that are trained, by head."""
        return {
            k: Maximiser(self.network.energies[k], low=float(self.low_K[k]), high=float(self.high_K[k]))
            for k in np.flatnonzero(self.trained_K).tolist()
        }

    def refine(self, e_ND: NDArray[np.floating], r_NK: NDArray[np.float64]) -> Refined:
        """Refined rewards of N responses; what else is in the call moves them by no more than rounding.

        Args:
            e_ND: embeddings, any float type.
            r_NK: base rewards, finite.

        Raises:
            ModelError: embeddings of another width than it was trained on.
        """
        num_rows, num_heads = r_NK.shape
        if e_ND.shape != (num_rows, self.num_dims):
            raise ModelError(
                f"The energies were trained on embeddings of width {self.num_dims}; found {e_ND.shape[1]}. Fit them "
                "on the embeddings of this model: `encore-ray refine fit --overwrite`."
            )
        standard_NK = self.reward.apply(r_NK)
        found = Refined(
            reward_NK=r_NK.copy(),
            boundary_NK=np.zeros((num_rows, num_heads), dtype=bool),
            outside_NK=(standard_NK < self.low_K) | (standard_NK > self.high_K),
            energy_KNG=np.full((num_heads, num_rows, NUM_GRID), np.nan, dtype=np.float32),
            grid_KG=self.reward.undo(np.linspace(self.low_K, self.high_K, NUM_GRID)).T,
        )
        for start in range(0, num_rows, BATCH_RESPONSES):
            rows = slice(start, start + BATCH_RESPONSES)
            with torch.inference_mode():
                part_BH = self.network.embed(torch.from_numpy(self.embedding.apply(e_ND[rows])))
            for k, maximiser in self._maximisers.items():
                maxima = maximiser.find(part_BH, torch.from_numpy(standard_NK[rows, k]))
                found.reward_NK[rows, k] = maxima.reward_B.numpy()
                found.boundary_NK[rows, k] = maxima.boundary_B.numpy()
                found.energy_KNG[k, rows] = maxima.energy_BG.numpy()
        trained = list(self._maximisers)
        found.reward_NK[:, trained] = self.reward.undo(np.where(self.trained_K, found.reward_NK, 0.0))[:, trained]
        return found

    def to_files(self) -> tuple[bytes, bytes]:
        """The tensors as safetensors, and all else as JSON."""
        tensors = {_NETWORK + name: tensor.contiguous() for name, tensor in self.network.state_dict().items()}
        tensors[_MEAN] = torch.from_numpy(self.embedding.mean_D)
        tensors[_DEVIATION] = torch.from_numpy(self.embedding.deviation_D)
        description = {
            "schema_version": SCHEMA_VERSION,
            "num_dims": self.num_dims,
            "reward": {"mean": self.reward.mean_D.tolist(), "deviation": self.reward.deviation_D.tolist()},
            "domain": {"low": self.low_K.tolist(), "high": self.high_K.tolist()},
            "trained": self.trained_K.tolist(),
            **self.facts,
        }
        return save(tensors), (json.dumps(description, indent=2, allow_nan=False) + "\n").encode()

    @classmethod
    def from_files(cls, tensors: bytes, description: bytes, *, where: str) -> "Refiner":
        """What `to_files` made; ModelError where it is not that."""
        try:
            stored, found = load(tensors), json.loads(description)
            if found.pop("schema_version") != SCHEMA_VERSION:
                raise ModelError(f"{where} was written by another version of encore-ray: fit the energies again.")
            reward, domain, trained = found.pop("reward"), found.pop("domain"), found.pop("trained")
            network = EnergyNetwork(found.pop("num_dims"), num_energies=len(trained))
            embedding = StandardScaler(stored.pop(_MEAN).numpy(), stored.pop(_DEVIATION).numpy())
            network.load_state_dict({name.removeprefix(_NETWORK): tensor for name, tensor in stored.items()})
            mean_K, deviation_K, low_K, high_K = (
                np.array(values, dtype=np.float64)
                for values in (reward["mean"], reward["deviation"], domain["low"], domain["high"])
            )
            if not mean_K.shape == deviation_K.shape == low_K.shape == high_K.shape == (len(trained),):
                raise ValueError("its means, deviations, domains and energies are not as many")
            trained_K = np.array(trained, dtype=bool)
        except (SafetensorError, AttributeError, ValueError, KeyError, TypeError, RuntimeError) as error:
            raise ModelError(f"{where} is damaged ({error}): fit the energies again with --overwrite.") from error
        reward = StandardScaler(mean_K, deviation_K)
        return cls(network.eval().requires_grad_(False), embedding, reward, low_K, high_K, trained_K, found)
