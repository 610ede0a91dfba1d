"""encore-ray: score preference pairs under many safety rules on Ray, compose rewards by rating entropy (ENCORE).

    from encore_ray import load_config, run_job
    result = run_job(load_config("job.yaml"))

Names load on first use, so that importing the package costs nothing and a part of it (`encore_ray.models`,
`encore_ray.composition`) works where the libraries of the others are not installed.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from encore_ray.api import RunFolder, Weights, compare, compose, open_run, weigh
    from encore_ray.config import JobConfig, WeighOptions
    from encore_ray.config.sources import load_config, make_config
    from encore_ray.errors import (
        AssumedWarning,
        ClusterError,
        ConfigError,
        DataError,
        EncoreError,
        ModelError,
        ResumeRefused,
    )
    from encore_ray.job import JobResult, run_job
    from encore_ray.models.forward.heads import LinearHeads
    from encore_ray.models.forward.scorer import PairScorer
    from encore_ray.models.loading.checkpoint import load_members, load_model
    from encore_ray.models.loading.saving import save_ensemble, save_multihead
    from encore_ray.rules import Rule, RuleSet, Scale

    __version__: str

_HOMES = {
    "api": ("RunFolder", "Weights", "compare", "compose", "open_run", "weigh"),
    "config": ("JobConfig", "WeighOptions"),
    "config.sources": ("load_config", "make_config"),
    "errors": (
        "AssumedWarning",
        "ClusterError",
        "ConfigError",
        "DataError",
        "EncoreError",
        "ModelError",
        "ResumeRefused",
    ),
    "job": ("JobResult", "run_job"),
    "models.loading.checkpoint": ("load_members", "load_model"),
    "models.loading.saving": ("save_ensemble", "save_multihead"),
    "models.forward.heads": ("LinearHeads",),
    "models.forward.scorer": ("PairScorer",),
    "rules": ("Rule", "RuleSet", "Scale"),
}
_HOME_OF = {name: f"encore_ray.{module}" for module, names in _HOMES.items() for name in names}

__all__ = [
    "AssumedWarning",
    "ClusterError",
    "ConfigError",
    "DataError",
    "EncoreError",
    "JobConfig",
    "JobResult",
    "LinearHeads",
    "ModelError",
    "PairScorer",
    "ResumeRefused",
    "Rule",
    "RuleSet",
    "RunFolder",
    "Scale",
    "WeighOptions",
    "Weights",
    "__version__",
    "compare",
    "compose",
    "load_config",
    "load_members",
    "load_model",
    "make_config",
    "open_run",
    "run_job",
    "save_ensemble",
    "save_multihead",
    "weigh",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version("encore-ray")
    if name not in _HOME_OF:
        raise AttributeError(f"module 'encore_ray' has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
