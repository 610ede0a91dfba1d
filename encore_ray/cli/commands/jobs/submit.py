"""The command that hands a whole job over to a cluster."""

import sys
from dataclasses import dataclass
from typing import Annotated

from rich.console import Console

from encore_ray.cli.flags import flag
from encore_ray.cli.job_flags import JobFile, WholeJob
from encore_ray.cli.screen import Screen, ScreenFlags
from encore_ray.config.sources import load_config
from encore_ray.console.ending import Ending, NextStep, next_step
from encore_ray.errors import ConfigError, DataError
from encore_ray.shell import command


@dataclass(frozen=True, kw_only=True)
class Submit(WholeJob):
    """Run a whole job on a Ray cluster elsewhere, and follow its log. The same command again resumes it.

    The driver runs on the cluster and goes on without this command. Its exit code is the job's.

    Configuration, rules and this version of encore-ray are sent along, credentials never.

    Corpora, model and run folder must be where all nodes see them.

    Example: encore-ray submit job.yaml --address http://127.0.0.1:8265
    """

    config: JobFile
    """The job's YAML file; docs/configuration.md has its keys."""
    address: Annotated[str, flag("URL")]
    """The cluster's dashboard, as in http://127.0.0.1:8265."""
    screen: ScreenFlags = Screen()

    def main(self, console: Console) -> Ending:
        config = load_config(self.config, flags=self.over())
        from encore_ray.submit.submission import connect, follow, submit
        from encore_ray.submit.upload import machine_bound

        bound = machine_bound(config)
        client = connect(self.address)
        name = submit(client, config, limit=self.limit, overwrite=self.overwrite)
        how = "\n".join(
            f"  {what}  {command('ray', 'job', verb, name, '--address', self.address, *more)}"
            for what, verb, more in (("watch it:", "logs", ["--follow"]), ("stop it: ", "stop", []))
        )
        _say(console, f"Submitted {name}. It goes on when this command ends.\n{how}")
        if bound:
            _say(
                console,
                "These are looked for on the cluster's nodes, not on this machine. Unless all nodes share them with "
                f"it, use s3:// or a hub: {', '.join(bound)}",
            )
        try:
            code = follow(client, name, lambda text: _write(console, text))
        except KeyboardInterrupt:
            _say(console, f"\nThe job {name} goes on.\n{how}")
            raise
        if code:
            _say(console, f"The job {name} ended with exit code {code}. {what_next(code)}")
            sys.exit(code)
        return Ending(
            f"The job {name} has ended well; its results are in {config.run}.",
            [
                next_step("look at them, where this machine sees that folder", "inspect", config.run),
                NextStep("read its log again", command("ray", "job", "logs", name, "--address", self.address)),
            ],
            {"job": name, "address": self.address, "run": config.run},
        )


def what_next(code: int) -> str:
    """What a person may do after a job that ended with this exit code."""
    if code in (ConfigError.exit_code, DataError.exit_code):
        return "Once what it names is mended, the same command goes on."
    return "The same command resumes it."


def _say(console: Console, text: str) -> None:
    console.print(text, soft_wrap=True, highlight=False, markup=False)


def _write(console: Console, text: str) -> None:
    """Text of the job's own terminal, as it comes."""
    if not console.quiet:
        console.file.write(text)
        console.file.flush()
