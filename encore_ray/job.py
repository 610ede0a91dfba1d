"""The job, top to bottom: prepare -> score -> weigh -> compose -> evaluate -> compare, tracked, resumable, shown.

`run_job` is the whole flow. Each step is a method of `Job`, so that a single command runs exactly the same step:
inside its own nested MLflow run, with its progress on the terminal, with its counts checked.
"""

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

from rich.console import Console

from encore_ray.composition.compare.comparison import is_of_weights
from encore_ray.composition.weigh.weights import Weights
from encore_ray.config import ClusterOptions, JobConfig, PrepareOptions, TrackingOptions, TrainOptions, WeighOptions
from encore_ray.config_sources import read_rules
from encore_ray.console.display import Display
from encore_ray.corpora.sources import InputSpec, SourceFile, list_files
from encore_ray.engine.on_ray.cluster import cluster
from encore_ray.engine.on_ray.meters import Meters
from encore_ray.engine.on_ray.nodes import check_nodes
from encore_ray.engine.on_ray.remote_call import Do, DoApart
from encore_ray.engine.pools import Resources, score_pool
from encore_ray.engine.run_units import Progress
from encore_ray.engine.visible import Visible
from encore_ray.errors import ConfigError, DataError
from encore_ray.folder.lock import only_driver
from encore_ray.folder.pass_table import PassTable
from encore_ray.folder.status import pass_tables, run_status
from encore_ray.folder.tables import run_rules, table_rules, table_units
from encore_ray.models.spec.energy import EnergySettings
from encore_ray.models.spec.files import FIT_FILE, TRAIN_FILE
from encore_ray.passes.compare import compare_schemes
from encore_ray.passes.compose import compose_scores
from encore_ray.passes.embed import embed_pairs, open_embeddings
from encore_ray.passes.evaluate import evaluate_rewards
from encore_ray.passes.heads.features import FeatureModel, FeatureWriter
from encore_ray.passes.heads.fit_heads import fit_heads, origin, save_heads, standing_heads
from encore_ray.passes.prepare import Prepared, prepare_corpora
from encore_ray.passes.refine.apply import apply_refinement, refine_scores
from encore_ray.passes.refine.energies import OF_REWARD, fitted_energies
from encore_ray.passes.refine.fit_reward import fit_refinement
from encore_ray.passes.refine.fit_rules import fit_rules
from encore_ray.passes.report import make_report
from encore_ray.passes.score import rate_pairs, rules_of_ratings, run_by_model, score_pairs, take_ratings
from encore_ray.passes.scorers.api_judge import ApiJudge, estimate, is_api, plan_api_judge
from encore_ray.passes.scorers.model_place import make_output
from encore_ray.passes.scorers.model_plan import Model, plan_judge, plan_model, settle_budget
from encore_ray.passes.scorers.outputs import OutputWriter
from encore_ray.passes.scorers.planned_model import ScoringModel
from encore_ray.passes.scorers.scoring_cost import Effort, without_times
from encore_ray.passes.selection.api_relevance import ApiRelevanceJudge, relate_by_api
from encore_ray.passes.selection.relevance import AdapterModel, RelevanceJudgeModel, RelevanceWriter, check_same_rules
from encore_ray.passes.selection.select import Selecting, check_selecting, select_pairs
from encore_ray.passes.selection.selected import find_selection
from encore_ray.passes.train.plan import plan_training
from encore_ray.passes.train.training import run_training
from encore_ray.passes.weigh import weigh_scores
from encore_ray.records import flat_comparison, flat_fit, flat_metrics, flat_params, git_commit, summary
from encore_ray.redaction import redact
from encore_ray.report import evaluation_figure
from encore_ray.rules import RuleSet, rule_pool
from encore_ray.schema import (
    COMPARISON_FILE,
    CONFIG_FILE,
    EMBEDDINGS_DIR,
    FEATURES_DIR,
    FIGURE_FILE,
    METRICS_FILE,
    NONCE_FILE,
    PAIRS_DIR,
    REFINE_DIR,
    REFINE_REPORT_FILE,
    REFINED_DIR,
    REFINED_SCORES_DIR,
    RELEVANCE_DIR,
    REPORT_DIR,
    REPORT_TABLES_DIR,
    REWARDS_DIR,
    RULE_REFINE_DIR,
    RULE_REFINE_REPORT_FILE,
    RULES_FILE,
    SCORES_DIR,
    SELECTION_DIR,
    WEIGHTS_FILE,
)
from encore_ray.storage import Folder, is_remote, require_paths, to_json
from encore_ray.tracking import PassTracker, Tracker, open_tracker

