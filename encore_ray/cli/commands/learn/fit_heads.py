"""The command that makes a multi-head reward model from labels, in minutes and without a GPU."""

from dataclasses import dataclass, field
from typing import Annotated

from rich.console import Console

from encore_ray.cli.flags import (
    OptionalPathFlag,
    PathFlag,
    Switch,
    check_max_bad_fraction,
    default_bad_fraction,
    flag,
    section_flags,
)
from encore_ray.cli.screen import Screen, ScreenFlags
from encore_ray.config import ClusterOptions, FitHeadsOptions, ScoreOptions
from encore_ray.config.sources import read_rules, resolve_model
from encore_ray.console.ending import Ending
from encore_ray.console.steps import model_steps
from encore_ray.storage import Folder, absolute, require_paths


@dataclass(frozen=True, kw_only=True)
class FitHeads:
    """Fit one linear head a rule to labels, on the embeddings of a frozen model, for `score` to load.

    Ridge regression for rules with link identity, logistic regression for link sigmoid.

    Penalties are chosen by cross-validation; figures are those of prompts that a head has not seen.

    The same command again resumes, or shows the heads that are there.

    Example: encore-ray fit-heads --run run --model owner/model --rules rules.yaml --output heads
    """

    run: PathFlag
    """Run folder, after `prepare`. The embeddings are kept in it, in features/."""
    model: Annotated[str, flag("PATH_OR_HUB_ID")]
    """Folder or hub id of the backbone: any transformers model with a tokenizer."""
    rules: PathFlag
    """rules.yaml of the labels. Columns chosen__RULE and rejected__RULE, or RULE of single responses, hold them."""
    output: PathFlag
    """Folder for the model, rules.yaml and fit.json."""
    labels: OptionalPathFlag = None
    """Table of the same pairs that has the labels, as scores/ by a judge. Default: pairs/ of the run."""
    max_bad_fraction: float = field(default_factory=default_bad_fraction)
    """Share of pairs without finite embeddings past which the command fails."""
    overwrite: Switch = False
    """Start over where the model or options have changed, and replace fitted heads that are there."""
    heads: Annotated[FitHeadsOptions, section_flags(FitHeadsOptions)]
    options: Annotated[ScoreOptions, section_flags(ScoreOptions)]
    screen: ScreenFlags = Screen()
    cluster: Annotated[ClusterOptions, section_flags(ClusterOptions)]

    def main(self, console: Console) -> Ending:
        from encore_ray.schema import PAIRS_DIR

        check_max_bad_fraction(self.max_bad_fraction)
        path, output = resolve_model(self.model), absolute(self.output)
        rules_path = absolute(self.rules)
        labels = absolute(self.labels) if self.labels else None
        require_paths([Folder(absolute(self.run)).path(PAIRS_DIR), path, rules_path, labels])
        from encore_ray.cli.command import open_command
        from encore_ray.console.sentences import tell_heads
        from encore_ray.console.show import show_heads
        from encore_ray.folder.spec import FEATURES
        from encore_ray.passes.heads.features import plan_features
        from encore_ray.passes.heads.fit_heads import embed_and_fit, require_place
        from encore_ray.passes.heads.map_reduce_fit import check_fittable

        rules = read_rules(rules_path)
        check_fittable(rules)
        require_place(output, model=path)
        params = {"model": path, "rules": rules_path, "labels": labels, **self.heads.model_dump()}
        with open_command(
            absolute(self.run),
            cluster=self.cluster,
            console=console,
            overwrite=self.overwrite,
            options=self.options,
            params=params,
        ) as run:
            model = plan_features(
                path,
                self.options,
                pooling=self.heads.pooling,
                reads=self.heads.reads,
                resources=run.resources_for(FEATURES),
            )
            fit = embed_and_fit(run, model, rules, labels=labels, output=output, max_bad_fraction=self.max_bad_fraction)
        show_heads(fit, console=console)
        return Ending(
            tell_heads(fit, self.output),
            model_steps(self.output, self.run),
            {"model": output, **fit.content},
        )
