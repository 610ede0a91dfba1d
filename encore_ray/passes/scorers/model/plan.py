"""The model or judge of a score pass, planned on the driver: found, identified, with its strategy and token budget."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from encore_ray.config import ScoreOptions
from encore_ray.engine.base import Engine
from encore_ray.engine.outcomes import Death
from encore_ray.engine.pools import FindResources, score_pool
from encore_ray.errors import ConfigError
from encore_ray.folder.pass_table import PassTable
from encore_ray.folder.reading.tables import TableUnit
from encore_ray.models.judge.questions import questions_digest
from encore_ray.models.spec.forward import DEFAULT_BATCH_TOKENS, StrategyChoice
from encore_ray.models.spec.source import ModelSource
from encore_ray.passes.scorers.model.forward import open_budget_search
from encore_ray.passes.scorers.model.place import local_model
from encore_ray.passes.scorers.model.planned import MODEL, SEARCH, JudgeModel, PlannedModel, ScoringModel
from encore_ray.passes.scorers.model.reading import reading_facts, reading_of, with_template
from encore_ray.rules import RuleSet
from encore_ray.schema import RULES_FILE
from encore_ray.storage import content_digest, fingerprint

if TYPE_CHECKING:
    from encore_ray.models.families.model_folder import Head
    from encore_ray.models.loading.reading import MemberReading

logger = logging.getLogger("encore_ray")

# Pairs that a search for the token budget may read: enough to fill the largest budget a few times.
SEARCH_PAIRS = 1024

Model = TypeVar("Model", bound=PlannedModel)


def plan_model(
    path: str, options: ScoreOptions, *, resources: FindResources, rules: RuleSet | None = None
) -> ScoringModel:
    """Find the model, its rules and its identity, without loading its weights.

    Args:
        path: folder, hub id, or URL of a folder on an object store.

    Raises:
        ModelError: it is not there, or its rules are not. ClusterError: its actors do not fit the cluster.
        ConfigError: the strategy asked for would change its scores.
    """
    from encore_ray.models.loading.checkpoint import open_members, rules_of
    from encore_ray.models.loading.reading import read_members

    options = with_template(options)
    place = local_model(model_source(path, options))
    members = open_members(place, reading_of(options))
    found = rules_of(place, members, rules=rules)
    strategies, facts = plan_body(path, place, options, resources=resources, outputs=found)
    planned = ScoringModel(path, options, strategies, facts, rules=found)
    return replace(planned, facts={**facts, **_reading_facts(read_members(members, planned.load_options))})


def model_heads(path: str, options: ScoreOptions) -> "tuple[RuleSet | None, list[Head]]":
    """The rules that come with a model, checked against its heads, or None; and its heads.

    Errors as of `plan_model`.
    """
    from encore_ray.models.loading.checkpoint import open_members, rules_of
    from encore_ray.models.loading.fetch import fetch_model

    options = with_template(options)
    place = local_model(model_source(path, options))
    members = open_members(place, reading_of(options))
    has_rules = (fetch_model(place) / RULES_FILE).exists()
    return rules_of(place, members) if has_rules else None, [head for _, opened in members for head in opened.heads]


def _reading_facts(readings: Sequence["MemberReading"]) -> dict[str, str]:
    """What of bos and ending decides a model's scores; where members differ, one after the other."""
    names = sorted({name for reading in readings for name in reading.facts})
    return {name: ", ".join(reading.facts.get(name, "-") for reading in readings) for name in names}


def plan_judge(path: str, options: ScoreOptions, *, resources: FindResources, rules: RuleSet) -> JudgeModel:
    """Find a judge and its identity, without loading its weights.

    Args:
        path: folder, hub id, or URL of a folder on an object store, with a causal language model.
        rules: what it rates by.

    Raises:
        ModelError: it is not there. ClusterError: its actors do not fit the cluster. ConfigError: the strategy asked
            for would change its ratings, or it shall lie on several GPUs or keep embeddings.
    """
    if (options.gpus_per_actor or 1) > 1:
        raise ConfigError(
            f"gpus_per_actor: a judge runs on one GPU, found {options.gpus_per_actor:g}. Serve a larger one behind an "
            "OpenAI-compatible API, and name its URL."
        )
    if options.keep_embeddings:
        raise ConfigError("keep_embeddings: a judge has no heads that an embedding could enter. Leave it out.")
    options = with_template(options)
    place = local_model(model_source(path, options))
    strategies, facts = plan_body(path, place, options, resources=resources, outputs=rules)
    return JudgeModel(path, options, strategies, {**facts, "questions": questions_digest(rules)}, rules=rules)


