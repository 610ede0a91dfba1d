"""Embed: the embeddings of a score pass, kept while it scores, or made later without scoring anew."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from encore_ray.engine.pools import ActorPool, Resources
from encore_ray.engine.work.unit_work import Write
from encore_ray.folder.pass_table import PassTable
from encore_ray.folder.reading.tables import TableUnit, table_units
from encore_ray.passes.scorers.embedding_table import EmbeddingWriter
from encore_ray.passes.scorers.model.forward import ModelForward
from encore_ray.passes.scorers.model.planned import PlannedModel
from encore_ray.passes.scorers.scorer import finish_scored
from encore_ray.run import Run
from encore_ray.schema import PAIRS_DIR


def open_embeddings(
    units: Sequence[TableUnit], output: PassTable, *, model: PlannedModel, overwrite: bool = False
) -> PassTable:
    """Make embeddings/ ready for what the score pass puts beside its scores; returns it opened.

    Raises:
        ResumeRefused: the folder holds embeddings of another model, of other pairs, or made in another way.
    """
    output = output.open(_facts(model), overwrite=overwrite)
    output.resume({unit.unit: unit.digest for unit in units}, overwrite=overwrite)
    return output


def finish_embeddings(
    run: Run,
    output: PassTable,
    *,
    model: PlannedModel,
    pool: Callable[[Resources, int], ActorPool],
    max_bad_fraction: float,
) -> dict[str, int]:
    """Finish embeddings/ where the score pass has not: it may have been over before they were asked for.

    Args:
        output: after `open_embeddings`.

    Returns:
        Counts: rows, scored (pairs with an embedding), quarantined.
    """
    return finish_scored(
        run,
        output,
        table_units(run.path(PAIRS_DIR)),
        partial(_embedder, model),
        pool=lambda num_units: pool(run.engine.resources, num_units),
        max_bad_fraction=max_bad_fraction,
    )


def _embedder(model: PlannedModel) -> Write:
    """Makes the work of an actor; what the forward passes take is not counted again."""
    forward, writer = ModelForward(model), EmbeddingWriter()
    return lambda unit, attempt: writer(forward(unit, attempt.left_out), attempt)


def _facts(model: PlannedModel) -> dict[str, Any]:
    """What decides an embedding: all that decides a score but the rules."""
    return {key: value for key, value in model.decisive_facts.items() if key != "rules"}
