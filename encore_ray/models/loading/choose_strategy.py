"""The strategy by which a model's folder is scored: the fastest that is exact, or the one that is asked for."""

from encore_ray.errors import ConfigError
from encore_ray.models.families.loaders import load_model_config
from encore_ray.models.forward.strategy import strategy_of
from encore_ray.models.loading.fetch import fetch_members
from encore_ray.models.spec.forward import STRATEGIES, Strategy, StrategyChoice
from encore_ray.models.spec.source import ModelSource


def choose_strategies(
    source: ModelSource, *, forced: Strategy | None = None, max_length: int | None = None
) -> tuple[StrategyChoice, ...]:
    """For every member of a model, the fastest strategy that is exact for it; see `choose_strategy`.

    Raises:
        ConfigError: the forced strategy would change a member's scores.
    """
    members = [source.at(folder) for folder in fetch_members(source)]
    return tuple(choose_strategy(member, forced=forced, max_length=max_length) for member in members)


def choose_strategy(
    source: ModelSource, *, forced: Strategy | None = None, max_length: int | None = None
) -> StrategyChoice:
    """The fastest strategy that is exact for a model.

    Args:
        source: a folder on this machine, for its configuration; no weight is read.
        forced: use this one, if the model allows it at all.
        max_length: of conversations, in tokens; None: the model's own limit.

    Raises:
        ConfigError: the forced strategy would give other scores; says why.
    """
    choice = strategy_of(load_model_config(source), max_length, source.trust_remote_code)
    if forced is None:
        return choice
    if STRATEGIES.index(forced) < STRATEGIES.index(choice.strategy):
        raise ConfigError(
            f"Strategy {forced} would change the scores of {source.path}: {choice.reason}. Use {choice.strategy} or "
            "auto."
        )
    return StrategyChoice(forced, "as asked for")