logger = logging.getLogger("encore_ray")

# Where only the driver writes: a killed one may leave temporary files there.
DRIVER_DIRS = (
    "",
    PAIRS_DIR,
    SCORES_DIR,
    FEATURES_DIR,
    RELEVANCE_DIR,
    SELECTION_DIR,
    EMBEDDINGS_DIR,
    REWARDS_DIR,
    REFINE_DIR,
    RULE_REFINE_DIR,
    REFINED_DIR,
    REFINED_SCORES_DIR,
    REPORT_DIR,
    REPORT_TABLES_DIR,
)


@dataclass(frozen=True)
class JobResult:
    """What a finished job made.

    Attributes:
        run: the run folder.
        corpus_rows: source rows of all inputs; a trial prepared only some of them.
        prepared: counts of the prepare pass.
        scored: counts of the score pass.
        weights: content of weights.json. metrics: content of metrics.json.
        comparison: content of comparison.json, or None where there is no pair to compare schemes on.
        tracking_uri: the MLflow store, or None when the run was not tracked or only journaled.
    """

    run: Folder
    corpus_rows: int
    prepared: Mapping[str, int]
    scored: Mapping[str, int]
    weights: Mapping[str, Any]
    metrics: Mapping[str, Any]
    comparison: Mapping[str, Any] | None
    tracking_uri: str | None


def run_job(
    config: JobConfig, *, overwrite: bool = False, limit: int | None = None, console: Console | None = None
) -> JobResult:
    """Run the whole job; the same call again resumes it.

    Args:
        config: the job.
        overwrite: redo what was made from other inputs, models, rules or options, instead of refusing.
        limit: try the job on about so many pairs only.
        console: where progress goes; None shows nothing.

    Raises:
        EncoreError: see `encore_ray.errors`; its message says what to do.
    """
    if limit is not None and limit < 1:
        raise ConfigError(f"limit: expected 1 pair or more, found {limit}.")
    files = list_files([InputSpec(item.path, item.subset, item.format) for item in config.inputs])
    require_paths([config.model, None if is_api(config.judge or "") else config.judge])
    inside = [file.uri for file in files if file.uri.startswith(config.run.rstrip("/") + "/")]
    if inside:
        raise ConfigError(
            f"The run folder {config.run} holds the input {inside[0]}: use a folder of its own for the run."
        )
    rules = read_rules(config.rules) if config.rules else None
    stored = redact(config.to_yaml()).encode()
    with open_job(
        Folder(config.run),
        cluster_options=config.cluster,
        tracking=config.tracking,
        params=flat_params(config),
        overwrite=overwrite,
        console=console,
    ) as job:
        if not job.run.exists(CONFIG_FILE):
            job.run.write_atomic(CONFIG_FILE, stored)
        model = None
        api = None
        if config.judge and is_api(config.judge):
            api = plan_api_judge(config.judge, config.rate, rules=rules or rule_pool(), run=job.run)
        elif config.judge:
            model = plan_judge(config.judge, config.score, have=job.have, rules=rules or rule_pool())
        elif config.model:
            model = plan_model(config.model, config.score, have=job.have, rules=rules)
        job.see(files, model_path=config.model or config.judge)
        prepared = job.prepare(files, config.prepare, limit=limit)
        if api is not None:
            scored = job.rate(api, max_bad_fraction=config.prepare.max_bad_fraction)
        elif model is not None:
            scored = job.score(model, max_bad_fraction=config.prepare.max_bad_fraction)
        else:
            scored = job.take_ratings(prepared, rules, max_bad_fraction=config.prepare.max_bad_fraction)
        weights = job.weigh(config.weigh)
        job.compose(weights)
        metrics = job.evaluate()
        comparison = job.compare(config.weigh) if metrics["overall"]["num_pairs"] else None
        job.run.write_atomic(CONFIG_FILE, stored)
        job.tracker.log_artifact(CONFIG_FILE, stored)
        job.report()
        return JobResult(
            run=job.run,
            corpus_rows=prepared.corpus_rows,
            prepared=prepared.counts,
            scored=scored,
            weights=weights.to_dict(),
            metrics=metrics,
            comparison=comparison,
            tracking_uri=job.tracker.uri,
        )


