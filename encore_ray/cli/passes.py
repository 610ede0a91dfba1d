"""The five passes as commands: in a run folder, or with explicit paths."""

from dataclasses import dataclass
from typing import Annotated, Any

from rich.console import Console

from encore_ray.cli.flags import OptionalPath, Path, Switch, check_bad_fraction, flag, section_flags
from encore_ray.config import ClusterOptions, PrepareOptions, ScoreOptions, TrackingOptions, WeighOptions
from encore_ray.config_sources import read_rules, resolve_model, section_defaults
from encore_ray.errors import ConfigError
from encore_ray.schema import PAIRS_DIR, REWARDS_DIR, SCORES_DIR, WEIGHTS_FILE
from encore_ray.storage import Folder, absolute, require_paths


@dataclass(frozen=True, kw_only=True)
class Prepare:
    """Read preference corpora into canonical pairs; rows that cannot be used go to quarantine."""

    input: Annotated[list[str], flag("PATH")]
    """Files, folders, globs or URLs (s3://, gs://, hf://datasets/owner/name/...)."""
    run: Path
    """Run folder."""
    overwrite: Switch = False
    """Start over where inputs or options have changed, instead of refusing."""
    options: Annotated[PrepareOptions, section_flags(PrepareOptions)]
    cluster: Annotated[ClusterOptions, section_flags(ClusterOptions)]

    def main(self, console: Console) -> None:
        from encore_ray.console.show import show_counts
        from encore_ray.corpora.sources import InputSpec, list_files

        files = list_files([InputSpec(absolute(path)) for path in self.input])
        with open_command_job(self, console, params={"inputs": self.input}) as job:
            job.see(files)
            prepared = job.prepare(files, self.options)
        show_counts(prepared.counts, console=console)


@dataclass(frozen=True, kw_only=True)
class Score:
    """Score all pairs of a run under the rules of a multi-head model, on the whole cluster."""

    run: Path
    """Run folder, after `prepare`."""
    model: Annotated[str, flag("PATH_OR_HUB_ID")]
    """Folder or hub id of the model."""
    rules: OptionalPath = None
    """rules.yaml, instead of the one that comes with the model."""
    max_bad_fraction: float = 0.01
    """Share of pairs without finite scores past which the pass fails."""
    overwrite: Switch = False
    """Start over where the model, its rules or options have changed, instead of refusing."""
    options: Annotated[ScoreOptions, section_flags(ScoreOptions)]
    cluster: Annotated[ClusterOptions, section_flags(ClusterOptions)]

    def main(self, console: Console) -> None:
        check_bad_fraction(self.max_bad_fraction)
        path = resolve_model(self.model)
        require_paths([Folder(absolute(self.run)).path(PAIRS_DIR), path])
        from encore_ray.console.show import show_counts
        from encore_ray.passes.scorers.model_plan import plan_model

        rules = read_rules(absolute(self.rules)) if self.rules else None
        with open_command_job(self, console, params={"model": path}) as job:
            model = plan_model(path, self.options, have=job.have, rules=rules)
            job.see(model_path=path)
            counts = job.score(model, max_bad_fraction=self.max_bad_fraction)
        show_counts(counts, console=console)


@dataclass(frozen=True, kw_only=True)
class Weigh:
    """Turn the rating entropies of all rules into weights: rules with high entropy count less (ENCORE).

    Other schemes weigh equally, at random, by one rule, by variance or by labels.
    """

    run: OptionalPath = None
    """Run folder, after `score`. Or give --scores and --output."""
    scores: OptionalPath = None
    """Folder or Parquet file of scores, ours or made elsewhere."""
    rules: OptionalPath = None
    """rules.yaml of scores made elsewhere."""
    output: OptionalPath = None
    """The weights file. Default: weights.json in the run folder."""
    overwrite: Switch = False
    """Replace other weights that are there, instead of refusing."""
    options: Annotated[WeighOptions, section_flags(WeighOptions)]
    cluster: Annotated[ClusterOptions, section_flags(ClusterOptions)]

    def main(self, console: Console) -> None:
        scores, output = explicit_paths(self, "scores")
        rules_path = absolute(self.rules) if self.rules else None
        require_paths([scores or Folder(absolute(self.run or "")).path(SCORES_DIR), rules_path])
        from encore_ray.artifacts import WeightsFile
        from encore_ray.console.show import show_weights

        target = (output.rpartition("/")[0] or "/", output.rpartition("/")[2]) if output else None
        with open_command_job(self, console, folder=target[0] if target else None) as job:
            job.see()
            weights = job.weigh(
                self.options,
                scores=scores,
                rules=read_rules(rules_path) if rules_path else None,
                output=(Folder(target[0]), target[1]) if target else None,
            )
        show_weights(WeightsFile.of_weights(weights), console=console)


