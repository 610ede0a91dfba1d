"""The weigh command: weights from scores."""

import os
from dataclasses import dataclass
from typing import Annotated

from rich.console import Console

from encore_ray.cli.flags import (
    OptionalPathFlag,
    Switch,
    option_words,
    section_flags,
)
from encore_ray.cli.scores import ScoreColumnFlags, open_scores
from encore_ray.cli.screen import Screen, ScreenFlags
from encore_ray.config import ClusterOptions, WeighOptions
from encore_ray.config.sources import keep_options, options_of_run, read_rules, section_defaults
from encore_ray.config.weighing import OF_ONE_SCHEME, not_taken, that_take
from encore_ray.console.ending import Ending, NextStep, next_step
from encore_ray.console.steps import replacing
from encore_ray.errors import ConfigError
from encore_ray.shell import again, option
from encore_ray.storage import Folder, absolute, require_paths


@dataclass(frozen=True, kw_only=True)
class Weigh:
    """Turn the rating entropies of all rules into weights: rules with high entropy count less (ENCORE).

    Scheme consensus weighs by how the rules agree, and tells without labels what drives entropy.

    Other schemes weigh equally, at random, by one rule, by variance or by labels.

    In rules.yaml a rule may have points, a factor on its weight, and a veto, beyond which it loses.

    Example: encore-ray weigh --run runs/first --temperature 1
    """

    run: OptionalPathFlag = None
    """Run folder, after `score`. Or give --scores and --output."""
    scores: OptionalPathFlag = None
    """Folder or file of scores, ours or made elsewhere: Parquet, CSV, TSV, Arrow or JSONL."""
    rules: OptionalPathFlag = None
    """rules.yaml of scores made elsewhere. Default: the one beside them, else one read off them, to be corrected."""
    output: OptionalPathFlag = None
    """The weights file. Default: weights.json in the run folder."""
    overwrite: Switch = False
    """Replace other weights that are there, instead of refusing."""
    columns: ScoreColumnFlags
    options: Annotated[WeighOptions, section_flags(WeighOptions)]
    screen: ScreenFlags = Screen()
    cluster: Annotated[ClusterOptions, section_flags(ClusterOptions)]

    def main(self, console: Console) -> Ending:
        from encore_ray.cli.command import explicit_paths, open_command, refuse_over_inputs
        from encore_ray.schema import SCORES_DIR, WEIGHTS_FILE

        _refuse_not_taken(self.options, self.run)
        scores, output = explicit_paths("weigh", run=self.run, output=self.output, inputs={"scores": self.scores})
        rules_path = absolute(self.rules) if self.rules else None
        ratings = absolute(self.options.ratings) if self.options.ratings else None
        require_paths([scores or Folder(absolute(self.run or "")).path(SCORES_DIR), rules_path, ratings])
        if output is not None:
            read = {"scores": scores, "rules": rules_path, "ratings": ratings}
            refuse_over_inputs([output], read, instead=f"weighed/{WEIGHTS_FILE}")
        from encore_ray.artifacts import WeightsFile
        from encore_ray.console.sentences import tell_weights
        from encore_ray.console.show import show_weights
        from encore_ray.passes.weigh import Weigh as WeighPass

        folder, _, name = (output or Folder(absolute(self.run or "")).path(WEIGHTS_FILE)).rpartition("/")
        rules = read_rules(rules_path) if rules_path else None
        with open_command(
            folder or "/",
            cluster=self.cluster,
            console=console,
            overwrite=self.overwrite,
            options=self.options,
            journal=output is None,
        ) as run:
            with open_scores(run, scores, self.columns, rules) as table:
                weights = run.do(WeighPass(self.options, table.uri, table.rules, name))
            if self.run:
                keep_options(run.folder, self.options)
        shown = WeightsFile.of_weights(weights)
        show_weights(shown, console=console)
        steps = (
            [
                next_step("write the reward of every response by these weights", "compose", "--run", self.run),
                next_step("see whether another weighting is better on these pairs", "compare", "--run", self.run),
            ]
            if self.run
            else self._steps_with_paths()
        )
        return Ending(
            tell_weights(shown, self.output or Folder(self.run or "").path(WEIGHTS_FILE)),
            steps,
            shown.content,
            warnings=shown.warnings,
        )

    def _steps_with_paths(self) -> list[NextStep]:
        """With explicit paths."""
        from encore_ray.schema import COMPARISON_FILE, PLAN_FILE, REWARDS_DIR

        assert self.scores is not None and self.output is not None
        rules = ["--rules", self.rules] if self.rules else []
        scores = ["--scores", self.scores, *self.columns.words, *rules]
        folder = os.path.dirname(self.output)
        rewards, comparison = os.path.join(folder, REWARDS_DIR), os.path.join(folder, "comparison")
        options = option_words(self.options, without=OF_ONE_SCHEME)
        return [
            next_step(
                "write the reward of every response by these weights",
                *["compose", *scores, "--weights", self.output, "--output", rewards, *replacing(rewards, PLAN_FILE)],
            ),
            next_step(
                "see whether another weighting is better on these pairs",
                *["compare", *scores, "--output", comparison, *options, *replacing(comparison, COMPARISON_FILE)],
            ),
        ]


def _refuse_not_taken(options: WeighOptions, run: str | None) -> None:
    """ConfigError for an option that is given and would decide nothing, since the scheme does not look at it."""
    from encore_ray.schema import WEIGHTS_FILE

    folder = Folder(absolute(run)) if run else None
    usual = section_defaults(WeighOptions, run=options_of_run(WeighOptions, folder) if folder else None)
    own, plain = vars(options), vars(WeighOptions())
    given = [name for name in not_taken(options.scheme) if own[name] not in (getattr(usual, name), plain[name])]
    if not given:
        return
    takes = that_take(given[0])
    is_anew = folder is not None and folder.exists(WEIGHTS_FILE)
    line = again(scheme=takes[0], overwrite=True) if is_anew else again(scheme=takes[0])
    of = "the run's scheme" if run and options.scheme == usual.scheme else "scheme"
    raise ConfigError(
        f"{option(given[0])} is of scheme {', '.join(takes)}; {of}, {options.scheme}, does not look at it. Leave it "
        f"out, or weigh by one that does:\n  {line}"
    )
