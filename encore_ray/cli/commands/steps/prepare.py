"""The prepare command: corpora to pairs."""

from dataclasses import dataclass
from typing import Annotated

from rich.console import Console

from encore_ray.cli.flags import (
    PathFlag,
    Switch,
    flag,
    section_flags,
)
from encore_ray.cli.inputs import InputColumnFlags, InputColumns
from encore_ray.cli.screen import Screen, ScreenFlags
from encore_ray.config import ClusterOptions, PrepareOptions
from encore_ray.config.sources import keep_options
from encore_ray.console.ending import Ending, next_step
from encore_ray.console.steps import MODEL
from encore_ray.storage import Folder, absolute
from encore_ray.visible import visible


@dataclass(frozen=True, kw_only=True)
class Prepare:
    """Read preference corpora into canonical pairs; rows that cannot be used go to quarantine.

    Example: encore-ray prepare --input corpus.jsonl --run runs/first
    """

    input: Annotated[list[str], flag("PATH")]
    """Files, folders, globs or URLs (s3://, gs://, hf://datasets/owner/name/...)."""
    run: PathFlag
    """Run folder."""
    columns: InputColumnFlags = InputColumns()
    overwrite: Switch = False
    """Start over where inputs or options have changed, instead of refusing."""
    options: Annotated[PrepareOptions, section_flags(PrepareOptions)]
    screen: ScreenFlags = Screen()
    cluster: Annotated[ClusterOptions, section_flags(ClusterOptions)]

    def main(self, console: Console) -> Ending:
        from encore_ray.cli.command import open_command
        from encore_ray.console.sentences import tell_prepared
        from encore_ray.console.show import show_counts, show_left_out
        from encore_ray.corpora.files.sources import list_files
        from encore_ray.corpora.inputs import input_specs
        from encore_ray.passes.prepare import Prepare as PreparePass
        from encore_ray.schema import PAIRS_DIR

        files = list_files(input_specs(self.columns.inputs(self.input)))
        with open_command(
            absolute(self.run),
            cluster=self.cluster,
            console=console,
            overwrite=self.overwrite,
            options=self.options,
            params={"inputs": self.input},
        ) as run:
            prepared = run.do(PreparePass(files, self.options))
            keep_options(run.folder, self.options)
        show_counts(prepared.counts, console=console)
        show_left_out(prepared.left_out, console=console)
        pairs = Folder(self.run).path(PAIRS_DIR)
        return Ending(
            tell_prepared(prepared.counts, pairs),
            [
                next_step("look at what the pairs hold", "inspect", pairs),
                next_step("score them by your reward model", "score", "--run", self.run, "--model", MODEL),
            ],
            {"pairs": run.path(PAIRS_DIR), "counts": prepared.counts},
            warnings=[f"Left out: {visible(problem)}" for problem in prepared.left_out],
        )
