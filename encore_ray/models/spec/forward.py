"""How forward passes are run: pooling, strategy, and how many tokens one takes."""

from dataclasses import dataclass
from typing import Literal, get_args

Pooling = Literal["last", "mean", "cls", "unit_mean"]
POOLINGS: tuple[Pooling, ...] = get_args(Pooling)

Strategy = Literal["tree", "packed", "padded", "one_by_one"]  # the fastest first
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)

DEFAULT_BATCH_TOKENS = {"cpu": 2048, "cuda": 16384}  # token slots of a forward pass, padding counted


@dataclass(frozen=True)
class StrategyChoice:
    """A strategy for a model, and what in the model decided it."""

    strategy: Strategy
    reason: str


@dataclass(frozen=True)
class BudgetTrial:
    """One token budget tried: tokens a second, None where memory ran out."""

    batch_tokens: int
    tokens_per_s: float | None

    def __str__(self) -> str:
        rate = "out of memory" if self.tokens_per_s is None else f"{self.tokens_per_s:,.0f} tokens/s"
        return f"{self.batch_tokens}: {rate}"


@dataclass(frozen=True)
class BudgetSearch:
    """The token budget that a search found, and what it tried, in order."""

    batch_tokens: int
    trials: tuple[BudgetTrial, ...]
