"""A run folder with everything that a pass needs of the world: engine, tracker, display.

`Run.do` is the one place where a pass meets MLflow, the terminal, Prometheus and the choice of an engine. A pass is an
object that is called with the run, and knows which row of `PASSES` it is:

    with hold_run(folder, ...) as run:
        weights = run.do(Weigh(options))
"""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from importlib.metadata import version
from typing import Any, TypeVar

from rich.console import Console

from encore_ray.config import ClusterOptions, TrackingOptions
from encore_ray.engine.base import Engine
from encore_ray.engine.display import Display
from encore_ray.engine.engines import Engines
from encore_ray.engine.pools import ActorPool, FindResources, Resources, TaskPool
from encore_ray.engine.process.ending import heard_last
from encore_ray.engine.process.interrupts import signals_interrupt
from encore_ray.engine.progress import Progress
from encore_ray.engine.work.reduce import Reducer
from encore_ray.engine.work.run_units import run_units
from encore_ray.engine.work.unit_work import Task, Write
from encore_ray.errors import ConfigError
from encore_ray.files.proxies import spare_loopback
from encore_ray.folder.driver.lock import only_driver, require_driver
from encore_ray.folder.pass_facts import MadeFrom, as_json, keep_stamps, read_facts, write_facts
from encore_ray.folder.pass_table import PassTable, pass_table
from encore_ray.folder.protocol.commits import Commit
from encore_ray.folder.provenance import is_same
from encore_ray.folder.reading.table_rules import run_rules
from encore_ray.folder.run_log import RunLog
from encore_ray.folder.spec import Pass, driver_folders
from encore_ray.folder.status import run_status
from encore_ray.rules import RuleSet
from encore_ray.step import Record, Step
from encore_ray.storage import Folder
from encore_ray.tracking import PassTracker, Tracker, open_tracker, untracked
from encore_ray.tracking.run_context import git_commit, name_run

logger = logging.getLogger("encore_ray")

Result = TypeVar("Result")


@dataclass(frozen=True)
class Done:
    """What a pass took.

    Attributes:
        seconds: from the choice of an engine on, which may have had to start.
        numbers: about how many it read; None for a pass with a model.
    """

    seconds: float
    numbers: int | None


