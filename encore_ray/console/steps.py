"""Next steps that several commands end with."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from encore_ray.console.ending import NextStep, next_step
from encore_ray.shell import near
from encore_ray.storage import Folder, absolute, is_remote
from encore_ray.visible import short

if TYPE_CHECKING:
    from encore_ray.artifacts.figures import RuleFigures
    from encore_ray.folder.status import PassStatus

MODEL = "PATH_OR_HUB_ID"  # stands for what only the user knows
_WHY = {
    "weigh": "weigh the rules by rating entropy",
    "compose": "write the reward of every response",
    "evaluate": "count how often the rewards agree with the labels",
    "compare": "see which weighting to use on these pairs",
}
_FROM_FILES = ("prepare", "score")  # passes that need more than the run


def weigh_steps(run: str) -> list[NextStep]:
    """After scores: one weighting, or all of them side by side."""
    return [
        next_step("see which weighting to use on these pairs", "compare", "--run", run),
        next_step("weigh the rules by rating entropy", "weigh", "--run", run),
    ]


def replacing(folder: str, name: str) -> list[str]:
    """What a command needs for an output that an earlier one has left there; nothing where there is none.

    Args:
        folder: of the output. name: of the file by which it is known.
    """
    return ["--overwrite"] if Folder(absolute(folder)).exists(name) else []


def export_step(run: str) -> NextStep:
    """After rewards."""
    folder = run.rstrip("/").rpartition("/")[2] if is_remote(run) else run.rstrip("/")
    return next_step(
        "write a dataset for a trainer (TRL; --format has others)", "export", "--run", run, "--output", f"{folder}-trl"
    )


def mend_step(rules: "Iterable[RuleFigures]", place: str) -> NextStep | None:
    """Before any weights, where a rule that counts points the wrong way; None where none does.

    Args:
        place: the file that has the rules' figures.
    """
    from encore_ray.composition.compare.decision import turned_rules

    turned = turned_rules((rule.name, rule.weight, rule.flags) for rule in rules)
    if not turned:
        return None
    named = f"{', '.join(map(short, turned[:3]))}{f' and {len(turned) - 3} more' if len(turned) > 3 else ''}"
    why = f"look at the direction (higher_is in rules.yaml) of {named}, right on under half of the labels"
    return next_step(why, "inspect", near(place))


def model_steps(model: str, run: str) -> list[NextStep]:
    """After a model is made from a run."""
    return [
        next_step("score these pairs by it", "score", "--run", run, "--model", model),
        next_step("look at it", "inspect", model),
    ]


def run_steps(run: str, statuses: "Sequence[PassStatus]", driver: str | None) -> list[NextStep]:
    """The pass that has not begun, or where to look.

    Args:
        driver: who works on the run, for people.
    """
    look = next_step("look at what it has made", "inspect", run)
    if driver is not None:
        return [next_step("see how far it is then", "status", run), look]
    waiting = [status.name for status in statuses if status.state != "finished" and status.name in _WHY]
    if waiting and all(status.state == "finished" for status in statuses if status.name in _FROM_FILES):
        return [next_step(_WHY[waiting[0]], waiting[0], "--run", run), look]
    return [look]
