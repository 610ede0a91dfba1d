"""What a file is that others have made: a table of scores, a corpus of texts, or numbers that nobody has named."""

import itertools
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from encore_ray.errors import ConfigError, EncoreError
from encore_ray.foreign.files import PART_ROWS, table_files
from encore_ray.foreign.form.naming import IDS, Naming
from encore_ray.foreign.table import said_of
from encore_ray.foreign.turn.turning import Turning
from encore_ray.foreign.values import kind_of
from encore_ray.schema import CHOSEN, PROMPT, REJECTED, WEIGHTS_FILE
from encore_ray.shell import called_as, near

_OF_TEXTS = frozenset(
    {PROMPT, CHOSEN, REJECTED, "messages", "conversations", "question", "instruction", "query", "input"}
)


@dataclass(frozen=True)
class Looked:
    """A table as its first rows show it.

    Attributes:
        head: these rows; None where there is none.
        kind: "numbers" of columns that may be scores and do not tell it.
        turning: how it would be read as scores; None of another one.
        problem: why it is not read as scores as it stands.
        is_whole: whether these rows are all of them; more than the first part is not read to be counted.
    """

    head: pa.Table | None
    kind: Literal["scores", "texts", "numbers"]
    turning: Turning | None = None
    problem: EncoreError | None = None
    is_whole: bool = True

    @property
    def has_texts_of_pairs(self) -> bool:
        """Whether columns are called as those of corpora are."""
        return self.head is not None and bool(_OF_TEXTS & set(self.head.column_names))


def look_at(uri: str) -> Looked:
    """Look at a table in any form, as `weigh` would.

    Raises:
        ConfigError: nothing is there, or files of a kind that is not known. DataError: it cannot be read.
    """
    files = table_files(uri)
    with said_of(uri):
        head = next(itertools.chain.from_iterable(file.parts() for file in files), None)
    if head is None or not head.num_rows:
        return Looked(None, "texts")
    texts, is_whole = files[0].texts, len(files) == 1 and head.num_rows < PART_ROWS
    has_texts = any(
        kind_of(head.column(name), texts) in ("texts", "other") for name in head.column_names if name not in IDS
    )
    try:
        with called_as(["weigh", "--scores", near(uri), "--output", WEIGHTS_FILE]), said_of(uri):
            turning = Turning.of(head, Naming(), table=uri, rules=None, texts=texts)
    except EncoreError as error:
        are_sided = isinstance(error, ConfigError) and not {CHOSEN, REJECTED} <= {*head.column_names}
        kind = "texts" if has_texts and not are_sided else "numbers"
        return Looked(head, kind, problem=error, is_whole=is_whole)
    return Looked(head, "texts" if _OF_TEXTS & set(turning.further) else "scores", turning, is_whole=is_whole)
