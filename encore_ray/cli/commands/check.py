"""The command that looks at a job before it is run."""

from dataclasses import dataclass

from rich.console import Console

from encore_ray.cli.commands.jobs import Job, JobFile
from encore_ray.cli.screen import Screen, ScreenFlags
from encore_ray.config.sources import load_config
from encore_ray.console.ending import Ending, next_step
from encore_ray.errors import EncoreError

TRIAL_PAIRS = 200


@dataclass(frozen=True, kw_only=True)
class Check(Job):
    """Look at all that a job needs before it is run; nothing is started or written.

    Looks at the files and the first rows of each, and at rules and model.

    Shows what the model reads of three pairs.

    Looks at the run folder (room, locks, what stands), and whether judge, cluster and MLflow answer.

    Names all that `run` would be refused for, and ends with the exit code of the first.

    Example: encore-ray check job.yaml
    """

    config: JobFile
    """The job's YAML file; docs/configuration.md has its keys."""
    screen: ScreenFlags = Screen()

    def main(self, console: Console) -> Ending:
        config = load_config(self.config, flags=self.over())
        from encore_ray.check.check import check_job
        from encore_ray.check.found import all_problems
        from encore_ray.console.check import show_found

        found = []
        for each in check_job(config):
            show_found(each, console)
            found.append(each)
        problem = all_problems(found, self.config)
        content = [{"about": each.about, "notes": each.notes, "problem": _said(each.problem)} for each in found]
        if problem is not None:
            again = next_step("once that is mended", "check", self.config, *self.over_words())
            return Ending(f"{self.config} is not ready.", [again], content, error=problem)
        return Ending(
            f"{self.config} is ready: nothing that can be known now keeps it from running.",
            [
                next_step("run it", "run", self.config, *self.over_words()),
                next_step("try it on some pairs, to see how long all will take", *self._trial),
            ],
            content,
        )

    @property
    def _trial(self) -> list[str]:
        return ["run", self.config, *self.over_words(), "--limit", str(TRIAL_PAIRS)]


def _said(problem: EncoreError | None) -> str | None:
    return None if problem is None else str(problem)