@dataclass
class Job:
    """A run folder with everything that its passes need: cluster, tracker, display."""

    run: Folder
    have: Resources
    tracker: Tracker
    display: Display
    overwrite: bool
    visible: Visible | None = None
    tables: dict[str, PassTable] = field(init=False)
    meters: Meters = field(init=False)

    def __post_init__(self) -> None:
        self.tables = pass_tables(self.run)
        self.meters = Meters(self.run.name)

    def see(
        self, files: Sequence[SourceFile] = (), *, model_path: str | None = None, output: str | None = None
    ) -> None:
        """Make sure that every node sees the run folder, the inputs, the model, and a folder that workers write to."""
        paths = [file.uri for file in files]
        if model_path and not is_api(model_path) and (is_remote(model_path) or model_path.startswith("/")):
            paths.append(model_path)
        if output:
            make_output(output)
            paths.append(output)
        self.visible = check_nodes(self.run, paths)

    def prepare(self, files: Sequence[SourceFile], options: PrepareOptions, *, limit: int | None = None) -> Prepared:
        with self.tracker.start_pass("prepare") as tracked:
            prepared = prepare_corpora(
                files, self.tables["prepare"], options=options, limit=limit, watch=self._watch(tracked), **self._how
            )
            tracked.log_metrics(prepared.counts, step=prepared.counts["rows"])
            for item in prepared.inputs:
                name = item.uri.rstrip("/").rsplit("/", 1)[-1]
                self.tracker.log_input(name, uri=item.uri, digest=item.digest, num_rows=item.num_rows)
        return prepared

    def score(self, model: ScoringModel, *, max_bad_fraction: float) -> Mapping[str, int]:
        pairs = self.run.child(PAIRS_DIR).uri
        with self.tracker.start_pass("score") as tracked:
            model = settle_budget(model, pairs, self.tables["score"], **self._how)
            if model.search:
                tried = "; ".join(map(str, model.search.trials))
                self.display.note(f"score with {model.search.batch_tokens} tokens a forward pass ({tried})")
            tracked.log_params(model.facts)
            self.tracker.set_tags({"model": model.facts["model"][:16]})
            if model.facts["revision"]:
                self.tracker.set_tags({"model_revision": model.facts["revision"]})
            pool = score_pool(model.options, self.have, num_units=len(table_units(pairs)))
            self.display.note(f"score on {pool}, {model.facts['dtype']} on {model.facts['device']}")
            for choice in dict.fromkeys(model.strategies):
                self.display.note(f"score by {choice.strategy}: {choice.reason}")
            kept = None
            if model.options.keep_embeddings:
                kept = open_embeddings(pairs, self.tables["embed"], model=model, overwrite=self.overwrite)
            counts = score_pairs(
                pairs,
                self.tables["score"],
                model=model,
                max_bad_fraction=max_bad_fraction,
                embeddings=kept,
                watch=self._watch(tracked),
                **self._how,
            )
            if kept is not None:
                how = {"watch": self._watch(tracked), "max_bad_fraction": max_bad_fraction, **self._how}
                embed_pairs(pairs, kept, model=model, **how)
            effort = Effort.of_counts(counts)
            self.display.note(f"score by {model.facts['strategy']}: {effort}")
            self._keep_rules(model.rules, tracked)
            shares = {"shared_tokens": effort.shared, "idle_share": effort.idle}
            tracked.log_metrics({**counts, **shares}, step=counts["rows"])
        return without_times(counts)

    def rate(self, judge: ApiJudge, *, max_bad_fraction: float) -> Mapping[str, int]:
        """Scores by a judge behind an API, instead of a model's."""
        pairs = self.run.child(PAIRS_DIR).uri
        with self.tracker.start_pass("score") as tracked:
            tracked.log_params(judge.facts)
            units = table_units(pairs)
            if units:
                self.display.note(f"rate by {judge.facts['model']}: {estimate(judge, units)}")
            counts = rate_pairs(
                pairs,
                self.tables["score"],
                judge=judge,
                max_bad_fraction=max_bad_fraction,
                visible=self.visible,
                overwrite=self.overwrite,
                watch=self._watch(tracked),
            )
            self.display.note(
                f"rate: {counts.get('requests', 0):,} requests, {counts.get('known_answers', 0):,} answers known before"
            )
            self._keep_rules(judge.rules, tracked)
            tracked.log_metrics(counts, step=counts["rows"])
        return counts

    def take_ratings(self, prepared: Prepared, rules: RuleSet | None, *, max_bad_fraction: float) -> Mapping[str, int]:
        """Scores from ratings in the data, instead of the model's."""
        rules = rules_of_ratings(prepared.rated_rules, rules)
        with self.tracker.start_pass("score") as tracked:
            counts = take_ratings(
                self.run.child(PAIRS_DIR).uri,
                self.tables["score"],
                rules=rules,
                max_bad_fraction=max_bad_fraction,
                watch=self._watch(tracked),
                **self._how,
            )
            self._keep_rules(rules, tracked)
            tracked.log_metrics(counts, step=counts["rows"])
        return counts

    def fit_heads(
        self, model: FeatureModel, rules: RuleSet, *, labels: str | None, output: str, max_bad_fraction: float
    ) -> Mapping[str, Any]:
        """Embed all responses of the run, fit heads to labels and save them with their backbone, where they are not
        there already; the content of fit.json."""
        labels = labels or self.run.child(PAIRS_DIR).uri
        made_of = origin(model.decisive_facts, labels, rules)
        standing = standing_heads(output, origin=made_of, overwrite=self.overwrite)
        if standing is not None:
            self.display.note(f"fit: {output} holds the heads of these labels already")
            return standing
        with self.tracker.start_pass("features") as tracked:
            embedded, _ = self._by_model(
                "features", FeatureWriter(), model, tracked, said="embed", max_bad_fraction=max_bad_fraction
            )
        with self.tracker.start_pass("fit") as tracked:
            embeddings = self.tables["features"].folder.uri
            watch = self._watch(tracked)
            fitted = fit_heads(embeddings, labels, rules, have=self.have, visible=self.visible, watch=watch)
            fit = save_heads(output, fitted, rules, model=embedded, labels=labels, origin=made_of)
            tracked.log_metrics(flat_fit(fit))
            tracked.log_artifact(FIT_FILE, to_json(fit))
        return fit

    def train(
        self, base: str, options: TrainOptions, *, rules: RuleSet | None, labels: str | None, output: str
    ) -> Mapping[str, Any]:
        """Train a model on the rows of the run and save it, where it is not there already; content of train.json."""
        with self.tracker.start_pass("train") as tracked:
            plan = plan_training(
                base,
                options,
                rules=rules,
                pairs=self.run.child(PAIRS_DIR).uri,
                labels=labels,
                have=self.have,
                visible=self.visible,
                watch=self.display,
            )
            tracked.log_params(plan.facts)
            rows = plan.counts
            self.display.note(
                f"train on {plan.crew}, {options.dtype}, {plan.strategy}: {rows['trained']:,} rows, "
                f"{rows['heldout']:,} held out, {rows['left_out']:,} with nothing to learn; "
                f"{plan.order.num_steps:,} steps; {plan.first_heads}"
            )
            content = run_training(
                plan,
                output,
                overwrite=self.overwrite,
                retries=options.retries,
                watch=self.display,
                note=self.display.note,
                tell=lambda figures, step: tracked.log_metrics(figures, step=step),
            )
            tracked.log_artifact(TRAIN_FILE, to_json(dict(content)))
        return content

    def check_selecting(self, how: Selecting, model: AdapterModel) -> None:
        """Refuse what `select` would refuse of an adapter's relevances, before any pair is read."""
        rules = model.rules
        if self.run.exists(SCORES_DIR):
            rules = table_rules(table_units(self.run.child(SCORES_DIR).uri), self._rules())
            check_same_rules(model, rules)
        check_selecting(how, rules)
        if not self.overwrite:
            self.tables["select"].refuse_other(how.facts(rules, by_relevance=True))

    def relate(self, model: AdapterModel | RelevanceJudgeModel, *, max_bad_fraction: float) -> Mapping[str, int]:
        """The relevance of every rule for every pair, by a rule adapter or a judge."""
        with self.tracker.start_pass("relevance") as tracked:
            _, counts = self._by_model(
                "relevance",
                RelevanceWriter(model.rules),
                model,
                tracked,
                said="relevance",
                max_bad_fraction=max_bad_fraction,
            )
        return without_times(counts)

    def relate_by_api(self, judge: ApiRelevanceJudge, *, max_bad_fraction: float) -> Mapping[str, int]:
        """The relevance of every rule for every pair, by a judge behind an API."""
        pairs = self.run.child(PAIRS_DIR).uri
        with self.tracker.start_pass("relevance") as tracked:
            tracked.log_params(judge.facts)
            if units := table_units(pairs):
                self.display.note(f"relevance by {judge.facts['model']}: {estimate(judge, units)}")
            counts = relate_by_api(
                pairs,
                self.tables["relevance"],
                judge=judge,
                max_bad_fraction=max_bad_fraction,
                visible=self.visible,
                overwrite=self.overwrite,
                watch=self._watch(tracked),
            )
            tracked.log_metrics(counts, step=counts["rows"])
        return counts

    def select(self, how: Selecting) -> Mapping[str, int]:
        """Select the rules of each pair by its scores and a judge's relevances, or by those of a rule adapter."""
        scores = self.run.child(SCORES_DIR).uri if not how.by_adapter or self.run.exists(SCORES_DIR) else None
        related = self.tables["relevance"]
        is_judged = how.by == "auto" and (related.standing_facts() or {}).get("by") == "judge"
        relevance = related.folder.uri if how.by_adapter or is_judged else None
        with self.tracker.start_pass("select") as tracked:
            counts = select_pairs(
                scores,
                relevance,
                self.tables["select"],
                how=how,
                rules=self._rules() if scores else None,
                watch=self._watch(tracked),
                **self._how,
            )
            tracked.log_params(vars(how))
            tracked.log_metrics(counts, step=counts["rows"])
        return counts

    def weigh(
        self,
        options: WeighOptions,
        *,
        scores: str | None = None,
        rules: RuleSet | None = None,
        output: tuple[Folder, str] | None = None,
    ) -> Weights:
        with self.tracker.start_pass("weigh") as tracked:
            weights = weigh_scores(
                scores or self.run.child(SCORES_DIR).uri,
                output or (self.run, WEIGHTS_FILE),
                options=options,
                rules=rules or (self._rules() if scores is None else None),
                watch=self._watch(tracked),
                **self._how,
            )
            if output is None:
                self._outdate(weights)
            content = weights.to_dict()
            tracked.log_params(options.model_dump(mode="json"))
            tracked.log_metrics({"effective_num_rules": content["effective_num_rules"]})
            for rule in content["rules"]:
                tracked.log_metrics({f"{key}/{rule['name']}": rule[key] for key in ("entropy", "weight", "accuracy")})
            tracked.log_artifact(WEIGHTS_FILE, to_json(content))
            self.tracker.set_tags({"weights": weights.fingerprint[:16]})
            self.tracker.log_composer(content)
        return weights

    def compose(
        self,
        weights: Weights,
        *,
        scores: str | None = None,
        rules: RuleSet | None = None,
        output: PassTable | None = None,
        pairs: str | None = None,
    ) -> Mapping[str, int]:
        with self.tracker.start_pass("compose") as tracked:
            counts = compose_scores(
                scores or self.run.child(SCORES_DIR).uri,
                weights,
                output or self.tables["compose"],
                pairs=pairs if scores else self.run.child(PAIRS_DIR).uri,
                rules=rules or (self._rules() if scores is None else None),
                watch=self._watch(tracked),
                **self._how,
            )
            tracked.log_metrics(counts, step=counts["rows"])
        return counts

    def evaluate(self, *, rewards: str | None = None, output: Folder | None = None) -> dict[str, Any]:
        rewards = rewards or self.run.child(REWARDS_DIR).uri
        output = output or self.run
        with self.tracker.start_pass("evaluate") as tracked:
            metrics = evaluate_rewards(
                rewards, output, have=self.have, visible=self.visible, watch=self._watch(tracked)
            )
            weights = Folder(rewards).read_json(WEIGHTS_FILE)
            figure = evaluation_figure(metrics, weights)
            output.write_atomic(FIGURE_FILE, figure)
            self.tracker.log_metrics(flat_metrics(metrics))
            self.tracker.log_artifact(METRICS_FILE, to_json(metrics))
            self.tracker.log_artifact(FIGURE_FILE, figure)
            self.tracker.set_tags({"mlflow.note.content": summary(metrics, weights)})
        return metrics

    def compare(
        self,
        options: WeighOptions,
        *,
        scores: str | None = None,
        rules: RuleSet | None = None,
        output: Folder | None = None,
        beside: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        with self.tracker.start_pass("compare") as tracked:
            comparison = compare_schemes(
                scores or self.run.child(SCORES_DIR).uri,
                output or self.run,
                options=options,
                have=self.have,
                rules=rules or (self._rules() if scores is None else None),
                beside=beside,
                selection=find_selection(self.run) if scores is None else None,
                visible=self.visible,
                watch=self._watch(tracked),
            )
            tracked.log_params(options.model_dump(mode="json", exclude={"scheme", "rule"}))
            tracked.log_metrics(flat_comparison(comparison))
            tracked.log_artifact(COMPARISON_FILE, to_json(comparison))
        return comparison

    def apart(self, *, cpus: float | None, gpus: float | None) -> DoApart:
        """One worker of the cluster that holds so much, see `DoApart`."""
        return DoApart(self.have, cpus, gpus, self.visible)

    def refine_fit(self, settings: EnergySettings, *, noise: Sequence[float] = (), do: Do) -> dict[str, Any]:
        """Fit energies to the composed reward; the content of refine/report.json."""
        with self.tracker.start_pass("refine fit") as tracked:
            tracked.log_params(vars(settings))
            report = fit_refinement(
                self.run,
                settings=settings,
                noise=noise,
                overwrite=self.overwrite,
                do=do,
                watch=self._watch(tracked),
                tell=self.display.note,
            )
            for control in report["controls"]:
                name = f"{control['name'].replace(' ', '_')}/noise_{control['noise']:g}"
                tracked.log_metrics({f"accuracy/{name}": control["accuracy"]})
            tracked.log_artifact(REFINE_REPORT_FILE, to_json(report))
        return report

    def refine_fit_rules(self, settings: EnergySettings, *, do: Do) -> dict[str, Any]:
        """Fit an energy to the scores of each rule; the content of refine/rules/report.json."""
        with self.tracker.start_pass("refine fit rules") as tracked:
            tracked.log_params(vars(settings))
            report = fit_rules(
                self.run,
                rules=self._rules(),
                settings=settings,
                overwrite=self.overwrite,
                do=do,
                watch=self._watch(tracked),
                tell=self.display.note,
            )
            for rule in report["rules"]:
                for control in rule["controls"]:
                    name = control["name"].replace(" ", "_")
                    tracked.log_metrics({f"accuracy/{rule['name']}/{name}": control["accuracy"]})
            tracked.log_artifact(RULE_REFINE_REPORT_FILE, to_json(report))
        return report

    def refine_apply(self) -> dict[str, Mapping[str, int]]:
        """Write refined/ and refined_scores/, as far as energies are fitted; the counts of each."""
        found: dict[str, Mapping[str, int]] = {}
        for energies in fitted_energies(self.run):
            table = self.tables[energies.table]
            with self.tracker.start_pass(table.name) as tracked:
                how = {"watch": self._watch(tracked), **self._how}
                if energies is OF_REWARD:
                    counts = apply_refinement(self.run, table, **how)
                else:
                    counts = refine_scores(self.run, table, rules=self._rules(), **how)
                tracked.log_metrics(counts, step=counts["rows"])
            found[table.folder.name] = counts
        return found

    def report(self, folder: Folder | None = None, *, weights: Mapping[str, Any] | None = None) -> None:
        """Write and track report/ from what the run, or the output folder of a single command, holds by now."""
        folder = folder or self.run
        for name, data in make_report(folder, weights=weights).items():
            folder.write_atomic(name, data)
            self.tracker.log_artifact(name, data)

    def _by_model(
        self,
        name: str,
        writer: OutputWriter,
        model: Model,
        tracked: PassTracker,
        *,
        said: str,
        max_bad_fraction: float,
    ) -> tuple[Model, dict[str, int]]:
        """Do a pass over pairs/ on a model's actors; the model with the token budget that was settled on, and counts.

        Args:
            name: of the pass. said: what it is called on the terminal.
        """
        pairs, output = self.run.child(PAIRS_DIR).uri, self.tables[name]
        model = settle_budget(model, pairs, output, **self._how)
        tracked.log_params(model.facts)
        pool = score_pool(model.options, self.have, num_units=len(table_units(pairs)))
        self.display.note(f"{said} on {pool}, {model.facts['dtype']} on {model.facts['device']}")
        how = {"max_bad_fraction": max_bad_fraction, "watch": self._watch(tracked), **self._how}
        counts = run_by_model(pairs, output, writer, model=model, **how)
        self.display.note(f"{said} by {model.facts['strategy']}: {Effort.of_counts(counts)}")
        tracked.log_metrics(counts, step=counts["rows"])
        return model, counts

    def _outdate(self, weights: Weights) -> None:
        """Rewards and comparisons of other weights are not the run's any more, until they are made anew."""
        composed = self.run.child(REWARDS_DIR)
        if composed.exists(WEIGHTS_FILE) and composed.read_json(WEIGHTS_FILE) != weights.to_dict():
            self.tables["compose"].outdate()
        comparison = None
        with contextlib.suppress(DataError):  # a damaged one is nobody's
            comparison = self.run.read_json(COMPARISON_FILE)
        if not is_of_weights(comparison, weights):
            self.run.delete(COMPARISON_FILE)

    def _rules(self) -> RuleSet | None:
        """The rules of the run as they are now: their scales may have been corrected after scoring."""
        return run_rules(self.run)

    @property
    def _how(self) -> dict[str, Any]:
        return {"have": self.have, "visible": self.visible, "overwrite": self.overwrite}

    def _watch(self, tracked: PassTracker) -> Any:
        def watch(progress: Progress) -> None:
            self.display(progress)
            self.meters(progress)
            if progress.done_rows > progress.resumed_rows:
                tracked.log_metrics(
                    {"rows_done": progress.done_rows, "rows_per_second": progress.rows_per_second, **progress.counts},
                    step=progress.done_rows,
                )

        return watch

    def _keep_rules(self, rules: RuleSet, tracked: PassTracker) -> None:
        content = rules.to_yaml().encode()
        self.run.write_atomic(RULES_FILE, content)
        tracked.log_artifact(RULES_FILE, content)
        self.tracker.set_tags({"rules": rules.fingerprint[:16]})


@contextlib.contextmanager
def open_job(
    run: Folder,
    *,
    cluster_options: ClusterOptions,
    tracking: TrackingOptions,
    params: Mapping[str, Any],
    overwrite: bool,
    console: Console | None,
    journal: bool = True,
) -> Iterator[Job]:
    """Join the cluster, open the tracker and the display; say how to go on when the job is interrupted.

    Args:
        run: the run folder; of a command with explicit paths, where its results go.
        cluster_options, tracking: the sections of the configuration.
        params: the job's settings, to be tracked.
        overwrite: redo what was made from other inputs or options.
        console: where progress goes; None shows nothing.
        journal: whether `run` is a run folder, whose tracking records stay in it.
    """
    console = console or Console(quiet=True)
    with contextlib.ExitStack() as held:
        if journal:
            held.enter_context(only_driver(run))
            for name in DRIVER_DIRS:
                run.sweep_temporaries(name)
        tracker = held.enter_context(_tracker(run, tracking, params, journal=journal, resume=not overwrite))
        display = held.enter_context(Display(console))
        have = held.enter_context(cluster(cluster_options))
        try:
            yield Job(run, have, tracker, display, overwrite)
        except KeyboardInterrupt:
            _say_how_to_resume(run)
            raise
        finally:
            run.delete(NONCE_FILE)


def _tracker(
    run: Folder, tracking: TrackingOptions, params: Mapping[str, Any], *, journal: bool, resume: bool
) -> Tracker:
    """The tracker of a job; one that overwrites begins a run of its own, whose parameters are its own."""
    return open_tracker(
        run if tracking.enabled and journal else None,
        uri=tracking.uri if tracking.enabled else None,
        experiment=tracking.experiment,
        run_name=tracking.run_name or "/".join(run.uri.rstrip("/").split("/")[-2:]),
        params=params,
        tags={"encore_ray": version("encore-ray"), "run_folder": run.uri, **git_commit()},
        resume=resume,
    )


def _say_how_to_resume(run: Folder) -> None:
    with contextlib.suppress(ConfigError):
        unfinished = [status for status in run_status(run) if status.state == "unfinished"]
        for status in unfinished[:1]:
            logger.warning(
                "Interrupted: %s has %d of %d units committed in %s. The same command resumes it.",
                status.name,
                status.done_units,
                status.total_units,
                run.uri,
            )
