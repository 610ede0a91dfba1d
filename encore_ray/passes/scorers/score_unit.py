"""What a worker does with one unit of pairs: somebody makes outputs, somebody writes what is kept of them."""

from collections.abc import Mapping

from encore_ray.folder.attempt import Attempt
from encore_ray.folder.reading.tables import TableUnit
from encore_ray.passes.scorers.outputs import Forward, OutputWriter


class ScoreUnit:
    """One unit after another, each from pairs to a written table.

    Args:
        forward: makes the outputs: `ModelForward`, `ApiForward` or `DataRatings`.
        writer: keeps scores, embeddings or relevances of them.
    """

    def __init__(self, forward: Forward, writer: OutputWriter):
        self._forward, self._writer = forward, writer

    def __call__(self, unit: TableUnit, attempt: Attempt) -> Mapping[str, int]:
        outputs = self._forward(unit, attempt.left_out)
        counts = self._writer(outputs, attempt)
        attempt.notes.update(outputs.notes)
        return {**counts, **outputs.counts}
