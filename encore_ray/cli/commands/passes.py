"""The passes from a corpus to metrics as commands: in a run folder, or with explicit paths."""

import contextlib
import os
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
from encore_ray.cli.inputs import InputColumnFlags, InputColumns
from encore_ray.cli.scores import ScoreColumnFlags, open_rewards, open_scores
from encore_ray.cli.screen import Screen, ScreenFlags
from encore_ray.config import ClusterOptions, PrepareOptions, ScoreOptions, WeighOptions
from encore_ray.config.sources import keep_options, read_rules, resolve_model
from encore_ray.console.ending import Ending, NextStep, next_step
from encore_ray.console.steps import MODEL, export_step
from encore_ray.errors import ConfigError
from encore_ray.storage import Folder, absolute, require_paths
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


@dataclass(frozen=True, kw_only=True)
class Score:
    """Score all pairs of a run under the rules of a multi-head model, on the whole cluster.

    Example: encore-ray score --run runs/first --model owner/model
    """

    run: PathFlag
    """Run folder, after `prepare`."""
    model: Annotated[str, flag("PATH_OR_HUB_ID")]
    """Folder or hub id of the model."""
    rules: OptionalPathFlag = None
    """rules.yaml, instead of the one that comes with the model."""
    max_bad_fraction: float = field(default_factory=default_bad_fraction)
    """Share of pairs without finite scores past which the pass fails."""
    overwrite: Switch = False
    """Start over where the model, its rules or options have changed, instead of refusing."""
    options: Annotated[ScoreOptions, section_flags(ScoreOptions)]
    screen: ScreenFlags = Screen()
    cluster: Annotated[ClusterOptions, section_flags(ClusterOptions)]

    def main(self, console: Console) -> Ending:
        from encore_ray.schema import PAIRS_DIR

        check_max_bad_fraction(self.max_bad_fraction)
        path = resolve_model(self.model)
        require_paths([Folder(absolute(self.run)).path(PAIRS_DIR), path])
        from encore_ray.cli.command import open_command
        from encore_ray.console.scored import end_scored
        from encore_ray.folder.spec import SCORE
        from encore_ray.passes.score import Score as ScorePass
        from encore_ray.passes.scorers.by_model import score_by_model
        from encore_ray.passes.scorers.model.plan import plan_model

        rules = read_rules(absolute(self.rules)) if self.rules else None
        with open_command(
            absolute(self.run),
            cluster=self.cluster,
            console=console,
            overwrite=self.overwrite,
            options=self.options,
            params={"model": path},
        ) as run:
            model = plan_model(path, self.options, resources=run.resources_for(SCORE), rules=rules)
            scored = run.do(ScorePass(score_by_model(model), self.max_bad_fraction))
        return end_scored("scored", self.run, scored, console=console)


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
        from encore_ray.cli.command import explicit_paths, open_command
        from encore_ray.schema import SCORES_DIR, WEIGHTS_FILE

        scores, output = explicit_paths("weigh", run=self.run, output=self.output, inputs={"scores": self.scores})
        rules_path = absolute(self.rules) if self.rules else None
        ratings = absolute(self.options.ratings) if self.options.ratings else None
        require_paths([scores or Folder(absolute(self.run or "")).path(SCORES_DIR), rules_path, ratings])
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
        from encore_ray.schema import REWARDS_DIR

        assert self.scores is not None and self.output is not None
        rules = ["--rules", self.rules] if self.rules else []
        scores = ["--scores", self.scores, *self.columns.words, *rules]
        folder = os.path.dirname(self.output)
        return [
            next_step(
                "write the reward of every response by these weights",
                *["compose", *scores, "--weights", self.output, "--output", os.path.join(folder, REWARDS_DIR)],
            ),
            next_step(
                "see whether another weighting is better on these pairs",
                *["compare", *scores, "--output", os.path.join(folder, "comparison")],
            ),
        ]


