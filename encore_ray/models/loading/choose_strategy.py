"""The strategy by which a model's folder is scored: the fastest that is exact, or the one that is asked for."""

from pathlib import Path

from encore_ray.errors import ConfigError
from encore_ray.models.families.loaders import load_config
from encore_ray.models.forward.strategy import STRATEGIES, Strategy, StrategyChoice, strategy_of


def choose_strategy(
    folder: Path, *, forced: Strategy | None = None, max_length: int | None = None, trust_remote_code: bool = False
) -> StrategyChoice:
    """The fastest strategy that is exact for a model.

    Args:
        folder: the model's, for its configuration; no weight is read.
        forced: use this one, if the model allows it at all.
        max_length: of conversations, in tokens; None: the model's own limit.
        trust_remote_code: run Python code that comes with the model.

    Raises:
        ConfigError: the forced strategy would give other scores; says why.
    """
    choice = strategy_of(load_config(folder, trust_remote_code=trust_remote_code), max_length, trust_remote_code)
    if forced is None:
        return choice
    if STRATEGIES.index(forced) < STRATEGIES.index(choice.strategy):
        raise ConfigError(
            f"Strategy {forced} would change the scores of {folder}: {choice.reason}. Use {choice.strategy} or auto."
        )
    return StrategyChoice(forced, "as asked for")
