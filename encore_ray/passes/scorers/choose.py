"""Who scores a job's pairs, decided once: a judge behind an API, a judge here, a model, or ratings in the data."""

from typing import Any

from encore_ray.config import JobConfig
from encore_ray.config.sources import read_rules
from encore_ray.engine.pools import FindResources
from encore_ray.folder.spec import SCORE
from encore_ray.passes.scorers.api.connection import is_api
from encore_ray.passes.scorers.by_ratings import RatingsScorer
from encore_ray.passes.scorers.model.reading import with_template
from encore_ray.passes.scorers.scorer import Scorer
from encore_ray.rule_pools import rule_pool
from encore_ray.run import Run
from encore_ray.storage import fingerprint, require_paths


def require_named_files(config: JobConfig) -> None:
    """Refuse before anything starts what a job names beside its inputs, and cannot be read.

    Raises:
        ConfigError: a model, rules, a template or ratings are not there. DataError: the rules are wrong.
    """
    if config.rules:
        read_rules(config.rules)
    judge = None if config.judge and is_api(config.judge) else config.judge
    require_paths([config.model, judge, config.weigh.ratings])
    if config.model or judge:
        with_template(config.score)


def scorer_facts(config: JobConfig) -> dict[str, Any]:
    """What decides a job's scores, beside its pairs, as far as its configuration tells: known without a cluster.

    Raises:
        ConfigError, ModelError: the model is not there.
    """
    rules = read_rules(config.rules).fingerprint if config.rules else None
    facts: dict[str, Any] = {"rules": rules, "judge": config.judge is not None}
    if config.judge is not None and is_api(config.judge):
        return facts | {"url": config.judge, "rate": config.rate.model_dump(mode="json")}
    path = config.model or config.judge
    if path is None:
        return facts
    from encore_ray.passes.scorers.model.plan import model_digest

    options = config.score
    return facts | {
        "model": model_digest(path, options),
        "score": fingerprint(with_template(options).model_dump(mode="json")),
        "keep_embeddings": options.keep_embeddings,
    }


def choose_scorer(config: JobConfig, run: Run, *, resources: FindResources | None = None) -> Scorer:
    """The scorer that a job's configuration names.

    Args:
        resources: what its workers may have; None for what the run has, which refuses scores of another one.

    Raises:
        ConfigError, ModelError: it is not there, or its options do not suit it. ClusterError: it does not fit.
    """
    rules = read_rules(config.rules) if config.rules else None
    if config.judge is None and config.model is None:
        return RatingsScorer(rules)
    from encore_ray.passes.scorers.api.judge import plan_api_judge
    from encore_ray.passes.scorers.by_api import rate_by_api

    if config.judge is not None and is_api(config.judge):
        return rate_by_api(plan_api_judge(config.judge, config.rate, rules=rules or rule_pool(), run=run.folder))
    from encore_ray.passes.scorers.by_model import score_by_model
    from encore_ray.passes.scorers.model.plan import plan_judge, plan_model

    resources = resources or run.resources_for(SCORE)
    if config.judge is not None:
        return score_by_model(plan_judge(config.judge, config.score, resources=resources, rules=rules or rule_pool()))
    assert config.model is not None
    return score_by_model(plan_model(config.model, config.score, resources=resources, rules=rules))