@dataclass(frozen=True)
class Run:
    """A run folder, or the output folder of a single command, and what is done in it.

    Attributes:
        folder: where results go.
        overwrite: redo what was made from other inputs, models, rules or options, instead of refusing.
        engines: who works.
        tracker: the MLflow run of the job. tracked: the nested one of the pass that runs.
        display: what the terminal shows. log: what the run folder keeps of it.
        done: the passes that were done, by name; those that stood are not among them.
    """

    folder: Folder
    overwrite: bool
    engines: Engines
    tracker: Tracker
    display: Display
    log: RunLog
    done: dict[str, Done] = field(default_factory=dict)
    _tracked: PassTracker | None = None
    _choose_engine: Callable[[], Engine] | None = None
    _called: Mapping[str, str] = field(default_factory=dict)

    def do(self, step: Step[Result]) -> Result:
        """Do a pass: inside its own nested MLflow run, with its progress shown, by the engine that suits it.

        One whose result stands is not done, and leaves its MLflow run as it is.

        Raises:
            ResumeRefused: the standing result was made from other options.
        """
        spec = step.spec
        require_driver()
        facts = self._facts(step)
        found = self._made_from(step, facts)
        made = None if found is None else step.standing(self, found.kept)
        if made is not None and found is not None:
            keep_stamps(self.folder, spec, found)
            self.note(f"{step.called}: nothing to do, it stands")
            if spec.name in self.tracker.finished:
                return made
        with self.tracker.start_pass(spec.name, works=made is None) as tracked:
            if made is None:
                began = time.monotonic()
                numbers = step.numbers(self)
                choose = partial(self._choose, step, numbers, tracked)
                made = step(replace(self, _tracked=tracked, _choose_engine=choose, _called={spec.name: step.called}))
                seconds = time.monotonic() - began
                logger.debug("%s: done in %.1f s, of %s numbers", spec.name, seconds, numbers)
                self.log.add(f"{step.called}: done in {seconds:.1f} s")
                self.has_done(spec, seconds, numbers)
                if facts is not None:
                    write_facts(self.folder, spec, facts, files=step.made_files(self), kept=step.kept(made))
            self._record(step.record(made), tracked)
        return made

    def has_done(self, spec: Pass, seconds: float, numbers: int | None) -> None:
        """Note that a pass was done, and is to be tracked."""
        self._work_begins()
        self.done[spec.name] = Done(seconds, numbers)

    def _work_begins(self) -> None:
        """It was not refused, and has something to do."""
        self.tracker.work_begins()
        self.log.begin()

    def stands(self, step: Step[Any]) -> bool:
        """Whether the result of a step stands, so that `do` would not do it; ResumeRefused as `do`."""
        return self._made_from(step, self._facts(step)) is not None

    def _facts(self, step: Step[Any]) -> dict[str, Any] | None:
        facts = step.facts(self)
        return None if facts is None else as_json(facts)

    def _made_from(self, step: Step[Any], facts: Mapping[str, Any] | None) -> MadeFrom | None:
        """What the standing result of a step was made from, where that is the same; else None."""
        found = None if facts is None else read_facts(self.folder, step.spec)
        if found is None or facts is None:
            return None
        derived = {*found.facts, *facts} - {*step.asked}
        where = self.path(step.spec.table or step.spec.files[0])
        same = is_same(where, found.facts, facts, overwrite=self.overwrite, derived=derived)
        return found if same else None

    def _record(self, record: Record, tracked: PassTracker) -> None:
        """Hand to MLflow what is kept of a pass."""
        tracked.log_params({name: value for name, value in record.params.items() if value is not None})
        tracked.log_metrics(record.metrics, step=record.step)
        for name, data in record.artifacts.items():
            tracked.log_artifact(name, data)
        self.tracker.log_metrics(record.job_metrics)
        for name, points in record.job_curves.items():
            for step, value in points:
                self.tracker.log_metrics({name: value}, step=step)
        for name, data in record.job_artifacts.items():
            self.tracker.log_artifact(name, data)
        if record.job_tags:
            self.tracker.set_tags(record.job_tags)
        for dataset in record.inputs:
            name = dataset.uri.rstrip("/").rsplit("/", 1)[-1]
            self.tracker.log_input(name, uri=dataset.uri, digest=dataset.digest, num_rows=dataset.num_rows)
        if record.composer is not None:
            self.tracker.log_composer(record.composer)

    def _choose(self, step: Step[Any], numbers: int | None, tracked: PassTracker) -> Engine:
        in_flight = self.table(step.spec).in_flight if step.spec.table else None
        engine = self.engines.choose(numbers=numbers, paths=step.paths, in_flight=in_flight)
        self.note(f"{step.called} {'in this process' if engine.name == 'local' else 'on Ray'}")
        tracked.log_params({"engine": engine.name})
        return engine

    @cached_property
    def engine(self) -> Engine:
        """Who does the pass that runs: chosen and started when it is first asked for; a refusal before needs none."""
        assert self._choose_engine is not None, "a pass is done by Run.do"
        return self._choose_engine()

    @property
    def tracked(self) -> PassTracker:
        """The MLflow run of the pass that runs."""
        assert self._tracked is not None, "a pass is done by Run.do"
        return self._tracked

    def resources_for(self, spec: Pass) -> FindResources:
        """What workers of a pass with a model may have, which a cluster must be started for.

        It is asked for when the model is about to be looked at, which takes a while and is said. What stands of another
        model, as far as is known without a cluster, is refused before there is one.
        """
        self.note("looks at the model")

        def find(known: Mapping[str, Any]) -> Resources:
            self.table(spec).refuse_other(known, overwrite=self.overwrite)
            return self.engines.resources

        return find

    def table(self, spec: Pass) -> PassTable:
        """The table of a pass in this run."""
        return pass_table(self.folder, spec)

    def path(self, name: str) -> str:
        """Where a file or folder of the run is."""
        return self.folder.path(name)

    @property
    def rules(self) -> RuleSet | None:
        """The rules of the run as they are now: their scales may have been corrected after scoring."""
        return run_rules(self.folder)

    def note(self, text: str) -> None:
        """A line for the terminal and the log."""
        self.log.add(text)
        self.display.note(text)

    def watch(self, progress: Progress) -> None:
        """Show, measure and track how far the pass that runs is; ClusterError where another driver took over."""
        require_driver(ask=False)
        self.display(replace(progress, name=self._called.get(progress.name, progress.name)))
        self.engines.measure(progress)
        if progress.done_rows > progress.resumed_rows:
            self._work_begins()
            self.tracked.log_metrics(
                {"rows_done": progress.done_rows, "rows_per_second": progress.rows_per_second, **progress.counts},
                step=progress.done_rows,
            )

    @property
    def reducer(self) -> Reducer:
        """Adds up what is measured of units, by the engine of the pass that runs."""
        return Reducer(self.engine, self.watch)

    def finish(
        self,
        table: PassTable,
        tasks: Sequence[Task],
        factory: Callable[[], Write],
        *,
        pool: Callable[[int], ActorPool | TaskPool] | None = None,
        leaves_out: bool = False,
        max_bad_fraction: float = 1.0,
        on_commit: Callable[[Commit], None] = lambda commit: None,
    ) -> dict[str, Commit]:
        """Finish all tasks of an opened table; the commit of each. See `run_units`."""
        return run_units(
            table,
            tasks,
            factory,
            engine=lambda: self.engine,
            watch=self.watch,
            pool=pool,
            overwrite=self.overwrite,
            leaves_out=leaves_out,
            max_bad_fraction=max_bad_fraction,
            on_commit=on_commit,
        )


