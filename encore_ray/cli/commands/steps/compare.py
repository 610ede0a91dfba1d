"""The command that puts every weight scheme side by side."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.console import Console

from encore_ray.cli.flags import OptionalPathFlag, Switch, flag, section_flags, weigh_words
from encore_ray.cli.scores import ScoreColumnFlags, open_scores
from encore_ray.cli.screen import Screen, ScreenFlags
from encore_ray.config import ClusterOptions, WeighOptions
from encore_ray.config.sources import keep_options, read_rules
from encore_ray.config.weighing import OF_ONE_SCHEME
from encore_ray.console.ending import Ending, NextStep, next_step
from encore_ray.console.steps import export_step, mend_step, replacing
from encore_ray.errors import ConfigError
from encore_ray.shell import again, flag_words
from encore_ray.storage import Folder, absolute, require_paths

if TYPE_CHECKING:
    from encore_ray.artifacts import Comparison


@dataclass(frozen=True, kw_only=True)
class Compare:
    """Count what every weight scheme gets right on the same pairs, and say what to make of it.

    Schemes that learn from labels are evaluated on a held-out fifth of the prompts.

    Differences to uniform weights come with 95% intervals over prompts.

    What drives entropy is told with and without labels.

    Writes comparison.json and report/.

    Example: encore-ray compare --run runs/first
    """

    run: OptionalPathFlag = None
    """Run folder, after `score`. Or give --scores and --output."""
    scores: OptionalPathFlag = None
    """Folder or file of scores, ours or made elsewhere: Parquet, CSV, TSV, Arrow or JSONL."""
    rules: OptionalPathFlag = None
    """rules.yaml of scores made elsewhere. Default: the one beside them, else one read off them, to be corrected."""
    output: OptionalPathFlag = None
    """Folder for comparison.json and report/. Default: the run folder."""
    beside: Annotated[tyro.conf.UseAppendAction[list[str]], flag("NAME=REWARDS")] = field(default_factory=list)
    """Rewards of the same pairs to show beside the schemes, as of a `compose` or `refine apply`, or a table of them."""
    overwrite: Switch = False
    """Replace a comparison by other options that is there, instead of refusing."""
    columns: ScoreColumnFlags
    options: Annotated[WeighOptions, section_flags(WeighOptions, without=OF_ONE_SCHEME)]
    screen: ScreenFlags = Screen()
    cluster: Annotated[ClusterOptions, section_flags(ClusterOptions)]

    def main(self, console: Console) -> Ending:
        from encore_ray.cli.command import explicit_paths, open_command, refuse_over_inputs
        from encore_ray.schema import COMPARISON_FILE, FACTS_DIR, REPORT_DIR, SCORES_DIR

        scores, output = explicit_paths("compare", run=self.run, output=self.output, inputs={"scores": self.scores})
        rules_path = absolute(self.rules) if self.rules else None
        beside = _named(self.beside)
        ratings = absolute(self.options.ratings) if self.options.ratings else None
        table = scores or Folder(absolute(self.run or "")).path(SCORES_DIR)
        require_paths([table, rules_path, ratings, *beside.values()])
        if output is not None:
            made = [Folder(output).path(name) for name in (COMPARISON_FILE, REPORT_DIR, FACTS_DIR)]
            read = {"scores": scores, "rules": rules_path, "ratings": ratings}
            read |= {f"beside {name}": path for name, path in beside.items()}
            refuse_over_inputs(made, read, instead="comparison")
        from encore_ray.console.sentences import tell_comparison
        from encore_ray.console.show import show_comparison
        from encore_ray.passes.compare import Compare as ComparePass
        from encore_ray.passes.report import write_report

        rules = read_rules(rules_path) if rules_path else None
        with open_command(
            output or absolute(self.run or ""),
            cluster=self.cluster,
            console=console,
            overwrite=self.overwrite,
            options=self.options,
            journal=output is None,
        ) as run:
            with open_scores(run, scores, self.columns, rules) as table:
                comparison = run.do(ComparePass(self.options, table.uri, table.rules, beside or None))
            if self.run:
                keep_options(run.folder, self.options, without=OF_ONE_SCHEME)
            write_report(run)
        show_comparison(comparison, console=console)
        return Ending(
            tell_comparison(comparison, str(self.output or self.run)),
            self._steps(comparison),
            comparison.content,
            warnings=comparison.warnings,
        )

    def _steps(self, comparison: "Comparison") -> list[NextStep]:
        from encore_ray.composition.compare.decision import advised_options
        from encore_ray.schema import COMPARISON_FILE, WEIGHTS_FILE

        decision = comparison.decision
        where = ["--run", self.run] if self.run else ["--scores", str(self.scores), *self.columns.words]
        where += ["--rules", self.rules] if self.rules else []
        again = ["--overwrite"] if self.run else replacing(str(self.output), WEIGHTS_FILE)
        if not self.run:
            where += ["--output", Folder(str(self.output)).path(WEIGHTS_FILE)]
            where += weigh_words(self.options, decision.scheme if decision else "encore")
        scheme = ["--scheme", decision.scheme] if decision and decision.scheme != "encore" else []
        if decision is not None:
            rules = ((rule.name, rule.weight, rule.flags, rule.active_pair_share) for rule in comparison.rules)
            advised = advised_options(decision.scheme, decision.scheme, rules)
            unasked = {name: value for name, value in advised.items() if getattr(self.options, name) is None}
            scheme += [word for name, value in unasked.items() for word in flag_words(name, value)]
        folder = str(self.output or self.run)
        look = next_step("see all of it in the browser", "report", folder, "--open")
        if decision is not None and not decision.beats_coin:
            kept = Folder(folder).path(COMPARISON_FILE)
            return [next_step("see which rules agree with the labels", "inspect", kept), look]
        weigh = next_step("weigh the rules so", "weigh", *where, *scheme, *again)
        mend = mend_step(comparison.rules, Folder(folder).path(COMPARISON_FILE))
        return [mend or weigh, export_step(self.run) if self.run and not mend else look]


def _named(assignments: Sequence[str]) -> dict[str, str]:
    """Paths by name; ConfigError where one has no name, or a name of another or of what it stands beside."""
    from encore_ray.composition.compare.labels import LABELS

    found: dict[str, str] = {}
    for assignment in assignments:
        name, _, path = assignment.partition("=")
        if not name or not path:
            line = again(beside=f"rewards={assignment.strip('=') or 'REWARDS'}")
            raise ConfigError(f"--beside: expected NAME=REWARDS, found {assignment}. Name them:\n  {line}")
        if name in found or name in LABELS:  # metrics go by name, too
            taken = "named twice" if name in found else "a scheme or a baseline"
            raise ConfigError(f"--beside: {name} is {taken}. Give each its own name.")
        found[name] = absolute(path)
    return found
