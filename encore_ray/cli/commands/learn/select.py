"""The command that chooses the rules which each pair deserves."""

from dataclasses import dataclass, field
from typing import Annotated

from rich.console import Console

from encore_ray.cli.flags import PathFlag, Switch, check_max_bad_fraction, default_bad_fraction, flag, section_flags
from encore_ray.cli.screen import Screen, ScreenFlags
from encore_ray.config import ClusterOptions, ScoreOptions, SelectOptions
from encore_ray.config.sources import keep_options, resolve_model
from encore_ray.console.ending import Ending, next_step
from encore_ray.errors import ConfigError
from encore_ray.storage import Folder, absolute, require_paths


@dataclass(frozen=True, kw_only=True)
class Select:
    """Choose the rules that each pair deserves, and label it by what they say (RuleAdapter).

    They are those whose scores tell its two responses most apart, equal ones by rule order.

    Where `rate --relevance` has rated how much a rule matters to the prompt, that is added.

    Or those that a rule adapter, which has learnt this from texts, finds most probable: without scores.

    The label is the sum of their scores, where there are some; ties stay ties.

    `compare` then shows what the selected rules get right.

    Example: encore-ray select --run runs/first --num-rules 3
    """

    run: PathFlag
    """Run folder, after `score` or `rate`; with an adapter `prepare` will do."""
    adapter: Annotated[str | None, flag("PATH_OR_HUB_ID")] = None
    """Folder or hub id of a rule adapter. Its probabilities are kept in the run, in relevance/."""
    max_bad_fraction: float = field(default_factory=default_bad_fraction)
    """Share of pairs that an adapter cannot read past which the command fails."""
    overwrite: Switch = False
    """Start over where scores, rules, adapter or options have changed, instead of refusing."""
    select: Annotated[SelectOptions, section_flags(SelectOptions)]
    options: Annotated[ScoreOptions, section_flags(ScoreOptions, without=["keep_embeddings"])]
    screen: ScreenFlags = Screen()
    cluster: Annotated[ClusterOptions, section_flags(ClusterOptions)]

    def main(self, console: Console) -> Ending:
        from encore_ray.schema import PAIRS_DIR, SCORES_DIR, SELECTION_DIR

        check_max_bad_fraction(self.max_bad_fraction)
        if self.adapter and self.select.by == "scores":
            raise ConfigError("--by scores excludes --adapter: an adapter chooses by its relevance.")
        path = resolve_model(self.adapter) if self.adapter else None
        folder = Folder(absolute(self.run))
        require_paths([folder.path(PAIRS_DIR if path else SCORES_DIR), path])
        from encore_ray.cli.command import open_command
        from encore_ray.console.sentences import tell_selected
        from encore_ray.console.show import show_counts, show_selection
        from encore_ray.folder.spec import RELEVANCE
        from encore_ray.passes.scorers.scoring_cost import without_times
        from encore_ray.passes.selection.select import Select as SelectPass
        from encore_ray.passes.selection.select import SelectionMethod

        method = SelectionMethod.of(self.select, by_adapter=path is not None)
        with open_command(
            folder.uri,
            cluster=self.cluster,
            console=console,
            overwrite=self.overwrite,
            options=self.options,
            params={**vars(method), "adapter": path},
        ) as run:
            if path:
                from encore_ray.passes.selection.relate import Relate, adapter_scorer, refuse_before_reading
                from encore_ray.passes.selection.relevance import plan_adapter

                model = plan_adapter(path, self.options, resources=run.resources_for(RELEVANCE))
                refuse_before_reading(run, method, model)
                related = run.do(Relate(adapter_scorer(model), self.max_bad_fraction))
                show_counts(without_times(related), console=console)
            counts = run.do(SelectPass(method))
            keep_options(run.folder, self.select)
        show_selection(counts, console=console)
        export = ["export", "--run", self.run, "--labels", "selection", "--output", f"{self.run.rstrip('/')}-selected"]
        return Ending(
            tell_selected(counts, Folder(self.run).path(SELECTION_DIR)),
            [
                next_step("see how often they agree with the labels", "compare", "--run", self.run),
                next_step("write the pairs in the direction that they give them", *export),
            ],
            {"selection": run.path(SELECTION_DIR), "counts": counts},
        )
