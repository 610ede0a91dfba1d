"""Where a table in another form lies once it is turned: beside the results, where every worker sees it.

A command that is killed leaves its folder. The folder says which process it is of, and the next command that turns a
table there deletes it once that one is known to be gone.
"""

import contextlib
import uuid
from collections.abc import Iterator

from encore_ray.errors import DataError
from encore_ray.files.durable import TEMP_PREFIX
from encore_ray.folder.driver.process import Driver
from encore_ray.storage import Folder

_PREFIX = f"{TEMP_PREFIX}scores-"
_TABLE, _DRIVER_FILE = "table", "driver.json"


@contextlib.contextmanager
def scratch_table(place: Folder) -> Iterator[Folder]:
    """A folder for a table for as long as the block lasts.

    Args:
        place: folder that every worker sees.
    """
    for name in place.names(kept=False):
        if name.startswith(_PREFIX) and _is_left(place.child(name)):
            place.delete_tree(name)
    own = place.child(f"{_PREFIX}{uuid.uuid4().hex}")
    try:
        own.write_json(_DRIVER_FILE, Driver.this_process().to_json())
        yield own.child(_TABLE)
    finally:
        own.delete_tree()


def _is_left(folder: Folder) -> bool:
    """Whether the process that a folder is of has ended; False where that cannot be told."""
    try:
        return Driver.of_json(folder.read_json(_DRIVER_FILE)).is_gone
    except (DataError, TypeError, ValueError, KeyError):
        return False
