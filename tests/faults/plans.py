"""What goes wrong when: faults drawn from a seed, out of the steps that an undisturbed run takes.

A fault is tied to the n-th time of a step, as "before the 3rd link of scores/commits/*", so that the same seed
strikes at the same units. See `armed/sitecustomize.py` for steps and actions.
"""

import json
import os
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

import psutil

Role = Literal["driver", "worker"]

SPOILS_A_JOB = 3
PASSES = ("prepare", "score", "weigh", "compose", "evaluate", "compare", "report")
# Which pass takes a step, by the first mark that its name holds.
_MARKS = {
    "scan": 0,
    "convert": 0,
    "pairs": 0,
    "prepare": 0,
    "score": 1,
    "read": 1,
    "rules.yaml": 1,
    "measure": 2,
    "rewards": 3,
    "compose": 3,
    "weights.json": 2,
    "metrics.json": 4,
    "evaluation": 4,
    "comparison.json": 5,
    "report": 6,
}
_ORDINALS = {1: "st", 2: "nd", 3: "rd"}

# Ends of a command, as (return codes that are right, what the fault is called).
ENDINGS: dict[str, tuple[frozenset[int], str]] = {
    "kill": (frozenset({-9}), "kill -9 of the driver"),
    "kill_driver": (frozenset({-9}), "kill -9 of the driver"),
    "tear": (frozenset({-9}), "kill -9 of the driver"),
    "kill_node": (frozenset({4}), "kill -9 of the driver's raylet"),
    "kill_gcs": (frozenset({4}), "kill -9 of the GCS"),
    "stand_still": (frozenset({4}), "driver stands still while another takes over"),
    "terminate": (frozenset({143, 0}), "SIGTERM"),
    "interrupt": (frozenset({130, 0}), "Ctrl-C"),
    "full": (frozenset({2, 3, 4}), "full disk"),
    "read_only": (frozenset({2, 3, 4}), "read-only file system"),
    "broken": (frozenset({2, 3, 4}), "input/output error"),
    "vanish": (frozenset({0, 2, 3, 4}), "input file vanishes"),
    "truncate": (frozenset({0, 2, 3, 4}), "input file is truncated"),
    "swap": (frozenset({0, 4}), "model replaced while it scores"),
    "crowd": (frozenset({0, 4}), "memory taken by a neighbour"),
}
# The job goes on after these, in a worker.
HARMLESS = {
    "kill": "kill -9 of a worker",
    "tear": "kill -9 of a worker while it writes",
    "kill_later": "kill -9 of a worker at a random instant",
    "slow": "slow worker",
    "zombie": "zombie worker",
    "hang": "hanging worker",
    "clock": "clock jumps",
}

_NO_DEATHS = frozenset({"slow", "clock"})

