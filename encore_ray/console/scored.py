"""What a pass that scores ends with, whoever scored."""

from typing import TYPE_CHECKING

from rich.console import Console

from encore_ray.console.ending import Ending
from encore_ray.console.sentences import tell_scored
from encore_ray.console.show import show_counts
from encore_ray.console.steps import weigh_steps
from encore_ray.passes.scorers.scoring_cost import without_times
from encore_ray.schema import SCORES_DIR
from encore_ray.storage import Folder, absolute

if TYPE_CHECKING:
    from encore_ray.passes.score import Scored


def end_scored(done: str, run: str, scored: "Scored", *, console: Console) -> Ending:
    """Show the counts, and end.

    Args:
        done: what became of the pairs, as "scored".
        run: the run folder as the user names it.
    """
    counts = without_times(scored.counts)
    show_counts(counts, console=console)
    return Ending(
        tell_scored(done, counts, len(scored.rules), Folder(run).path(SCORES_DIR)),
        weigh_steps(run),
        {"scores": Folder(absolute(run)).path(SCORES_DIR), "rules": scored.rules.names, "counts": counts},
    )
