"""A look at the job's first pairs before a model is loaded: what it will read of them, and what will be cut."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from encore_ray.folder.tables import TableUnit
from encore_ray.passes.scorers.model.place import local_model
from encore_ray.passes.scorers.model.planned import PlannedModel
from encore_ray.schema import CHOSEN, PROMPT, REJECTED

if TYPE_CHECKING:
    from encore_ray.models.loading.reading import Sides

# Units looked at, spread over the job, and pairs of each: a second of tokenising.
UNITS, PAIRS = 8, 64


def preview(model: PlannedModel, units: Sequence[TableUnit]) -> list[str]:
    """How a model will read the pairs of a job, in sentences.

    Raises:
        ModelError: its tokenizer does not know what is written in them.
    """
    from encore_ray.models.loading.reading import look_ahead, plan_readings

    step = -(-len(units) // UNITS) or 1
    few = units[::step]
    is_whole = len(few) == len(units) and all(unit.rows <= PAIRS for unit in units)
    return look_ahead(plan_readings(local_model(model.source), model.load_options), _sample(few), is_whole=is_whole)


def _sample(units: Sequence[TableUnit]) -> Iterator["Sides"]:
    for unit in units:
        table = unit.read([PROMPT, CHOSEN, REJECTED]).slice(0, PAIRS)
        yield table[PROMPT].to_pylist(), table[CHOSEN].to_pylist(), table[REJECTED].to_pylist()
