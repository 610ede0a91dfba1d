"""A look at the job's first pairs before a model is loaded: what it will read of them, and what will be cut."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from encore_ray.folder.tables import TableUnit
from encore_ray.passes.scorers.model.place import local_model
from encore_ray.passes.scorers.model.planned import JudgeModel, ScoringModel
from encore_ray.passes.scorers.outputs import TEXTS
from encore_ray.schema import CHOSEN, PAIR_ID, PROMPT, REJECTED

if TYPE_CHECKING:
    from encore_ray.models.loading.look_ahead import Sides

# Units looked at, spread over the job, and pairs of each: a second of tokenising.
UNITS, PAIRS = 8, 64


def preview(model: ScoringModel, units: Sequence[TableUnit]) -> tuple[str, list[str]]:
    """The name of a model's template, and how it will read the pairs of a job, in sentences.

    Raises:
        ModelError: its tokenizer does not know what is written in them.
    """
    from encore_ray.models.loading.look_ahead import look_ahead
    from encore_ray.models.loading.reading import plan_judge_readings, plan_readings

    place, options = local_model(model.source), model.load_options
    if isinstance(model, JudgeModel):
        readings = plan_judge_readings(place, options, asks=model.asks)
    else:
        readings = plan_readings(place, options)
    step = -(-len(units) // UNITS) or 1
    few = units[::step]
    is_whole = len(few) == len(units) and all(unit.rows <= PAIRS for unit in units)
    name = ", ".join(dict.fromkeys(reading.template for reading in readings))
    return name, look_ahead(readings, _sample(few), is_whole=is_whole)


def _sample(units: Sequence[TableUnit]) -> Iterator["Sides"]:
    for unit in units:
        pairs = unit.read([PAIR_ID, *TEXTS]).slice(0, PAIRS).to_pydict()
        yield pairs[PROMPT], pairs[CHOSEN], pairs[REJECTED], pairs[PAIR_ID]