# What ends every other command. "input" vanishes or is truncated.
_ENDINGS = (
    *("kill_driver", "kill_node", "kill_gcs", "tear", "terminate", "interrupt", "full", "read_only", "broken"),
    *("input", "swap", "crowd"),
)
CROWD_BYTES = 1 << 30  # of a neighbour; half of it is what Ray's limit leaves free
_DISK_ACTIONS = frozenset({"tear", "full", "read_only", "broken", "input", "swap"})
_OF_WORKERS = frozenset({"kill_driver", "kill_node", "kill_gcs", "crowd"})
_HARMLESS_WEIGHTS = {"kill": 49, "tear": 12, "kill_later": 18, "slow": 8, "zombie": 11, "hang": 2, "clock": 10}


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong once.

    Attributes:
        number: unique in its job. nth: at which time that any process of the role takes the step; from 1.
        side: "before" or "after" the step. action: see `armed/sitecustomize.py`.
        seconds: of actions that take or wait for a time, or by which a clock jumps.
        path: of actions on a file, relative to the folder of all files.
    """

    number: int
    role: Role
    step: str
    side: Literal["before", "after"]
    nth: int
    action: str
    seconds: float = 0.0
    path: str = ""

    @property
    def ends_command(self) -> bool:
        return self.action not in HARMLESS or (self.role == "driver" and self.action in ("kill", "tear"))

    @property
    def codes(self) -> frozenset[int]:
        """Return codes that a command may have after this fault."""
        return ENDINGS[self.action][0] if self.ends_command else frozenset({0})

    @property
    def named(self) -> str:
        """What a command that it ends says in its error; "" where that follows from where it strikes."""
        if self.action == "swap":  # the file, or the model where a process that begins finds another one
            return f"/{os.path.dirname(self.path)}"
        return "memory" if self.action == "crowd" else self.path

    @property
    def kind(self) -> str:
        return ENDINGS[self.action][1] if self.ends_command else HARMLESS[self.action]

    def __str__(self) -> str:
        ordinal = _ORDINALS.get(self.nth % 10 if self.nth not in (11, 12, 13) else 0, "th")
        return f"{self.kind}, {self.side} the {self.nth}{ordinal} `{self.step}` of a {self.role}"


@dataclass(frozen=True)
class Steps:
    """How often an undisturbed run takes each step, by role; in the order of their first times."""

    times: dict[tuple[Role, str], int]

    @classmethod
    def of_trace(cls, trace: Path) -> "Steps":
        counted: Counter[tuple[Role, str]] = Counter()
        for line in trace.read_text().splitlines():
            role, _, step = line.partition(" ")
            counted[role, step] += 1  # type: ignore[index]
        return cls(dict(counted))

    def of(self, role: Role, passes: Sequence[int] = range(len(PASSES))) -> list[str]:
        return sorted(step for known, step in self.times if known == role and pass_of(step) in passes)

    def place(self, fault: "Fault") -> int:
        """Where in a run a fault strikes, to put faults in order."""
        return list(self.times).index((fault.role, fault.step))


@dataclass(frozen=True)
class CommandPlan:
    """The faults of one command, to be put into the processes' environment.

    Attributes:
        spoils: what is spoilt before it begins, of `spoils.SPOILS`: the first of these that there is something of.
    """

    faults: list[Fault] = field(default_factory=list)
    trace: bool = False
    pace_s: float = 0.0
    spoils: tuple[str, ...] = ()

    def write(self, folder: Path, run: str, *, files: Path = Path()) -> dict[str, str]:
        """Write the plan into a folder of its own; returns the variables that arm it.

        Args:
            folder: for the plan.
            run: the run folder.
            files: where the paths of faults begin.
        """
        folder.mkdir(parents=True, exist_ok=True)
        plan = {"run": run, "folder": str(folder), "trace": self.trace, "pace_s": self.pace_s}
        faults = [{**asdict(fault), "path": str(files / fault.path)} for fault in self.faults]
        (folder / "plan.json").write_text(json.dumps({**plan, "crowd_bytes": CROWD_BYTES, "faults": faults}))
        search = [str(Path(__file__).parent / "armed"), str(Path(__file__).parents[2])]
        variables = {"FAULT_PLAN": str(folder / "plan.json"), "PYTHONPATH": os.pathsep.join(search)}
        if any(fault.action == "crowd" for fault in self.faults):
            memory = psutil.virtual_memory()
            threshold = (memory.total - memory.available + CROWD_BYTES / 2) / memory.total
            variables |= {"RAY_memory_usage_threshold": f"{threshold:.4f}", "RAY_memory_monitor_refresh_ms": "100"}
        return variables

    def fired(self, folder: Path) -> list[Fault]:
        """The faults that happened, in order."""
        place = folder / "fired"
        numbers = [int(line) for line in place.read_text().split()] if place.exists() else []
        by_number = {fault.number: fault for fault in self.faults}
        return [by_number[number] for number in numbers]


def pass_of(step: str) -> int:
    """Number of the pass that takes a step; that of the last one for files of the whole run."""
    words = step.removeprefix("commit of ").split(" ")[-1]
    found = [number for mark, number in _MARKS.items() if mark in words]
    return max(found) if found else len(PASSES) - 1


class Draw:
    """Draws the commands of one job after another.

    Every other command is ended by a kill of the driver, at one of its steps after the other, those between by one kind
    of fault after the other, both in an order of the seed: what is rare comes in every campaign, too.

    Args:
        seed: with a job's number it decides everything.
        steps: of an undisturbed run.
        inputs: files that may vanish or be truncated. None: neither these nor the run folder are on a disk that faults
            could be made on.
        model: files of its weights, if there is a model.
        spoils: what may be spoilt between commands.
    """

    def __init__(
        self,
        seed: int,
        steps: Steps,
        inputs: Sequence[str] | None,
        *,
        model: Sequence[str] = (),
        spoils: Sequence[str] = (),
    ):
        self._seed = seed
        self._steps = steps
        self._inputs = list(inputs or ())
        self._model = list(model)
        self._spoils = list(spoils)
        without = _DISK_ACTIONS if inputs is None else frozenset[str]() if model else frozenset({"swap"})
        self._endings = [action for action in _ENDINGS if action not in without]

    def job(self, number: int, *, endings: int, harmless: int) -> list[CommandPlan]:
        """The commands of a job: so many that a fault ends, each with harmless faults before, and a last one.

        Args:
            number: of the job; with the seed it decides everything.
            endings: commands that a fault ends.
            harmless: faults of workers in each command.
        """
        rng = random.Random(f"{self._seed}/{number}")
        drawn_endings = [self._ending(rng, number * endings + index) for index in range(endings)]
        last: list[Fault | None] = [*sorted(drawn_endings, key=self._steps.place), None]
        plans, before, count = [], 0, 0
        for ending in last:
            at = pass_of(ending.step) if ending else len(PASSES) - 1
            drawn = [self._harmless(rng, range(before, at + 1)) for _ in range(harmless)]
            faults = _spread([fault for fault in drawn if fault])
            faults = [*faults, *([ending] if ending else [])]
            plans.append(CommandPlan([_numbered(fault, count + index) for index, fault in enumerate(faults)]))
            before, count = at, count + len(faults)
        return self._spoiling(plans, number)

    def _spoiling(self, plans: list[CommandPlan], number: int) -> list[CommandPlan]:
        """Before some of the commands after the first, something is spoilt: one kind after another over all jobs."""
        if not self._spoils:
            return plans
        rng = random.Random(f"{self._seed}/{number}/spoils")
        chosen = set(rng.sample(range(1, len(plans)), min(SPOILS_A_JOB, len(plans) - 1)))
        deck = list(self._spoils)
        random.Random(f"{self._seed}/spoils").shuffle(deck)
        found = []
        for index, plan in enumerate(plans):
            at = (number * SPOILS_A_JOB + sum(other < index for other in chosen)) % len(deck)
            found.append(replace(plan, spoils=(*deck[at:], *deck[:at])) if index in chosen else plan)
        return found

    def _ending(self, rng: random.Random, number: int) -> Fault:
        if number % 2 == 0:
            step = self._dealt(self._steps.of("driver"), number // 2)
            return self._fault(rng, "driver", step, "kill", side=rng.choice(["before", "after"]))
        action = self._dealt(self._endings, number // 2)
        if action == "input":
            path, action = rng.choice(self._inputs), rng.choice(["vanish", "truncate"])
            return self._fault(rng, "worker", rng.choice(["scan", "convert"]), action, path=path)
        if action == "swap":
            step = rng.choice(self._steps.of("worker", [PASSES.index("score")]))
            return self._fault(rng, "worker", step, action, path=rng.choice(self._model))
        role: Role = "worker" if action in _OF_WORKERS else rng.choice(["driver", "worker"])
        steps = self._steps.of(role)
        if action == "tear":
            role, steps = "driver", [step for step in self._steps.of("driver") if step.startswith("write")]
        elif action in ("full", "read_only", "broken"):
            steps = [step for step in steps if step.startswith(("write", "replace", "link"))]
        step = rng.choice(steps)
        side = "before" if action in ("tear", "full", "read_only", "broken") else rng.choice(["before", "after"])
        return self._fault(rng, role, step, action, side=side)

    def _dealt(self, cards: Sequence[str], number: int) -> str:
        """One card after another, in an order of the seed; when all were dealt, all over again in another."""
        deck = list(cards)
        random.Random(f"{self._seed}/{number // len(deck)}").shuffle(deck)
        return deck[number % len(deck)]

    def _harmless(self, rng: random.Random, passes: Sequence[int]) -> Fault | None:
        action = rng.choices(list(_HARMLESS_WEIGHTS), list(_HARMLESS_WEIGHTS.values()))[0]
        steps = self._steps.of("worker", passes)
        if action == "tear":
            steps = [step for step in steps if step.startswith("write")]
        elif action == "zombie":
            steps = [step for step in steps if step.startswith("commit of")]
        if not steps:
            return None
        seconds = {"kill_later": rng.uniform(0, 0.3), "slow": rng.uniform(0.5, 3), "zombie": rng.uniform(0.2, 6)}
        seconds["clock"] = rng.choice([-1, 1]) * 10 ** rng.uniform(0, 6)
        side = "before" if action in ("tear", "zombie") else rng.choice(["before", "after"])
        role: Role = "worker"
        if action == "clock" and rng.random() < 0.5 and (driven := self._steps.of("driver", passes)):
            role, steps = "driver", driven
        return self._fault(rng, role, rng.choice(steps), action, side=side, seconds=seconds.get(action, 0.0))

    def _fault(self, rng: random.Random, role: Role, step: str, action: str, **values: object) -> Fault:
        most = self._steps.times[role, step]
        nth = rng.randint(1, max(1, most // 2))  # later commands take a step less often
        side = values.pop("side", "before")
        if step.startswith("delete"):  # often of what is not there, so that nothing comes after it
            side = "before"
        return Fault(0, role, step, side, nth, action, **values)  # type: ignore[arg-type]


def _numbered(fault: Fault, number: int) -> Fault:
    return Fault(**{**asdict(fault), "number": number})


def _spread(faults: list[Fault]) -> list[Fault]:
    """At most two deaths of workers in a pass: more could take a unit's every attempt, and condemn it."""
    seen: Counter[int] = Counter()
    kept = []
    for fault in faults:
        at = pass_of(fault.step)
        seen[at] += fault.action not in _NO_DEATHS
        if fault.action in _NO_DEATHS or seen[at] <= 2:
            kept.append(fault)
    return kept
