"""The inputs of a job as the corpora know them."""

from collections.abc import Iterable

from encore_ray.config import InputOptions
from encore_ray.corpora.files.columns import ColumnMap
from encore_ray.corpora.files.sources import InputSpec
from encore_ray.errors import ConfigError


def input_specs(inputs: Iterable[InputOptions]) -> list[InputSpec]:
    """Each input with its mapping of columns checked.

    Raises:
        ConfigError: a mapping that says too little, or a `chosen_if` without one; names the input.
    """
    specs = []
    for place, item in enumerate(inputs):
        try:
            specs.append(InputSpec(item.path, item.subset, item.format, _mapping(item)))
        except ConfigError as error:
            raise ConfigError(f"inputs[{place}].{error}.") from None
    return specs


def _mapping(item: InputOptions) -> ColumnMap | None:
    if item.columns is None:
        if item.chosen_if is not None:
            raise ConfigError("chosen_if: it says what a value of columns.winner means; name the columns, too")
        return None
    if item.format != "auto":
        raise ConfigError("columns: a mapping of columns stands instead of a format; leave one of them out")
    return ColumnMap.of(item.columns, item.chosen_if)
