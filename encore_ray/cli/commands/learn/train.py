"""The command that trains all weights of a model, on GPUs or on a CPU."""

from dataclasses import dataclass
from typing import Annotated

from rich.console import Console

from encore_ray.cli.flags import OptionalPathFlag, PathFlag, Switch, flag, section_flags
from encore_ray.cli.screen import Screen, ScreenFlags
from encore_ray.config import ClusterOptions, TrainOptions
from encore_ray.config.sources import read_rules, resolve_model
from encore_ray.console.ending import Ending, next_step
from encore_ray.console.steps import model_steps
from encore_ray.storage import Folder, absolute, require_paths


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train a multi-head model on ratings, a reward model on preferences, or a rule adapter.

    On Ray Train: the workers share the model (FSDP). A fifth of the prompts is held out to evaluate it.

    The same command again resumes, or shows the model that is there.

    Example: encore-ray train --run run --model owner/model --objective bradley-terry --output model
    """

    run: PathFlag
    """Run folder, after `prepare`."""
    model: Annotated[str, flag("PATH_OR_HUB_ID")]
    """Folder or hub id of the base model; one of ours with the same rules goes on from its heads."""
    output: PathFlag
    """Folder for the model, rules.yaml and train.json; all workers must see it."""
    rules: OptionalPathFlag = None
    """rules.yaml of the ratings, for regression and multihead-bradley-terry."""
    labels: OptionalPathFlag = None
    """Table of the same pairs with ratings, as scores/; or the word selection: that of the run. Default: pairs/."""
    overwrite: Switch = False
    """Start over where rows, base model or options have changed, instead of refusing."""
    options: Annotated[TrainOptions, section_flags(TrainOptions)]
    screen: ScreenFlags = Screen()
    cluster: Annotated[ClusterOptions, section_flags(ClusterOptions)]

    def main(self, console: Console) -> Ending:
        from encore_ray.schema import PAIRS_DIR

        folder = Folder(absolute(self.run))
        base, output = resolve_model(self.model), absolute(self.output)
        rules_path = absolute(self.rules) if self.rules else None
        labels = self._labels(folder)
        require_paths([folder.path(PAIRS_DIR), base, rules_path, labels])
        from encore_ray.cli.command import open_command
        from encore_ray.console.sentences import tell_training
        from encore_ray.console.show import show_training
        from encore_ray.passes.train.plan import check_rules, require_place

        rules = read_rules(rules_path) if rules_path else None
        check_rules(self.options, rules)
        require_place(output, base=base)
        from encore_ray.passes.train.training import Train as TrainPass  # which loads Ray

        params = {"model": base, "rules": rules_path, "labels": labels}
        with open_command(
            folder.uri,
            cluster=self.cluster,
            console=console,
            overwrite=self.overwrite,
            options=self.options,
            params=params,
        ) as run:
            content = run.do(TrainPass(base, self.options, output, rules, labels))
        show_training(content, console=console)
        steps = model_steps(self.output, self.run)
        if self.options.objective == "multilabel":
            use = next_step("choose each pair's rules by it", "select", "--run", self.run, "--adapter", self.output)
            steps = [use, steps[-1]]
        return Ending(tell_training(content, self.output), steps, {"model": output, **content.content})

    def _labels(self, run: Folder) -> str | None:
        from encore_ray.schema import SELECTION_DIR

        if self.labels == SELECTION_DIR or (self.labels is None and self.options.objective == "multilabel"):
            return run.path(SELECTION_DIR)
        return absolute(self.labels) if self.labels else None
