"""Embed: the embeddings of a score pass, kept while it scores, or made later without scoring anew."""

from functools import partial
from typing import Any

from encore_ray.engine.pools import Resources
from encore_ray.engine.run_units import Watch, ignore_progress
from encore_ray.engine.unit_work import Write
from encore_ray.engine.visible import Visible
from encore_ray.folder.pass_table import PassTable
from encore_ray.folder.tables import table_units
from encore_ray.passes.score import finish_by_model
from encore_ray.passes.scorers.embedding_table import EmbeddingWriter
from encore_ray.passes.scorers.model_forward import ModelForward
from encore_ray.passes.scorers.planned_model import ScoringModel


def open_embeddings(pairs: str, output: PassTable, *, model: ScoringModel, overwrite: bool = False) -> PassTable:
    """Make embeddings/ ready for what the score pass puts beside its scores; returns it opened.

    Raises:
        ResumeRefused: the folder holds embeddings of another model, of other pairs, or made in another way.
    """
    output = output.open(_facts(model), overwrite=overwrite)
    output.resume({unit.unit: unit.digest for unit in table_units(pairs)}, overwrite=overwrite)
    return output


def embed_pairs(
    pairs: str,
    output: PassTable,
    *,
    model: ScoringModel,
    max_bad_fraction: float,
    have: Resources,
    visible: Visible | None = None,
    overwrite: bool = False,
    watch: Watch = ignore_progress,
) -> dict[str, int]:
    """Finish embeddings/ where the score pass has not: it may have been over before they were asked for.

    Args:
        output: after `open_embeddings`.

    Returns:
        Counts: rows, scored (pairs with an embedding), quarantined.
    """
    how = {"max_bad_fraction": max_bad_fraction, "visible": visible, "overwrite": overwrite, "watch": watch}
    return finish_by_model(pairs, output, partial(_embedder, model), model=model, have=have, **how)


def _embedder(model: ScoringModel) -> Write:
    """Makes the work of an actor; what the forward passes take is not counted again."""
    forward, writer = ModelForward(model), EmbeddingWriter()
    return lambda unit, attempt: writer(forward(unit, attempt.left_out), attempt)


def _facts(model: ScoringModel) -> dict[str, Any]:
    """What decides an embedding: all that decides a score but the rules."""
    return {key: value for key, value in model.decisive_facts.items() if key != "rules"}