@dataclass(frozen=True, kw_only=True)
class Compose:
    """Write the composed reward of every response and the margin of every pair.

    Example: encore-ray compose --run runs/first
    """

    run: OptionalPathFlag = None
    """Run folder, after `weigh`. Or give --scores, --weights and --output."""
    scores: OptionalPathFlag = None
    """Folder or file of scores, ours or made elsewhere: Parquet, CSV, TSV, Arrow or JSONL."""
    weights: OptionalPathFlag = None
    """weights.json. Default: that of the run folder."""
    rules: OptionalPathFlag = None
    """rules.yaml of scores made elsewhere. Default: the one beside them, else the rules of the weights."""
    pairs: OptionalPathFlag = None
    """pairs/ folder whose texts go beside the rewards; with --run it is the run's."""
    output: OptionalPathFlag = None
    """Folder for the rewards. Default: rewards/ in the run folder."""
    overwrite: Switch = False
    """Start over where the folder holds rewards of other weights or scores."""
    columns: ScoreColumnFlags
    screen: ScreenFlags = Screen()
    cluster: Annotated[ClusterOptions, section_flags(ClusterOptions)]

    def main(self, console: Console) -> Ending:
        from encore_ray.cli.command import explicit_paths, open_command, require_made
        from encore_ray.schema import REWARDS_DIR, SCORES_DIR, WEIGHTS_FILE

        inputs = {"scores": self.scores, "weights": self.weights}
        scores, output = explicit_paths("compose", run=self.run, output=self.output, inputs=inputs)
        if self.run is not None and self.pairs is not None:
            raise ConfigError("compose takes --pairs with --scores; with --run it takes the run's own pairs.")
        folder = Folder(absolute(self.run or ""))
        path = absolute(self.weights) if self.weights else folder.path(WEIGHTS_FILE)
        pairs = absolute(self.pairs) if self.pairs else None
        rules_path = absolute(self.rules) if self.rules else None
        there = ["--scores", str(self.scores), *self.columns.words, "--output", str(self.weights)]
        weigh = ["weigh", *(["--run", self.run] if self.run else there)]
        require_made(path, *weigh, beside=[scores or folder.path(SCORES_DIR), pairs, rules_path])
        from encore_ray.artifacts import read_weights
        from encore_ray.console.sentences import tell_composed
        from encore_ray.console.show import show_counts
        from encore_ray.folder.driver.lock import only_driver
        from encore_ray.passes.compose import Compose as ComposePass

        parent, _, name = path.rpartition("/")
        rules = read_rules(rules_path) if rules_path else None
        with contextlib.ExitStack() as held:
            if output is not None:  # a table of units, as in a run folder, which open_command holds
                held.enter_context(only_driver(Folder(output), timeout_s=self.cluster.lock_timeout_s))
            run = held.enter_context(
                open_command(
                    output or folder.uri,
                    cluster=self.cluster,
                    console=console,
                    overwrite=self.overwrite,
                    journal=output is None,
                )
            )
            weights = read_weights(Folder(parent), name)  # once nobody else writes there
            table = held.enter_context(
                open_scores(run, scores, self.columns, rules, known=[rule.name for rule in weights.rules])
            )
            counts = run.do(ComposePass(weights, table.uri, table.rules, pairs))
        show_counts(counts, console=console)
        rewards = self.output or Folder(self.run or "").path(REWARDS_DIR)
        named = (
            ["--run", self.run] if self.run else ["--rewards", rewards, "--output", f"{rewards.rstrip('/')}-metrics"]
        )
        return Ending(
            tell_composed(counts, rewards),
            [
                next_step("count how often the rewards agree with the labels", "evaluate", *named),
                next_step("look at what they hold", "inspect", rewards),
            ],
            {"rewards": output or run.path(REWARDS_DIR), "counts": counts},
        )


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Count how often the composed reward agrees with the human label, in all and per subset.

    Example: encore-ray evaluate --run runs/first
    """

    run: OptionalPathFlag = None
    """Run folder, after `compose`. Or give --rewards and --output."""
    rewards: OptionalPathFlag = None
    """Folder of rewards, or a table of them from elsewhere: Parquet, CSV, TSV, Arrow or JSONL."""
    weights: OptionalPathFlag = None
    """weights.json of rewards from elsewhere. Default: the one beside them."""
    output: OptionalPathFlag = None
    """Folder for metrics.json and report/. Default: the run folder."""
    columns: ScoreColumnFlags
    screen: ScreenFlags = Screen()
    cluster: Annotated[ClusterOptions, section_flags(ClusterOptions)]

    def main(self, console: Console) -> Ending:
        from encore_ray.cli.command import explicit_paths, open_command, require_made
        from encore_ray.schema import METRICS_FILE, REWARDS_DIR

        rewards, output = explicit_paths("evaluate", run=self.run, output=self.output, inputs={"rewards": self.rewards})
        if self.run:
            require_made(Folder(absolute(self.run)).path(REWARDS_DIR), "compose", "--run", self.run)
        require_paths([rewards, absolute(self.weights) if self.weights else None])
        from encore_ray.console.sentences import tell_metrics
        from encore_ray.console.show import show_metrics
        from encore_ray.passes.evaluate import Evaluate as EvaluatePass
        from encore_ray.passes.report import write_report

        folder = output or absolute(self.run or "")
        with open_command(folder, cluster=self.cluster, console=console, journal=output is None) as run:
            with open_rewards(run, rewards, self.columns, self.weights) as table:
                made = run.do(EvaluatePass(table))
            write_report(run, weights=made.weights if rewards else None)
        show_metrics(made.metrics, console=console)
        steps = [
            next_step("look at all figures again", "inspect", Folder(self.output or self.run or "").path(METRICS_FILE)),
            next_step("see all of it in the browser", "report", self.output or self.run or "", "--open"),
        ]
        if self.run:
            steps = [
                next_step("see whether another weighting is better on these pairs", "compare", "--run", self.run),
                export_step(self.run),
            ]
        return Ending(tell_metrics(made.metrics, str(self.output or self.run)), steps, made.metrics.content)