@contextlib.contextmanager
def hold_run(
    folder: Folder,
    *,
    cluster: ClusterOptions,
    tracking: TrackingOptions,
    params: Mapping[str, Any],
    overwrite: bool = False,
    console: Console | None = None,
    journal: bool = True,
) -> Iterator[Run]:
    """Hold a run folder, open its tracker and the display; say how to go on when the command is interrupted.

    Args:
        folder: the run folder; of a command with explicit paths, where its results go.
        cluster, tracking: the sections of the configuration.
        params: the command's settings, to be tracked.
        overwrite: redo what was made from other inputs or options.
        console: where a command shows its progress, whose process a hang then ends; None shows nothing and ends none.
        journal: whether `folder` is a run folder, whose tracking records stay in it.
    """
    spare_loopback()  # for workers and the courier too, whoever calls
    with contextlib.ExitStack() as held:
        held.enter_context(signals_interrupt())  # before anything is held that must be let go
        if journal:
            held.enter_context(only_driver(folder, timeout_s=cluster.lock_timeout_s))
            for name in driver_folders():
                folder.sweep_temporaries(name)
        log = held.enter_context(RunLog(folder if journal else None))
        held.enter_context(heard_last(log.break_off))
        tracker = held.enter_context(_tracker(folder, tracking, params, journal=journal, resume=not overwrite))
        display = held.enter_context(Display(console or Console(quiet=True)))
        ends_process = console is not None

        def starts_ray(text: str) -> None:
            log.add(text)
            log.begin()  # not refused; from here on a kill may end it
            display.note(text)

        engines = held.enter_context(
            Engines(cluster, folder, ends_process=ends_process, before_end=tracker.break_off, say=starts_ray)
        )
        try:
            yield Run(folder, overwrite, engines, tracker, display, log)
        except KeyboardInterrupt:
            require_driver(ask=False)  # another one took over: then nobody interrupted this one
            _say_how_to_resume(folder)
            raise


def look_at_run(folder: Folder) -> Run:
    """A run folder to be asked what stands in it: nothing is held, started, shown or written."""
    engines = Engines(ClusterOptions(engine="local"), folder)
    return Run(folder, False, engines, untracked(), Display(Console(quiet=True)), RunLog(None))


def _tracker(
    folder: Folder, tracking: TrackingOptions, params: Mapping[str, Any], *, journal: bool, resume: bool
) -> Tracker:
    """The tracker of a job; one that overwrites begins a run of its own, whose parameters are its own."""
    return open_tracker(
        folder if tracking.enabled and journal else None,
        uri=tracking.uri if tracking.enabled else None,
        experiment=tracking.experiment,
        run_name=tracking.run_name or name_run(folder.uri, params),
        params=params,
        tags={"encore_ray": version("encore-ray"), "run_folder": folder.uri, **git_commit()},
        resume=resume,
    )


def _say_how_to_resume(folder: Folder) -> None:
    with contextlib.suppress(ConfigError):
        unfinished = [status for status in run_status(folder) if status.state == "unfinished"]
        for status in unfinished[:1]:
            logger.warning(
                "Interrupted: %s has %d of %d units committed in %s. The same command resumes it.",
                status.name,
                status.done_units,
                status.total_units,
                folder.uri,
            )
