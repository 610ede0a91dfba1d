"""A look at the job's first pairs before a model is loaded: what it will read of them, and what will be cut."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from encore_ray.folder.reading.tables import TableUnit
from encore_ray.passes.scorers.model.place import local_model
from encore_ray.passes.scorers.model.planned import JudgeModel, ScoringModel
from encore_ray.passes.scorers.outputs import TEXTS
from encore_ray.schema import CHOSEN, PAIR_ID, PROMPT, REJECTED

if TYPE_CHECKING:
    from encore_ray.models.loading.look_ahead import Sides
    from encore_ray.models.loading.reading import MemberReading

# Units looked at, spread over the job, and pairs of each: a second of tokenising.
UNITS, PAIRS = 8, 64


def preview(model: ScoringModel, units: Sequence[TableUnit]) -> tuple[str, list[str]]:
    """The name of a model's template, and how it will read the pairs of a job, in sentences.

    Raises:
        ModelError: its tokenizer does not know what is written in them.
    """
    from encore_ray.models.loading.look_ahead import look_ahead

    readings = readings_of(model)
    step = -(-len(units) // UNITS) or 1
    few = units[::step]
    is_whole = len(few) == len(units) and all(unit.rows <= PAIRS for unit in units)
    name = ", ".join(dict.fromkeys(reading.template for reading in readings))
    return name, look_ahead(readings, _sample(few), is_whole=is_whole)


def readings_of(model: ScoringModel) -> "list[MemberReading]":
    """How each member of a model reads conversations; errors as of `plan_readings`."""
    from encore_ray.models.loading.reading import plan_judge_readings, plan_readings

    place, options = local_model(model.source), model.load_options
    if isinstance(model, JudgeModel):
        return plan_judge_readings(place, options, asks=model.asks)
    return plan_readings(place, options)


def first_texts(model: ScoringModel, unit: TableUnit, num_pairs: int) -> list[tuple[str, str | None]]:
    """What the first member of a model reads of the first pairs of a unit; see `texts_read`."""
    from encore_ray.models.loading.look_ahead import texts_read

    pairs = unit.read([PAIR_ID, *TEXTS]).slice(0, num_pairs).to_pydict()
    return texts_read(readings_of(model)[0], (pairs[PROMPT], pairs[CHOSEN], pairs[REJECTED], pairs[PAIR_ID]))


def _sample(units: Sequence[TableUnit]) -> Iterator["Sides"]:
    for unit in units:
        pairs = unit.read([PAIR_ID, *TEXTS]).slice(0, PAIRS).to_pydict()
        yield pairs[PROMPT], pairs[CHOSEN], pairs[REJECTED], pairs[PAIR_ID]
