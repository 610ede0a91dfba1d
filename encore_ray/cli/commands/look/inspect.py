"""The inspect command: any result, explained."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import tyro
from rich.console import Console

from encore_ray.cli.flags import PathFlag
from encore_ray.cli.screen import Screen, ScreenFlags
from encore_ray.console.ending import Ending
from encore_ray.storage import absolute

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, kw_only=True)
class Inspect:
    """Explain any artifact: a run, a table, a model, a quarantine, rules.yaml or a .json file of a run.

    Of a table or corpus as you have it, it shows how it would be read, and what to begin with.

    Example: encore-ray inspect runs/first/weights.json
    """

    path: tyro.conf.Positional[PathFlag]
    """File or folder."""
    screen: ScreenFlags = Screen()

    def main(self, console: Console) -> Ending:
        from encore_ray.console.inspect import inspect_path

        return inspect_path(absolute(self.path), console=console)
