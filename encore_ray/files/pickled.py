"""Columns of pickled Python objects: a program that has imported Ray Data runs what is in them when it reads them."""

import pyarrow as pa

from encore_ray.errors import DataError

_EXTENSION = "ray.data.arrow_pickled_object"
_NAME_KEY = b"ARROW:extension:name"  # what a program without that type sees of it


def refuse_pickles(schema: pa.Schema, where: str) -> None:
    """DataError that names the columns of a file which hold pickles, at any depth."""
    names = [field.name for field in schema if _holds_pickles(field)]
    if names:
        raise DataError(
            f"{where}: the column {', '.join(names)} holds pickled Python objects, which can run code when they are "
            "read. Write the file without it, or with its values as text."
        )


def _holds_pickles(field: pa.Field) -> bool:
    if (field.metadata or {}).get(_NAME_KEY) == _EXTENSION.encode():
        return True
    kind = field.type
    if isinstance(kind, pa.BaseExtensionType):
        return kind.extension_name == _EXTENSION or _holds_pickles(pa.field("", kind.storage_type))
    if pa.types.is_dictionary(kind):
        return _holds_pickles(pa.field("", kind.value_type))
    return any(_holds_pickles(kind.field(number)) for number in range(kind.num_fields))