@dataclass(frozen=True, kw_only=True)
class Compose:
    """Write the composed reward of every response and the margin of every pair."""

    run: OptionalPath = None
    """Run folder, after `weigh`. Or give --scores, --weights and --output."""
    scores: OptionalPath = None
    """Folder or Parquet file of scores."""
    weights: OptionalPath = None
    """weights.json. Default: that of the run folder."""
    rules: OptionalPath = None
    """rules.yaml of scores made elsewhere."""
    pairs: OptionalPath = None
    """pairs/ folder whose texts go beside the rewards; with --run it is the run's."""
    output: OptionalPath = None
    """Folder for the rewards. Default: rewards/ in the run folder."""
    overwrite: Switch = False
    """Start over where the folder holds rewards of other weights or scores."""
    cluster: Annotated[ClusterOptions, section_flags(ClusterOptions)]

    def main(self, console: Console) -> None:
        scores, output = explicit_paths(self, "scores", "weights")
        if self.run is not None and self.pairs is not None:
            raise ConfigError("compose takes --pairs with --scores; with --run it takes the run's own pairs.")
        run = Folder(absolute(self.run or ""))
        path = absolute(self.weights) if self.weights else run.path(WEIGHTS_FILE)
        pairs = absolute(self.pairs) if self.pairs else None
        rules_path = absolute(self.rules) if self.rules else None
        require_paths([scores or run.path(SCORES_DIR), path, pairs, rules_path])
        from encore_ray.composition.weigh.weights import Weights
        from encore_ray.console.show import show_counts
        from encore_ray.folder.pass_table import PassTable

        parent, _, name = path.rpartition("/")
        weights = Weights.from_dict(Folder(parent).read_json(name), where=path)
        table = PassTable(Folder(output), Folder(output), "compose") if output else None
        with open_command_job(self, console, folder=output) as job:
            job.see()
            counts = job.compose(
                weights,
                scores=scores,
                rules=read_rules(rules_path) if rules_path else None,
                output=table,
                pairs=pairs,
            )
        show_counts(counts, console=console)


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Count how often the composed reward agrees with the human label, in all and per subset."""

    run: OptionalPath = None
    """Run folder, after `compose`. Or give --rewards and --output."""
    rewards: OptionalPath = None
    """Folder of rewards."""
    output: OptionalPath = None
    """Folder for metrics.json and report/. Default: the run folder."""
    cluster: Annotated[ClusterOptions, section_flags(ClusterOptions)]

    def main(self, console: Console) -> None:
        rewards, output = explicit_paths(self, "rewards")
        require_paths([rewards or Folder(absolute(self.run or "")).path(REWARDS_DIR)])
        from encore_ray.artifacts import WeightsFile
        from encore_ray.console.show import show_metrics

        with open_command_job(self, console, folder=output) as job:
            job.see()
            metrics = job.evaluate(rewards=rewards, output=Folder(output) if output else None)
            job.report(weights=WeightsFile.read(Folder(rewards)) if rewards else None)
        show_metrics(metrics, console=console)


def open_command_job(
    command: Any, console: Console, *, folder: str | None = None, params: dict[str, Any] | None = None
) -> Any:
    """The job of a single command: in its run folder, or in the folder of its explicit output."""
    from encore_ray.job import open_job

    options = getattr(command, "options", None)
    return open_job(
        Folder(folder or absolute(command.run)),
        cluster_options=command.cluster,
        tracking=section_defaults(TrackingOptions),
        params={**(params or {}), **(options.model_dump(mode="json") if options else {})},
        overwrite=getattr(command, "overwrite", False),
        console=console,
        journal=folder is None,
    )


def explicit_paths(command: Any, *inputs: str) -> tuple[str | None, str | None]:
    """The input table and the output of a command that takes --run or explicit paths."""
    given = [name for name in inputs if getattr(command, name)]
    name = type(command).__name__.lower()
    if command.run is None and (len(given) < len(inputs) or command.output is None):
        flags = ", ".join(f"--{flag}" for flag in inputs)
        raise ConfigError(f"{name} needs --run, or {flags} and --output.")
    if command.run is not None and (getattr(command, inputs[0]) or command.output):
        raise ConfigError(f"{name} takes --run, or --{inputs[0]} with --output, not both.")
    table, output = getattr(command, inputs[0]), command.output
    return (absolute(table) if table else None), (absolute(output) if output else None)