def model_source(path: str, options: ScoreOptions) -> ModelSource:
    """The model at a path, and what the options allow of it."""
    return ModelSource(path, options.revision, options.trust_remote_code, options.allow_pickle)


def model_digest(path: str, options: ScoreOptions) -> str:
    """What a model is, by its files and by the rules that come with it; ModelError where it is not there."""
    from encore_ray.models.loading.identity import identify_model

    identity = identify_model(local_model(model_source(path, options)))
    beside = [folder / RULES_FILE for folder in dict.fromkeys([identity.folder, *identity.members])]
    return fingerprint([identity.digest, *(content_digest(file.read_bytes()) for file in beside if file.is_file())])


def plan_body(
    path: str, place: ModelSource, options: ScoreOptions, *, resources: FindResources, outputs: RuleSet | None = None
) -> tuple[tuple[StrategyChoice, ...], dict[str, Any]]:
    """How a model is scored with, one strategy a member, and the facts that decide its scores.

    Args:
        path: as the user names it.
        place: on this machine, see `local_model`.
        resources: asked once all is known that needs no cluster.
        outputs: the rules that it scores by, where these are what it is compared by.
    """
    from encore_ray.models.loading.choose_strategy import choose_strategies
    from encore_ray.models.loading.identity import identify_model

    identity = identify_model(place)
    strategies = choose_strategies(
        place,
        forced=None if options.strategy == "auto" else options.strategy,
        max_length=options.max_tokens,
    )
    decisive = {
        MODEL: identity.digest,
        "max_tokens": options.max_tokens,
        "strategy": ", ".join(choice.strategy for choice in strategies),
        "compile": options.compile,
        **reading_facts(options),
    }
    by_rules = {} if outputs is None else {"rules": outputs.scoring_fingerprint}
    device = "cuda" if score_pool(options, resources({**decisive, **by_rules}), num_units=1).gpus else "cpu"
    dtype = options.dtype if options.dtype != "auto" else {"cuda": "bfloat16", "cpu": "float32"}[device]
    facts = {
        MODEL: identity.digest,
        "model_source": path,
        "revision": identity.revision,
        "device": device,
        "dtype": dtype,
        "batch_tokens": options.batch_tokens or DEFAULT_BATCH_TOKENS[device],
        **decisive,
    }
    return strategies, facts


def with_standing_budget(model: Model, standing: Mapping[str, Any]) -> Model:
    """The model with the budget of results that stand, where one would have to be searched for."""
    found = standing.get("batch_tokens")
    if model.facts["batch_tokens"] != SEARCH or not isinstance(found, int):
        return model
    return replace(model, facts={**model.facts, "batch_tokens": found})


def settle_budget(
    model: Model, units: Sequence[TableUnit], output: PassTable, *, engine: Engine, overwrite: bool = False
) -> Model:
    """The model with its token budget as a number: as configured, as of scores that stand, or searched for now.

    The search loads the model once more, on an actor like those of the pass, and scores the first pairs. Scores that
    were begun with a budget go on with it. Where a pair ends the search's worker, the usual budget is taken: the pass
    finds that pair, and leaves it out.

    Raises:
        ModelError: no budget fits into memory.
    """
    if model.facts["batch_tokens"] != SEARCH:
        return model
    standing = output.standing_facts() or {}
    resumed = with_standing_budget(model, standing)
    if resumed is not model and (standing == resumed.decisive_facts or not overwrite):
        return resumed
    first: list[TableUnit] = []
    for unit in units:
        if sum(before.rows for before in first) < SEARCH_PAIRS:
            first.append(unit)
    pool = score_pool(model.options, engine.resources, num_units=1)
    with engine.single_worker(partial(open_budget_search, model), pool=pool, timeout_s=engine.unit_timeout_s) as worker:
        search = worker.attempt(first)
    if isinstance(search, Death):
        usual = DEFAULT_BATCH_TOKENS[model.facts["device"]]
        logger.warning("The search for a token budget came to no end: %s. The usual %d are used.", search.detail, usual)
        return replace(model, facts={**model.facts, "batch_tokens": usual})
    return replace(model, facts={**model.facts, "batch_tokens": search.batch_tokens}, search=search)
