"""The run command: a whole job."""

from dataclasses import dataclass

from rich.console import Console

from encore_ray.cli.job_flags import AnyJob, WholeJob
from encore_ray.cli.screen import Screen, ScreenFlags
from encore_ray.config.sources import load_config
from encore_ray.console.draft import show_draft
from encore_ray.console.ending import Ending
from encore_ray.console.terminal import Terminal
from encore_ray.shell import near


@dataclass(frozen=True, kw_only=True)
class Run(WholeJob, AnyJob):
    """Run a whole job, from prepare to compare. The same command again resumes it.

    Instead of a file, --input names corpora, and --model or --judge who scores them.

    A file is then drafted beside the run folder, as `encore-ray init` does it, and run.

    Example: encore-ray run job.yaml --set weigh.temperature=1
    """

    screen: ScreenFlags = Screen()

    def _file(self) -> str:
        """The job's file: the one that is named, or one that is drafted for what the flags name."""
        drafted = self.drafted("run")
        if drafted is None:
            assert self.config is not None
            return self.config
        drafted.draft.write(drafted.folder, overwrite=self.overwrite)
        show_draft(drafted.draft, drafted.folder, Terminal(stderr=True))
        return drafted.path

    def main(self, console: Console) -> Ending:
        file = self._file()
        config = load_config(file, flags=self.over())
        from encore_ray.check.unsaid import find_unsaid
        from encore_ray.cli.commands.jobs.trial import run_trial, trial_ending
        from encore_ray.console.job import job_ending, tell_unsaid
        from encore_ray.console.show import show_job
        from encore_ray.job import run_job

        again = ["run", near(file), *self.over_words()]
        if self.limit is not None:
            result, estimate = run_trial(config, limit=self.limit, overwrite=self.overwrite, console=console)
            return trial_ending(result, estimate, whole=again)
        result = run_job(config, overwrite=self.overwrite, console=console)
        show_job(result, console=console)
        return job_ending(result, again=again, edit=tell_unsaid(near(file), find_unsaid(file, config, self.over())))
