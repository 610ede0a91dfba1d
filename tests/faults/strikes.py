"""One job of the campaign: command after command, with what strikes them and what is spoilt between them."""

import random
from collections import Counter

from tests.faults.plans import CommandPlan, Draw
from tests.faults.runs import REFUSED, Ended, Reference, Setup, Verdict, judge, read_all, run_command
from tests.faults.spoils import SPOILS, Spoilt

ENDINGS, HARMLESS = 5, 6  # commands of a job that a fault ends; faults of workers in each command


def strike_job(setup: Setup, reference: Reference, *, seed: int, number: int) -> tuple[Verdict, Counter[str]]:
    """One job, from its first command to the one that ends well.

    What is spoilt before a command stays so until a command names it; what nobody needs any more is named when it is
    read.
    """
    name = f"job-{number}"
    kinds: Counter[str] = Counter()
    problems = []
    silent = 0
    code: int | None = -1
    standing: Spoilt | None = None
    for index, plan in enumerate(job_plans(setup, reference, seed=seed, number=number)):
        if standing is None:
            standing = spoil(plan, setup, name, seed=f"{seed}/{number}/{index}")
            if standing is not None:
                kinds[standing.kind] += 1
                print(f"job {number}, before command {index}: {standing}", flush=True)
        ended = run_command(setup, name, plan, folder=setup.folder / f"{name}-{index}")
        code = ended.code
        kinds += Counter(fault.kind for fault in ended.fired)
        report(number, index, ended)
        found = ended.problems_beside(standing.named if standing else ())
        problems += [f"command {index}: {problem}" for problem in found]
        if found:
            print(ended.output)
        if standing and code in REFUSED and ended.tells(standing.named):
            standing.put_back()
            standing = None
        if code == 0:
            break
    if code != 0:
        return Verdict(problems=[*problems, "it never ended well"]), kinds
    verdict = judge(setup.fetched(name), reference)
    if standing and not verdict.survived:
        said = read_all(setup.folder / name)
        print(f"job {number}: {standing.kind}, and a reader is told: {said}", flush=True)
        silent = not any(spoilt in said for spoilt in standing.named)
        standing.put_back()
        verdict = judge(setup.folder / name, reference)
    verdict.problems += problems
    verdict.silent = int(silent)
    print(f"job {number}: {'the same' if verdict.survived else f'NOT THE SAME: {verdict}'}", flush=True)
    return verdict, kinds


def job_plans(setup: Setup, reference: Reference, *, seed: int, number: int) -> list[CommandPlan]:
    """The commands of a job: those of the draw, and as many without a fault as put back what is spoilt until then."""
    on_disk = setup.store is None
    files = [str(path.relative_to(setup.folder)) for path in setup.inputs] if on_disk else None
    draw = Draw(seed, reference.steps, files, model=setup.weights, spoils=list(SPOILS) if on_disk else ())
    plans = draw.job(number, endings=ENDINGS, harmless=HARMLESS)
    return [*plans, CommandPlan(), CommandPlan()] if on_disk else plans


def spoil(plan: CommandPlan, setup: Setup, name: str, *, seed: str) -> Spoilt | None:
    """Spoil the first of what the plan says that there is something of."""
    for kind in plan.spoils:
        spoilt = SPOILS[kind](random.Random(seed), setup, setup.folder / name)
        if spoilt is not None:
            return spoilt
    return None


def report(job: int, command: int, ended: Ended) -> None:
    for fault in ended.fired:
        print(f"job {job}, command {command}: {fault}")
    how = "did not end" if ended.code is None else f"ended with {ended.code}"
    print(f"job {job}, command {command}: {len(ended.fired)} faults, {how} after {ended.seconds:.0f} s", flush=True)
