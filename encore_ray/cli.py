"""The command line: one class a command, its fields are the flags, its docstring is the help.

Heavy libraries load inside the commands, so that `--help` and mistakes answer at once.
"""

import logging
import sys
import traceback
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console
from rich.logging import RichHandler

from encore_ray.config import ClusterOptions, PrepareOptions, ScoreOptions, TrackingOptions, WeighOptions
from encore_ray.config_sources import assigned_values, environment_values, load_config, resolve_model, section_defaults
from encore_ray.errors import ConfigError, EncoreError
from encore_ray.flags import flag, section_flags
from encore_ray.schema import PAIRS_DIR, REWARDS_DIR, SCORES_DIR, WEIGHTS_FILE
from encore_ray.storage import Folder, absolute, require_paths

INTERRUPTED, TERMINATED = 130, 143

Path = Annotated[str, flag("PATH")]
OptionalPath = Annotated[str | None, flag("PATH")]
Switch = Annotated[bool, flag()]


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Run the whole job on a planted corpus with a small model that is trained on the spot.

    Needs no download and no GPU; about three minutes on two cores.
    """

    folder: Path = "demo-run"
    """Where everything goes."""
    pairs: int = 4096
    """Number of planted preference pairs."""

    def main(self, console: Console) -> None:
        from encore_ray.demo import run_demo

        run_demo(Folder(absolute(self.folder)), num_pairs=self.pairs, console=console)


@dataclass(frozen=True, kw_only=True)
class Run:
    """Run a whole job: prepare, score, weigh, compose, evaluate. The same command again resumes it."""

    config: tyro.conf.Positional[Annotated[str, flag("CONFIG.yaml")]]
    """The job's YAML file; see README for its keys."""
    run: OptionalPath = None
    """Run folder, instead of the one in the file."""
    limit: Annotated[int | None, flag("N")] = None
    """Try the job on about so many pairs, then say how long and how much the whole will take."""
    overwrite: Switch = False
    """Redo what was made from other inputs, models, rules or options, instead of refusing."""
    set: Annotated[tyro.conf.UseAppendAction[list[str]], tyro.conf.arg(metavar="OPTION=VALUE")] = field(
        default_factory=list
    )
    """Any option of the file, as in --set weigh.temperature=1."""

    def main(self, console: Console) -> None:
        flags = assigned_values(self.set)
        if self.run is not None:
            flags["run"] = self.run
        config = load_config(self.config, flags=flags)
        from encore_ray.job import run_job
        from encore_ray.terminal import show_job
        from encore_ray.trial import run_trial

        if self.limit is not None:
            run_trial(config, limit=self.limit, console=console)
            return
        show_job(run_job(config, overwrite=self.overwrite, console=console), console=console)


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
        from encore_ray.corpora.sources import InputSpec, list_files
        from encore_ray.terminal import show_counts

        files = list_files([InputSpec(absolute(path)) for path in self.input])
        with _job(self, console, params={"inputs": self.input}) as job:
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
        path = resolve_model(self.model)
        require_paths([Folder(absolute(self.run)).path(PAIRS_DIR), path])
        from encore_ray.passes.score import plan_model
        from encore_ray.rules import RuleSet
        from encore_ray.terminal import show_counts

        rules = RuleSet.load(absolute(self.rules)) if self.rules else None
        with _job(self, console, params={"model": path}) as job:
            model = plan_model(path, self.options, have=job.have, rules=rules)
            job.see(model_path=path)
            counts = job.score(model, max_bad_fraction=self.max_bad_fraction)
        show_counts(counts, console=console)


