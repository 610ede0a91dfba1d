"""The command that refines composed rewards by an energy over the model's embeddings."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro
from rich.console import Console

from encore_ray.cli.flags import PathFlag, Switch, flag, section_flags
from encore_ray.cli.screen import Screen, ScreenFlags
from encore_ray.config import ClusterOptions, RefineOptions
from encore_ray.console.ending import Ending, NextStep, next_step
from encore_ray.errors import ConfigError
from encore_ray.storage import Folder, absolute, require_paths


@dataclass(frozen=True, kw_only=True)
class Refine:
    """Fit energies to rewards or scores (EBRM), or move each of them to where its energy is highest.

    Needs embeddings: score with --keep-embeddings, which a run that is scored already can add.

    fit writes refine/, with a report of what it buys next to the base reward and a plain refit.

    apply writes refined/, with a calibrated probability of each label.

    fit --per-rule takes the scores of each rule instead; apply then writes refined_scores/, too.

    Example: encore-ray refine fit --run runs/first
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
    screen: ScreenFlags = Screen()
    cluster: Annotated[ClusterOptions, section_flags(ClusterOptions)]

    def main(self, console: Console) -> Ending:
        from encore_ray.schema import EMBEDDINGS_DIR, REWARDS_DIR, SCORES_DIR

        self._check()
        folder = Folder(absolute(self.run))
        fitted_to = {"fit": [SCORES_DIR if self.per_rule else REWARDS_DIR], "apply": []}
        require_paths([folder.path(name) for name in (*fitted_to[self.step], EMBEDDINGS_DIR)])
        from encore_ray.cli.command import open_command
        from encore_ray.console.sentences import tell_refinement
        from encore_ray.console.show import show_refined_rules, show_refinement
        from encore_ray.passes.refine.apply import refine_all
        from encore_ray.passes.refine.energies import energy_settings
        from encore_ray.passes.refine.fit_reward import FitReward
        from encore_ray.passes.refine.fit_rules import FitRules
        from encore_ray.passes.report import write_report

        with open_command(folder.uri, cluster=self.cluster, console=console, overwrite=self.overwrite) as run:
            if self.step == "apply":
                counts = refine_all(run)
                write_report(run)
                return self._applied(counts, run.folder, console)
            options = self.options
            settings = energy_settings(options)
            if self.per_rule:
                by_rule = run.do(FitRules(settings, options.cpus, options.gpus))
                write_report(run)
                show_refined_rules(by_rule, console=console)
                return Ending(tell_refinement(by_rule), self._next(), by_rule.content)
            report = run.do(FitReward(settings, options.noise, options.cpus, options.gpus))
            write_report(run)
        show_refinement(report, console=console)
        return Ending(tell_refinement(report), self._next(), report.content)

    def _next(self) -> list[NextStep]:
        """After a fit."""
        return [next_step("move every reward to where its energy is highest", "refine", "apply", "--run", self.run)]

    def _applied(self, counts: Mapping[str, Mapping[str, int]], folder: Folder, console: Console) -> Ending:
        from encore_ray.artifacts import LabelErrors
        from encore_ray.console.sentences import tell_refined
        from encore_ray.console.show import show_counts, show_label_errors
        from encore_ray.schema import LABEL_ERRORS_FILE, REFINED_DIR

        errors = LabelErrors.read(folder) if REFINED_DIR in counts else None
        for name, each in counts.items():
            console.print(f"{name}/: ", end="", highlight=False)
            show_counts(each, console=console)
        steps = []
        if errors is not None:
            show_label_errors(errors, console=console)
            refined = f"refined={Folder(self.run).path(REFINED_DIR)}"
            steps = [
                next_step("compare them with the rewards", "compare", "--run", self.run, "--beside", refined),
                next_step("see the labels that are likely wrong", "inspect", Folder(self.run).path(LABEL_ERRORS_FILE)),
            ]
        else:
            steps = [
                next_step("look at the refined scores", "inspect", *(Folder(self.run).path(name) for name in counts))
            ]
        return Ending(tell_refined(counts, errors), steps, {"counts": counts})

    def _check(self) -> None:
        """Refuse what does not go together."""
        if self.per_rule and (self.options.noise or self.step == "apply"):
            what = "--noise" if self.options.noise else "apply, which refines whatever energies are fitted to"
            raise ConfigError(f"refine: --per-rule does not go with {what}.")
