"""The command that chooses the rules which each pair deserves."""

from dataclasses import dataclass
from typing import Annotated, Literal

from rich.console import Console

from encore_ray.cli.flags import Path, Switch, check_bad_fraction, flag, section_flags
from encore_ray.config import ClusterOptions, ScoreOptions
from encore_ray.config_sources import resolve_model
from encore_ray.errors import ConfigError
from encore_ray.schema import PAIRS_DIR, SCORES_DIR
from encore_ray.storage import Folder, absolute, require_paths


@dataclass(frozen=True, kw_only=True)
class Select:
    """Choose the rules that each pair deserves, and label it by what they say (RuleAdapter).

    They are those whose scores tell its two responses most apart, equal ones by rule order.

    Where `rate --relevance` has rated how much a rule matters to the prompt, that is added.

    Or those that a rule adapter, which has learnt this from texts, finds most probable: without scores.

    The label is the sum of their scores, where there are some; ties stay ties.

    `compare` then shows what the selected rules get right.
    """

    run: Path
    """Run folder, after `score` or `rate`; with an adapter `prepare` will do."""
    adapter: Annotated[str | None, flag("PATH_OR_HUB_ID")] = None
    """Folder or hub id of a rule adapter. Its probabilities are kept in the run, in relevance/."""
    by: Annotated[Literal["auto", "scores"], flag()] = "auto"
    """What chooses without an adapter: auto counts a judge's relevance where there is one, scores leaves it out."""
    num_rules: Annotated[int, flag("R")] = 5
    """Rules a pair: just so many are selected, equal ones by rule order."""
    score_range: Annotated[Literal["declared", "unit", "raw"], flag()] = "declared"
    """Rules of different range: declared refuses, unit maps to [0, 1], raw mixes."""
    max_bad_fraction: float = 0.01
    """Share of pairs that an adapter cannot read past which the command fails."""
    overwrite: Switch = False
    """Start over where scores, rules, adapter or options have changed, instead of refusing."""
    options: Annotated[ScoreOptions, section_flags(ScoreOptions, without=["keep_embeddings"])]
    cluster: Annotated[ClusterOptions, section_flags(ClusterOptions)]

    def main(self, console: Console) -> None:
        check_bad_fraction(self.max_bad_fraction)
        if self.num_rules < 1:
            raise ConfigError(f"--num-rules {self.num_rules}: expected 1 or more.")
        if self.adapter and self.by == "scores":
            raise ConfigError("--by scores excludes --adapter: an adapter chooses by its relevance.")
        path = resolve_model(self.adapter) if self.adapter else None
        folder = Folder(absolute(self.run))
        require_paths([folder.path(PAIRS_DIR if path else SCORES_DIR), path])
        from encore_ray.cli.command import open_command
        from encore_ray.console.show import show_counts, show_selection
        from encore_ray.passes.scorers.scoring_cost import without_times
        from encore_ray.passes.selection.select import Select as SelectPass
        from encore_ray.passes.selection.select import Selecting

        how = Selecting(self.num_rules, self.score_range, by="adapter" if path else self.by)
        with open_command(
            folder.uri,
            cluster=self.cluster,
            console=console,
            overwrite=self.overwrite,
            options=self.options,
            params={**vars(how), "adapter": path},
        ) as run:
            if path:
                from encore_ray.passes.selection.relate import Relate, adapter_scorer, refuse_before_reading
                from encore_ray.passes.selection.relevance import plan_adapter

                model = plan_adapter(path, self.options, resources=run.resources)
                refuse_before_reading(run, how, model)
                related = run.do(Relate(adapter_scorer(model), self.max_bad_fraction))
                show_counts(without_times(related), console=console)
            counts = run.do(SelectPass(how))
        show_selection(counts, console=console)
