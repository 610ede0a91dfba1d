"""What a whole job ends with."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from encore_ray.console.ending import MOST_STEPS, Edit, Ending, NextStep, next_step
from encore_ray.console.sentences import tell_agreement
from encore_ray.console.steps import export_step
from encore_ray.console.words import be, plural
from encore_ray.schema import COMPARISON_FILE, METRICS_FILE, REPORT_FILE, REWARDS_DIR, WEIGHTS_FILE
from encore_ray.shell import command, near
from encore_ray.visible import visible

if TYPE_CHECKING:
    from encore_ray.check.unsaid import Unsaid
    from encore_ray.job import JobResult


def job_ending(result: "JobResult", *, again: Sequence[str], edit: Edit | None = None) -> Ending:
    """The ending of a finished job.

    Args:
        again: the words of the command that runs the same job again.
        edit: what its file does not say.
    """
    content, warnings = job_content(result), job_warnings(result)
    run = near(result.run.uri)
    look = next_step("see all of it in the browser", "report", run, "--open")
    decision = result.comparison.decision if result.comparison else None
    if decision is not None and not decision.beats_coin:
        rules = next_step("see what each rule says, and mend rules.yaml", "inspect", result.run.path(WEIGHTS_FILE))
        return Ending(_tell(result), [rules, look], content, warnings=warnings, edit=edit)
    steps = [*_other_weights(result, again), export_step(run), look]
    return Ending(_tell(result), steps[:MOST_STEPS], content, warnings=warnings, edit=edit)


def tell_unsaid(file: str, unsaid: "Unsaid | None") -> Edit | None:
    """That the file of a job does not say all that its run was made with.

    Args:
        file: as a person here would type it.
    """
    if unsaid is None:
        return None
    alone = command("encore-ray", "run", file)
    why = (
        f"{file} does not say all that this run was made with: `{alone}` by itself {unsaid.alone}. To have it said, "
        "put these lines into it; of a section that is there already, those below its name:"
    )
    return Edit(why, unsaid.lines)


def job_warnings(result: "JobResult") -> list[str]:
    """Of weights and comparison, each once, and the files that were left out."""
    compared = result.comparison.warnings if result.comparison else []
    left_out = [f"Left out: {visible(problem)}" for problem in result.left_out]
    return list(dict.fromkeys([*left_out, *result.weights.warnings, *compared]))


def job_content(result: "JobResult") -> dict[str, Any]:
    """All of it as a JSON value."""
    return {
        "run": result.run.uri,
        "files": {name: result.run.path(name) for name in (REWARDS_DIR, WEIGHTS_FILE, METRICS_FILE, REPORT_FILE)},
        "mlflow": result.tracking_uri,
        "seconds": round(result.seconds, 1),
        "passes_done": list(result.done),
        "prepared": dict(result.prepared),
        "scored": dict(result.scored),
        "weights": result.weights.to_dict(),
        "metrics": result.metrics.content,
        COMPARISON_FILE.partition(".")[0]: result.comparison.content if result.comparison else None,
    }


def _tell(result: "JobResult") -> str:
    num_rules, scored = len(result.weights.names), result.scored["scored"]
    done = "" if result.done else "Nothing to do, all passes stand: "
    found = f"{plural(scored, 'pair')} {be(scored)} scored under {plural(num_rules, 'rule')}"
    agrees = f"their reward {tell_agreement(result.metrics.overall)}"
    decision = result.comparison.decision if result.comparison else None
    return f"{done}{found}; {agrees}." + (f" {decision.title}." if decision else "")


def _other_weights(result: "JobResult", again: Sequence[str]) -> list[NextStep]:
    """The same job by the weights that its pairs advise, where it has others."""
    from encore_ray.composition.compare.decision import advised_options

    decision = result.comparison.decision if result.comparison else None
    if decision is None or not decision.beats_coin or len(result.weights.names) == 1:
        return []
    rules = ((rule.name, rule.weight, rule.flags, rule.active_pair_share) for rule in result.weights.rules)
    options = advised_options(decision.scheme, result.weights.scheme, rules)
    if not options:
        return []
    sets = [word for name, value in options.items() for word in ("--set", f"weigh.{name}={value}")]
    return [next_step("use the weights that these pairs advise", *again, *sets, "--overwrite")]
