"""The command that looks at a job before it is run."""

from dataclasses import dataclass

from rich.console import Console

from encore_ray.cli.commands.jobs import Job, JobFile
from encore_ray.config.sources import load_config
from encore_ray.shell import command


@dataclass(frozen=True, kw_only=True)
class Check(Job):
    """Look at all that a job needs before it is run; nothing is started or written.

    Looks at the files and the first rows of each, and at rules and model.

    Shows what the model reads of three pairs.

    Looks at the run folder (room, locks, what stands), and whether judge, cluster and MLflow answer.

    Names all that `run` would be refused for, and ends with the exit code of the first.
    """

    config: JobFile
    """The job's YAML file; docs/configuration.md has its keys."""

    def main(self, console: Console) -> None:
        config = load_config(self.config, flags=self.over())
        from encore_ray.check.check import check_job
        from encore_ray.check.found import all_problems
        from encore_ray.console.check import show_found, show_ready

        found = []
        for each in check_job(config):
            show_found(each, console)
            found.append(each)
        problem = all_problems(found, self.config)
        if problem is not None:
            raise problem
        show_ready(command("encore-ray", "run", self.config, *self._flags), console)

    @property
    def _flags(self) -> list[str]:
        """That a run has to be given as well."""
        where = [] if self.run is None else ["--run", self.run]
        return [*where, *(word for each in self.set for word in ("--set", each))]
