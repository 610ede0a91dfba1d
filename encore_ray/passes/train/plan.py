"""A training, planned on the driver: base model, rows, order, workers, and the facts that decide its result."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from encore_ray.config import TrainOptions
from encore_ray.engine.pools import Crew, find_crew
from encore_ray.engine.work.reduce import Reducer
from encore_ray.errors import ConfigError
from encore_ray.folder.reading.table_rules import stored_rules
from encore_ray.models.spec.files import TRAIN_FILE
from encore_ray.models.spec.forward import DEFAULT_BATCH_TOKENS, Strategy
from encore_ray.models.spec.source import ModelSource
from encore_ray.models.spec.training import LoopSettings
from encore_ray.models.text.pair_prompt import pair_prompt_digest
from encore_ray.passes.heads.labels import LabelledUnit, find_labels, labelled_units
from encore_ray.passes.scorers.model.place import local_model, require_output
from encore_ray.passes.selection.selected import check_unchanged_rules
from encore_ray.passes.train.counts import CountRows, RowCounts
from encore_ray.passes.train.files import TRAINING_DIR
from encore_ray.passes.train.rows import RowReader, TrainOrder
from encore_ray.rules import Rule, RuleSet, Scale
from encore_ray.storage import fingerprint

if TYPE_CHECKING:
    from encore_ray.models.training.recipe import TrainRecipe

REWARD = RuleSet([Rule("reward", "Which response people prefer.", "better", Scale(-1.0, 1.0))])

# Options that decide who computes, not what.
_WITHOUT_EFFECT = {"cpus_per_worker", "retries", "trust_remote_code", "allow_pickle", "revision"}


@dataclass(frozen=True)
class TrainPlan:
    """All that a worker needs to know, and the driver.

    Attributes:
        recipe: of the model; its base is where the user said.
        reader, units, order: the rows.
        settings: of the loop.
        strategy, batch_tokens: of the forward passes.
        crew: who trains.
        facts: what decides the trained weights, as JSON values.
        counts: rows by what became of them.
        first_heads: where the heads begin, in words.
    """

    recipe: "TrainRecipe"
    reader: RowReader
    units: tuple[LabelledUnit, ...]
    order: TrainOrder
    settings: LoopSettings
    strategy: Strategy
    batch_tokens: int
    crew: Crew
    facts: Mapping[str, Any]
    counts: Mapping[str, Any]
    first_heads: str


def require_place(output: str, *, base: str) -> None:
    """Make sure that the model can be saved there, see `require_output`."""
    require_output(output, source=base, ours=(TRAIN_FILE, TRAINING_DIR))


def check_rules(options: TrainOptions, rules: RuleSet | None) -> None:
    """Raise ConfigError where an objective needs rules, or has its own."""
    needs = options.objective in ("regression", "multihead-bradley-terry")
    if needs and rules is None:
        raise ConfigError(f"train: objective {options.objective} reads ratings: name their rules.yaml with --rules.")
    if not needs and rules is not None:
        raise ConfigError(
            f"train: objective {options.objective} takes no --rules: "
            + ("its rules are those of the selection." if options.objective == "multilabel" else "it has one head.")
        )


def plan_training(
    base: str,
    options: TrainOptions,
    *,
    rules: RuleSet | None,
    pairs: str,
    labels: str | None,
    reducer: Reducer,
) -> TrainPlan:
    """Find the base model and the rows, without loading weights or reading a text twice.

    Args:
        base: folder, hub id, or URL of a folder on an object store.
        options: how to train.
        rules: of the ratings, see `check_rules`.
        pairs: table of the texts.
        labels: table of the same pairs with ratings or a selection; None: the pairs themselves.
        reducer: on the cluster that trains; told of the progress of counting in rows.

    Raises:
        DataError: there are no labels, they leave their scale, or are a selection by rules that have changed since.
        ModelError: the base model is not there. ConfigError: it cannot be trained. ClusterError: there is no room for
            the workers.
    """
    from encore_ray.models.loading.identity import identify_model
    from encore_ray.models.training.recipe import TrainRecipe

    check_rules(options, rules)
    if options.lora_rank is not None:
        from encore_ray.models.training.lora import require_peft

        require_peft()
    crew = find_crew(reducer.engine.resources, num=options.workers, cpus=options.cpus_per_worker)
    if labels is not None:
        check_unchanged_rules(labels)
    units = labelled_units(pairs, labels or pairs)
    if options.objective == "multilabel":
        rules = stored_rules(units[0].labels) if units else None
        if rules is None:
            raise ConfigError(f"{labels or pairs} is no selection of rules: make one with `encore-ray select`.")
    rules = rules or REWARD
    rated = options.objective in ("regression", "multihead-bradley-terry")
    reader = RowReader(
        options.objective,
        rules,
        find_labels([unit.labels for unit in units], rules) if rated and units else None,
        is_selected=labels is not None and not rated,
    )
    counts: RowCounts = reducer.total_in_order("count", partial(CountRows, reader), units)
    counts.check(rules, where=labels or pairs)
    source = ModelSource(base, options.revision, options.trust_remote_code, options.allow_pickle)
    place = local_model(source)
    identity = identify_model(place)
    recipe = TrainRecipe(
        base=replace(source, revision=identity.revision or options.revision),
        objective=options.objective,
        rules=rules,
        bias=counts.first_biases(options.objective),
        pooling=options.pooling,
        dtype=options.dtype,
        max_length=options.max_tokens,
        lora_rank=options.lora_rank,
        lora_alpha=options.lora_alpha,
        gradient_checkpointing=options.gradient_checkpointing,
        seed=options.seed,
    )
    order = TrainOrder(
        batch_rows=options.batch_rows,
        num_rows=counts.num_train,
        epochs=options.epochs,
        seed=options.seed,
        last_evaluated=counts.last_evaluated(options.heldout_rows),
    )
    first_heads = recipe.at(place.path).first_heads
    batch_tokens = options.batch_tokens or DEFAULT_BATCH_TOKENS[crew.device]
    facts = {
        **options.model_dump(mode="json", exclude=_WITHOUT_EFFECT),
        "model": identity.digest,
        "rules": fingerprint(rules.to_list()),
        "first_heads": _ranges(first_heads.rules),
        "units": fingerprint([[unit.responses.unit, unit.responses.digest, unit.labels.digest] for unit in units]),
        "workers": crew.num,
        "device": crew.device,
        "batch_tokens": batch_tokens,
    }
    if options.objective == "multilabel":
        facts["pair_prompt"] = pair_prompt_digest()
    return TrainPlan(
        recipe,
        reader,
        tuple(units),
        order,
        LoopSettings(
            objective=options.objective,
            learning_rate=options.learning_rate,
            warmup_steps=round(options.warmup * order.num_steps),
            weight_decay=options.weight_decay,
            max_grad_norm=options.max_grad_norm,
            num_steps=order.num_steps,
            evaluate_every=options.evaluate_every,
            patience=options.patience,
        ),
        recipe.at(place.path).training_strategy,
        batch_tokens,
        crew,
        facts,
        {
            "rows": counts.num_rows,
            "trained": counts.num_train,
            "heldout": counts.num_heldout,
            "left_out": counts.num_without,
            "ties": dict(zip(rules.names, counts.num_ties_K.tolist(), strict=True)),
        },
        first_heads.said,
    )


def _ranges(rules: RuleSet | None) -> str | None:
    """What of the base's rules decides weights: whether its heads go on, and from which units."""
    return None if rules is None else fingerprint([[rule.scale.lo, rule.scale.hi] for rule in rules])