@dataclass(frozen=True, kw_only=True)
class Weigh:
    """Turn the rating entropies of all rules into weights: rules with high entropy count less (ENCORE)."""

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
        scores, output = _explicit(self, "scores")
        rules_path = absolute(self.rules) if self.rules else None
        require_paths([scores or Folder(absolute(self.run or "")).path(SCORES_DIR), rules_path])
        from encore_ray.terminal import show_weights

        target = (output.rpartition("/")[0] or "/", output.rpartition("/")[2]) if output else None
        with _job(self, console, folder=target[0] if target else None) as job:
            job.see()
            weights = job.weigh(
                self.options,
                scores=scores,
                rules_path=rules_path,
                output=(Folder(target[0]), target[1]) if target else None,
            )
        show_weights(weights.to_dict(), console=console)


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
        scores, output = _explicit(self, "scores", "weights")
        if self.run is not None and self.pairs is not None:
            raise ConfigError("compose takes --pairs with --scores; with --run it takes the run's own pairs.")
        run = Folder(absolute(self.run or ""))
        path = absolute(self.weights) if self.weights else run.path(WEIGHTS_FILE)
        pairs = absolute(self.pairs) if self.pairs else None
        rules_path = absolute(self.rules) if self.rules else None
        require_paths([scores or run.path(SCORES_DIR), path, pairs, rules_path])
        from encore_ray.composition.weights import Weights
        from encore_ray.passes.units import PassTable
        from encore_ray.terminal import show_counts

        parent, _, name = path.rpartition("/")
        weights = Weights.from_dict(Folder(parent).read_json(name), where=path)
        table = PassTable(Folder(output), Folder(output), "compose") if output else None
        with _job(self, console, folder=output) as job:
            job.see()
            counts = job.compose(
                weights,
                scores=scores,
                rules_path=rules_path,
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
    """Folder for metrics.json and the figure. Default: the run folder."""
    cluster: Annotated[ClusterOptions, section_flags(ClusterOptions)]

    def main(self, console: Console) -> None:
        rewards, output = _explicit(self, "rewards")
        require_paths([rewards or Folder(absolute(self.run or "")).path(REWARDS_DIR)])
        from encore_ray.terminal import show_metrics

        with _job(self, console, folder=output) as job:
            job.see()
            metrics = job.evaluate(rewards=rewards, output=Folder(output) if output else None)
        show_metrics(metrics, console=console)


@dataclass(frozen=True, kw_only=True)
class Inspect:
    """Explain any artifact: a run, a table, weights.json, metrics.json, rules.yaml, a quarantine."""

    path: tyro.conf.Positional[Path]
    """File or folder."""

    def main(self, console: Console) -> None:
        from encore_ray.inspection import inspect_path

        inspect_path(absolute(self.path), console=console)


@dataclass(frozen=True, kw_only=True)
class Status:
    """Say how far a run is, from another terminal."""

    run: tyro.conf.Positional[Annotated[str, flag("RUN")]]
    """Run folder."""

    def main(self, console: Console) -> None:
        from encore_ray.passes.status import run_status
        from encore_ray.terminal import show_status

        show_status(run_status(Folder(absolute(self.run))), console=console)


@dataclass(frozen=True, kw_only=True)
class Track:
    """Deliver what a run recorded to MLflow, after a server was down or from a remote run folder.

    Safe to repeat: what has arrived is not sent again.
    """

    run: tyro.conf.Positional[Annotated[str, flag("RUN")]]
    """Run folder."""
    uri: Annotated[str | None, flag("URI")] = None
    """MLflow store. Default: MLFLOW_TRACKING_URI, else the one the run used."""

    def main(self, console: Console) -> None:
        from encore_ray.tracking import replay

        uri = self.uri or environment_values().get("tracking", {}).get("uri")
        console.print(str(replay(Folder(absolute(self.run)), uri=uri)))


@dataclass(frozen=True, kw_only=True)
class Export:
    """Write composed rewards as a preference dataset that a trainer reads as it is."""

    run: Path
    """Run folder, after `compose`."""
    output: Path
    """Folder for the dataset."""
    format: Literal["trl", "openrlhf", "llamafactory"] = "trl"
    """The trainer that will read it."""
    on_negative_margin: Literal["keep", "drop", "swap"] = "keep"
    """What to do with pairs whose rejected response has the higher reward. They are counted."""

    def main(self, console: Console) -> None:
        run = Folder(absolute(self.run))
        require_paths([run.path(REWARDS_DIR)])
        from encore_ray.passes.export import export_rewards

        report = export_rewards(
            run,
            Folder(absolute(self.output)),
            layout=self.format,
            on_negative_margin=self.on_negative_margin,
        )
        console.print(str(report), soft_wrap=True)


COMMANDS = {
    "demo": Demo,
    "run": Run,
    "prepare": Prepare,
    "score": Score,
    "weigh": Weigh,
    "compose": Compose,
    "evaluate": Evaluate,
    "inspect": Inspect,
    "status": Status,
    "track": Track,
    "export": Export,
}


def main(argv: list[str] | None = None) -> None:
    """Run a command and exit: 0 done, 2 configuration, 3 data, 4 cluster or model, 130 / 143 interrupted, 1 a bug."""
    errors = Console(stderr=True)
    logging.basicConfig(
        level=logging.WARNING,
        format="%(message)s",
        handlers=[RichHandler(console=errors, show_time=False, show_path=False, show_level=False)],
    )
    code = 1
    try:
        command = tyro.extras.subcommand_cli_from_dict(
            COMMANDS,
            prog="encore-ray",
            description="Score preference pairs under many safety rules on Ray; compose rewards by rating entropy.",
            args=argv,
            config=(
                tyro.conf.OmitArgPrefixes,
                tyro.conf.FlagCreatePairsOff,
                tyro.conf.HelptextFromCommentsOff,
                tyro.conf.DisallowNone,
            ),
        )
        command.main(Console())
        code = 0
    except EncoreError as error:
        errors.print(f"[bold red]encore-ray:[/] {_escaped(str(error))}", highlight=False, soft_wrap=True)
        code = error.exit_code
    except KeyboardInterrupt as interrupt:
        code = TERMINATED if type(interrupt).__name__ == "Terminated" else INTERRUPTED
    except Exception:
        traceback.print_exc()
        errors.print("[bold red]encore-ray:[/] this is a bug in encore-ray; please report it with the lines above.")
    sys.exit(code)


def _job(command: Any, console: Console, *, folder: str | None = None, params: dict[str, Any] | None = None) -> Any:
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


def _explicit(command: Any, *inputs: str) -> tuple[str | None, str | None]:
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


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)


if __name__ == "__main__":
    main()
