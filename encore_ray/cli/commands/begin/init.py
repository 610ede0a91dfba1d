"""The command that drafts the files of a job."""

import os
from dataclasses import dataclass
from typing import Annotated

import tyro
from rich.console import Console

from encore_ray.cli.flags import OptionalPathFlag, PathFlag, Switch, flag
from encore_ray.cli.inputs import InputColumnFlags, InputColumns
from encore_ray.cli.screen import Screen, ScreenFlags
from encore_ray.console.draft import show_draft
from encore_ray.console.ending import Ending, next_step
from encore_ray.console.words import be
from encore_ray.errors import ConfigError
from encore_ray.storage import absolute, is_remote


@dataclass(frozen=True, kw_only=True)
class Init:
    """Draft the files of a job from what its data and its model are seen to be.

    Of corpora it writes job.yaml, of a table of scores chain.yaml.

    Beside it goes a rules.yaml, where none comes with the model or the scores.

    It says what it found and what it guessed. Files that are there are left alone.

    Example: encore-ray init corpus.jsonl --model owner/model
    """

    data: tyro.conf.Positional[Annotated[list[str], flag("PATH")]]
    """Corpora, as files, folders, globs or URLs; or one table of scores, as a Parquet file or a folder."""
    model: OptionalPathFlag = None
    """A multi-head reward model that scores: folder, hub id or URL."""
    judge: Annotated[str | None, flag("PATH|URL")] = None
    """A language model that rates under each rule, or the URL of an OpenAI-compatible API."""
    rules: OptionalPathFlag = None
    """A rules.yaml that is there. Default: the model's own, or one that is drafted."""
    columns: InputColumnFlags = InputColumns()
    run: PathFlag = "run"
    """Run folder that the job is to make."""
    output: OptionalPathFlag = None
    """The file to write, and beside it its rules. Default: job.yaml, or chain.yaml, in this folder."""
    overwrite: Switch = False
    """Replace files that are there."""
    screen: ScreenFlags = Screen()

    def main(self, console: Console) -> Ending:
        if not self.data:
            raise ConfigError("init needs one or more paths of data.")
        if self.output is not None and is_remote(self.output):
            raise ConfigError(f"--output {self.output}: the file is written to a local folder. Name one.")
        from encore_ray.drafts.draft import draft, wanted_of
        from encore_ray.drafts.files import Names

        folder, name = os.path.split(absolute(self.output)) if self.output else (os.getcwd(), None)
        wanted = wanted_of(
            self.columns.inputs(self.data), model=self.model, judge=self.judge, rules=self.rules, run=self.run
        )
        made = draft(wanted, Names(folder, name))
        made.write(folder, overwrite=self.overwrite)
        show_draft(made, folder, console)
        path = os.path.relpath(os.path.join(folder, made.name))
        verbs = ["check", "run"] if made.verb == "run" else [made.verb]
        why = {"check": "see whether anything keeps it from running", "run": "run it", "chain": "run it"}
        steps = [next_step(why[verb], verb, path) for verb in verbs]
        if made.allowing is not None:
            allow = ["--set", f"prepare.max_bad_fraction={made.allowing:g}"]
            steps[1:] = [next_step("run it, such rows left out", "run", path, *allow)]
        return Ending(
            f"{' and '.join(made.files)} {be(len(made.files))} drafted: read what was guessed, and change it.",
            steps,
            {
                "files": [os.path.join(folder, file) for file in made.files],
                "found": made.found,
                "guessed": made.guessed,
            },
        )
