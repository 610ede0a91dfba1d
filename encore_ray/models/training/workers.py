"""Collectives of data-parallel workers: the few things that processes that train one model tell each other.

A process by itself is the only worker, and talks to nobody.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
import torch.distributed as dist

from encore_ray.models.training.objectives import EvaluationSums


@dataclass(frozen=True)
class Workers:
    """All workers of a training, as one of them sees it.

    Attributes:
        rank: of this one, from 0.
        num: of all.
        device: where its part of the model lies.
    """

    rank: int = 0
    num: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @classmethod
    def joined(cls, device: str) -> "Workers":
        """Those of this process's group, if it has one."""
        if not dist.is_initialized():
            return cls(device=torch.device(device))
        return cls(dist.get_rank(), dist.get_world_size(), torch.device(device))

    def share(self, num_rows: int) -> range:
        """Which of the rows of a step are this worker's."""
        return range(self.rank, num_rows, self.num)

    def most(self, count: int) -> int:
        """The largest of the counts of all workers."""
        return int(self._reduced(np.array([count], dtype=np.float64), dist.ReduceOp.MAX)[0])

    def total(self, value: float) -> float:
        """The sum of the values of all workers."""
        return float(self._reduced(np.array([value], dtype=np.float64), dist.ReduceOp.SUM)[0])

    def add_up(self, part: EvaluationSums) -> EvaluationSums:
        """The sums of all workers, each of which has a part."""
        rows = part.to_array()
        sums = self._reduced(rows[:-2], dist.ReduceOp.SUM)
        low, high = self._reduced(rows[-2:-1], dist.ReduceOp.MIN), self._reduced(rows[-1:], dist.ReduceOp.MAX)
        return EvaluationSums.from_array(np.concatenate([sums, low, high]))

    def wait(self) -> None:
        """Until all workers are here."""
        self.most(0)

    def _reduced(self, values: np.ndarray, how: dist.ReduceOp.RedOpType) -> np.ndarray:
        if self.num == 1:
            return values
        tensor = torch.from_numpy(values.copy()).to(self.device)
        dist.all_reduce(tensor, op=how)
        return tensor.cpu().numpy()
