"""The rewards that stand against each other in the contrastive loss: one positive and M negatives for each response.

Up to 64 negatives are drawn one by one. More are drawn as 64 strata, each of which stands for its share of the M: what
a stratum adds to the sum over negatives has the same expectation, at less than a tenth of the network's work where M is
768. The strata are equally wide along the noise, not equally likely, since each negative counts for exp(f) over its
density: drawn by likelihood, a few far out would decide the sum.

Source: stratified sampling, Cochran, Sampling Techniques, 1977, chapter 5.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from encore_ray.models.spec.energy import EnergySettings


@dataclass(frozen=True, eq=False)
class Noise:
    """Noise of the rewards of B responses, the positive's first.

    Attributes:
        noise_BM: in standard deviations of the reward.
        log_density_BM: of the negatives' noise there, but for a constant.
        count_M: how many each stands for: 1 for the positive, all together M + 1.
    """

    noise_BM: Tensor
    log_density_BM: Tensor
    count_M: Tensor


@dataclass(frozen=True)
class NoiseSampler:
    """Draws noise from torch's random numbers of the CPU, whatever device it is for.

    Args:
        settings: of the training.
    """

    settings: EnergySettings

    @property
    def num_drawn(self) -> int:
        """Rewards that go through the network for each response and energy."""
        return 1 + min(self.settings.num_negatives, self.settings.num_strata)

    def draw(self, num_responses: int, device: torch.device) -> Noise:
        """Noise for some responses, on the device."""
        settings = self.settings
        if settings.num_negatives <= settings.num_strata:
            noise_BM = settings.sigma * torch.randn(num_responses, settings.num_negatives + 1)
            noise_BM[:, 0] *= settings.beta
            count_M = torch.ones(settings.num_negatives + 1)
        else:
            positive_B1 = settings.sigma * settings.beta * torch.randn(num_responses, 1)
            strata = self._strata
            noise_BM = torch.cat([positive_B1, settings.sigma * strata.draw(num_responses)], dim=1)
            count_M = torch.cat([torch.ones(1), strata.count_S])
        noise_BM = noise_BM.to(device)
        return Noise(noise_BM, -0.5 * (noise_BM / settings.sigma) ** 2, count_M.to(device))

    @cached_property
    def _strata(self) -> "NormalStrata":
        return NormalStrata.of(self.settings.num_negatives, num_strata=self.settings.num_strata)


@dataclass(frozen=True, eq=False)
class NormalStrata:
    """Strata of M standard normal numbers: equally wide, but for the two tails that hold half of one each.

    Attributes:
        low_H, high_H: probabilities below the ends of those under 0; the other half is their mirror image.
        count_S: how many of the M each stands for, S = 2 H.
    """

    low_H: Tensor
    high_H: Tensor
    count_S: Tensor

    @classmethod
    def of(cls, num_negatives: int, *, num_strata: int) -> "NormalStrata":
        """Of M numbers; `num_strata` is even, and at least 4."""
        tail = torch.special.ndtri(torch.tensor(0.5 / num_negatives, dtype=torch.float64))
        inner_H = torch.special.ndtr(torch.linspace(float(tail), 0.0, num_strata // 2, dtype=torch.float64))
        low_H, high_H = torch.cat([torch.zeros(1, dtype=torch.float64), inner_H[:-1]]), inner_H
        count_H = num_negatives * (high_H - low_H)
        return cls(low_H, high_H, torch.cat([count_H, count_H]).float())

    def draw(self, num_rows: int) -> Tensor:
        """A number from each stratum, independently: [num_rows, S]."""
        share_BS = torch.rand(num_rows, 2 * len(self.low_H), dtype=torch.float64).clamp(min=2.0**-53)
        below_BH, above_BH = (
            torch.special.ndtri(self.low_H + (self.high_H - self.low_H) * share_BH)
            for share_BH in share_BS.chunk(2, dim=1)
        )
        return torch.cat([below_BH, -above_BH], dim=1).float()
