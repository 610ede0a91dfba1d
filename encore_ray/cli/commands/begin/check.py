"""The command that looks at a job before it is run."""

from contextlib import ExitStack
from dataclasses import dataclass

from rich.console import Console

from encore_ray.cli.job_flags import AnyJob, unwritten
from encore_ray.cli.screen import Screen, ScreenFlags
from encore_ray.config.sources import load_config
from encore_ray.console.ending import Ending, next_step
from encore_ray.errors import EncoreError

TRIAL_PAIRS = 200


@dataclass(frozen=True, kw_only=True)
class Check(AnyJob):
    """Look at all that a job needs before it is run; nothing is started or written.

    Looks at the files and the first rows of each, and at rules and model.

    Shows what the model reads of three pairs.

    Looks at the run folder (room, locks, what stands), and whether judge, cluster and MLflow answer.

    Names all that `run` would be refused for, and ends with the exit code of the first.

    Takes what `run` takes instead of a file, too.

    Example: encore-ray check job.yaml
    """

    screen: ScreenFlags = Screen()

    def main(self, console: Console) -> Ending:
        from encore_ray.check.check import check_job
        from encore_ray.check.found import Found, all_problems, find
        from encore_ray.console.check import show_found

        found: list[Found] = []

        def tell(each: Found) -> None:
            show_found(each, console)
            found.append(each)

        with ExitStack() as held:
            if (drafted := self.drafted("check")) is None:
                config = load_config(str(self.config), flags=self.over())
            else:
                tell(find("draft", drafted.look()))
                config = held.enter_context(unwritten(drafted, self.over()))
            for each in check_job(config):
                tell(each)
        job = self.config or "The job"
        problem = all_problems(found, job)
        content = [{"about": each.about, "notes": each.notes, "problem": _said(each.problem)} for each in found]
        if problem is not None:
            again = next_step("once that is mended", "check", *self.words())
            return Ending(f"{job} is not ready.", [again], content, error=problem)
        trial = ["run", *self.words(), "--limit", str(TRIAL_PAIRS)]
        return Ending(
            f"{job} is ready: nothing that can be known now keeps it from running.",
            [
                next_step("run it", "run", *self.words()),
                next_step("try it on some pairs, to see how long all will take", *trial),
            ],
            content,
        )


def _said(problem: EncoreError | None) -> str | None:
    return None if problem is None else str(problem)
