"""The command that refines composed rewards by an energy over the model's embeddings."""

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro
from rich.console import Console

from encore_ray.cli.flags import PathFlag, Switch, flag, section_flags
from encore_ray.config import ClusterOptions, RefineOptions
from encore_ray.errors import ConfigError
from encore_ray.storage import Folder, absolute, require_paths


@dataclass(frozen=True, kw_only=True)
class Refine:
    """Fit energies to rewards or scores (EBRM), or move each of them to where its energy is highest.

    Needs embeddings: score with --keep-embeddings, which a run that is scored already can add.

    fit writes refine/, with a report of what it buys next to the base reward and a plain refit.

    apply writes refined/, with a calibrated probability of each label.

    fit --per-rule takes the scores of each rule instead; apply then writes refined_scores/, too.
    """

    step: tyro.conf.Positional[Annotated[Literal["fit", "apply"], flag("STEP")]]
    """fit or apply."""
    run: PathFlag
    """Run folder, after `compose`; with --per-rule after `score`."""
    per_rule: Switch = False
    """Of fit: an energy for each rule's scores, instead of one for the composed reward."""
    overwrite: Switch = False
    """Start over where rewards, embeddings, energies or options have changed, instead of refusing."""
    options: Annotated[RefineOptions, section_flags(RefineOptions)]
    cluster: Annotated[ClusterOptions, section_flags(ClusterOptions)]

    def main(self, console: Console) -> None:
        from encore_ray.schema import EMBEDDINGS_DIR, REWARDS_DIR, SCORES_DIR

        self._check()
        folder = Folder(absolute(self.run))
        fitted_to = {"fit": [SCORES_DIR if self.per_rule else REWARDS_DIR], "apply": []}
        require_paths([folder.path(name) for name in (*fitted_to[self.step], EMBEDDINGS_DIR)])
        from encore_ray.cli.command import open_command
        from encore_ray.console.show import show_counts, show_refined_rules, show_refinement
        from encore_ray.passes.refine.apply import refine_all
        from encore_ray.passes.refine.energies import energy_settings
        from encore_ray.passes.refine.fit_reward import FitReward
        from encore_ray.passes.refine.fit_rules import FitRules
        from encore_ray.passes.report import write_report

        with open_command(folder.uri, cluster=self.cluster, console=console, overwrite=self.overwrite) as run:
            if self.step == "apply":
                for name, counts in refine_all(run).items():
                    console.print(f"{name}/: ", end="", highlight=False)
                    show_counts(counts, console=console)
                write_report(run)
                return
            options = self.options
            settings = energy_settings(options)
            if self.per_rule:
                by_rule = run.do(FitRules(settings, options.cpus, options.gpus))
                write_report(run)
                show_refined_rules(by_rule, console=console)
            else:
                report = run.do(FitReward(settings, options.noise, options.cpus, options.gpus))
                write_report(run)
                show_refinement(report, console=console)

    def _check(self) -> None:
        """Refuse what does not go together."""
        if self.per_rule and (self.options.noise or self.step == "apply"):
            what = "--noise" if self.options.noise else "apply, which refines whatever energies are fitted to"
            raise ConfigError(f"refine: --per-rule does not go with {what}.")
