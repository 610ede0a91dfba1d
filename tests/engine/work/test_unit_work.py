"""One unit in a worker: committed, or nothing of it is left."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from encore_ray.engine.work.unit_work import CommittedWork, Task, Write
from encore_ray.folder.attempt import Attempt
from encore_ray.folder.pass_table import PassTable
from encore_ray.storage import Folder


@pytest.mark.parametrize("error", [OSError("no space"), KeyboardInterrupt(), MemoryError()], ids=repr)
def test_what_a_unit_wrote_before_it_failed_goes(tmp_path: Path, error: BaseException) -> None:
    """A driver that ends for it leaves the others at work: what they write comes after the next one's sweep."""
    run = Folder(str(tmp_path))
    table = PassTable(run.child("scores"), run, "score").open({})

    def work() -> Write:
        def write(payload: Any, attempt: Attempt) -> Mapping[str, int]:
            attempt.write(pa.table({"score": [1.0]}))
            attempt.write(pa.table({"score": [2.0]}), unit="u0-more")
            raise error

        return write

    with pytest.raises(type(error)):
        CommittedWork(table, work)(Task("u0", "d", 1, None, "a.jsonl"))
    assert table.folder.names("data") == [] == table.folder.names("commits")
