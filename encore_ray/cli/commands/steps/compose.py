"""The compose command: a reward for each response."""

import contextlib
from dataclasses import dataclass
from typing import Annotated

from rich.console import Console

from encore_ray.cli.flags import (
    OptionalPathFlag,
    Switch,
    section_flags,
)
from encore_ray.cli.scores import ScoreColumnFlags, open_scores
from encore_ray.cli.screen import Screen, ScreenFlags
from encore_ray.config import ClusterOptions
from encore_ray.config.sources import read_rules
from encore_ray.console.ending import Ending, next_step
from encore_ray.errors import ConfigError
from encore_ray.storage import Folder, absolute


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
        from encore_ray.cli.command import explicit_paths, open_command, refuse_over_inputs, require_made
        from encore_ray.schema import DATA_DIR, REWARDS_DIR, SCORES_DIR, WEIGHTS_FILE

        inputs = {"scores": self.scores, "weights": self.weights}
        scores, output = explicit_paths("compose", run=self.run, output=self.output, inputs=inputs)
        if self.run is not None and self.pairs is not None:
            raise ConfigError("compose takes --pairs with --scores; with --run it takes the run's own pairs.")
        folder = Folder(absolute(self.run or ""))
        path = absolute(self.weights) if self.weights else folder.path(WEIGHTS_FILE)
        pairs = absolute(self.pairs) if self.pairs else None
        rules_path = absolute(self.rules) if self.rules else None
        there = ["--scores", str(self.scores), *self.columns.words, "--output", str(self.weights)]
        there += ["--rules", self.rules] if self.rules else []
        weigh = ["weigh", *(["--run", self.run] if self.run else there)]
        require_made(path, *weigh, beside=[scores or folder.path(SCORES_DIR), pairs, rules_path])
        if output is not None:
            read = {"scores": scores, "weights": path, "rules": rules_path, "pairs": pairs}
            made = [Folder(output).path(name) for name in (WEIGHTS_FILE, DATA_DIR)]
            refuse_over_inputs(made, read, instead=REWARDS_DIR)
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
