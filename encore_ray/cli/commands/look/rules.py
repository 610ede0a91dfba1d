"""The rules command: rules to start from."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.console import Console

from encore_ray.cli.flags import flag
from encore_ray.cli.screen import Screen, ScreenFlags
from encore_ray.console.ending import Ending, NextStep, next_step
from encore_ray.console.steps import MODEL
from encore_ray.console.words import plural
from encore_ray.rule_pools import RulePool, rule_pool
from encore_ray.shell import command

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Print safety rules that come with encore-ray as a rules.yaml, to use or to edit.

    Example: encore-ray rules privacy > rules.yaml
    """

    pool: tyro.conf.Positional[Annotated[RulePool, flag()]] = "default"
    """Ten rules that suit most corpora, all rules, or one group of them."""
    screen: ScreenFlags = Screen()

    def main(self, console: Console) -> Ending:
        rules = rule_pool(self.pool)
        written = NextStep(
            "write them to a file, and edit it", f"{command('encore-ray', 'rules', self.pool)} > rules.yaml"
        )
        rate = ("rate", "--run", "RUN", "--judge", MODEL, "--rules", "rules.yaml")
        return Ending(
            f"{plural(len(rules), 'rule')} of the pool {self.pool}.",
            [written, next_step("have a language model rate the pairs of a run under them", *rate)],
            rules.to_list(),
            document=rules.to_yaml(),
        )
