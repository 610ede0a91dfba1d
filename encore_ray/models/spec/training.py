"""What a model is trained to do, how, and on which rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from encore_ray.models.spec.conversation import Message
from encore_ray.rules import RuleSet

Objective = Literal["regression", "bradley-terry", "multihead-bradley-terry", "multilabel"]
OBJECTIVES: tuple[Objective, ...] = get_args(Objective)


def merit_name(objective: Objective) -> str:
    """Key of the figure of merit in `EvaluationSums.figures`."""
    if is_pairwise(objective):
        return "accuracy"
    return "f1" if objective == "multilabel" else "r2"


def is_pairwise(objective: Objective) -> bool:
    """Whether its loss is about the difference of two responses."""
    return objective in ("bradley-terry", "multihead-bradley-terry")


def to_unit(ratings_NK: NDArray[np.floating], rules: RuleSet) -> NDArray[np.float32]:
    """Ratings mapped to [0, 1] on each rule's range; NaN stays."""
    lo_K, hi_K = (np.array([getattr(rule.scale, end) for rule in rules]) for end in ("lo", "hi"))
    return ((ratings_NK - lo_K) / (hi_K - lo_K)).astype(np.float32)


@dataclass(frozen=True)
class LoopSettings:
    """How the weights are fitted.

    Attributes:
        objective: see `objectives`.
        learning_rate: the highest, after the warm-up.
        warmup_steps: over which it rises.
        weight_decay: of matrices; biases and norms have none.
        max_grad_norm: longer gradients are shortened to it.
        num_steps: in all.
        evaluate_every: steps between evaluations; there is one more after the last step.
        patience: evaluations in a row that are no better than the best before the training ends.
    """

    objective: Objective
    learning_rate: float
    warmup_steps: int
    weight_decay: float
    max_grad_norm: float
    num_steps: int
    evaluate_every: int
    patience: int


@dataclass(frozen=True, eq=False)
class RowBatch:
    """One worker's rows of a step or of an evaluation.

    Attributes:
        prompts, chosen, rejected, pair_ids: of N rows, see ConversationTokenizer.tokenize_pairs.
        target_N2K: float32, see `objectives`.
        num_targets: of the whole step, over all workers.
        num_rows: the same.
    """

    prompts: Sequence[Sequence[Message]]
    chosen: Sequence[Sequence[Message]]
    rejected: Sequence[Sequence[Message] | None]
    pair_ids: Sequence[str]
    target_N2K: np.ndarray
    num_targets: int
    num_rows: int
