"""The faults are what they say: their steps exist, a seed repeats them, and the judge can find a run guilty."""

import importlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.faults.armed.sitecustomize import FUNCTIONS, STORE_FUNCTIONS, file_step
from tests.faults.plans import PASSES, SPOILS_A_JOB, CommandPlan, Draw, Fault, Role, Steps, pass_of
from tests.patience import PATIENCE_S

TIMES: dict[tuple[Role, str], int] = {
    ("driver", "replace pairs/_SUCCESS"): 1,
    ("driver", "write scores/*"): 3,
    ("driver", "replace weights.json"): 1,
    ("worker", "scan"): 6,
    ("worker", "convert"): 6,
    ("worker", "commit of score"): 24,
    ("worker", "link scores/commits/*"): 24,
    ("worker", "write rewards/data/*"): 24,
}
INPUT = "corpus.jsonl"
WRITER = """
import os, sys
sys.orig_argv = ["-m", "encore_ray.cli"]
import sitecustomize
sitecustomize.arm(os.environ["PLAN"])
for name in "abc":
    with open(f"{sys.argv[1]}/.tmp-{name}", "wb") as file:
        file.write(b"0123456789")
        file.flush()
        os.fsync(file.fileno())
    os.replace(f"{sys.argv[1]}/.tmp-{name}", f"{sys.argv[1]}/{name}")
"""


@pytest.mark.parametrize(("step", "module", "function"), FUNCTIONS + STORE_FUNCTIONS)
def test_every_step_that_is_a_call_is_there(step: str, module: str, function: str) -> None:
    owner, _, name = function.partition(".")
    assert callable(getattr(getattr(importlib.import_module(module), owner), name))
    assert pass_of(step.format(self=SimpleNamespace(table=SimpleNamespace(name="score")), file="scores/data/*")) < len(
        PASSES
    )


@pytest.mark.parametrize(
    ("path", "step"),
    [
        ("/run/_SUCCESS", "_SUCCESS"),
        ("/run/scores/data/unit-1.parquet", "scores/data/*"),
        ("/run/scores/commits/.tmp-1", "scores/commits/*"),
        ("/run/scores/.tmp-1", "scores/*"),
        ("/run/.tmp-1", "*"),
        ("/run/quarantine/prepare/unit.parquet", "quarantine/prepare/*"),
        ("/runs/_SUCCESS", None),
    ],
)
def test_steps_name_files_without_units(path: str, step: str | None) -> None:
    assert file_step("/run/", path) == step
    assert file_step("s3://bucket/run/", f"s3://bucket{path}") == step


def test_a_seed_and_a_number_decide_a_job() -> None:
    draws = [Draw(seed, Steps(TIMES), [INPUT]) for seed in (1, 1, 2)]
    first, again, other = ([draw.job(number, endings=4, harmless=3) for number in range(9)] for draw in draws)
    assert first == again != other
    for plans in first:
        assert [sum(fault.ends_command for fault in plan.faults) for plan in plans] == [1, 1, 1, 1, 0]
        numbers = [fault.number for plan in plans for fault in plan.faults]
        assert numbers == list(range(len(numbers)))


def test_every_step_of_the_driver_is_struck_before_one_is_struck_again() -> None:
    draw = Draw(0, Steps(TIMES), [INPUT])
    jobs = [draw.job(number, endings=2, harmless=0) for number in range(6)]
    faults = [fault for plans in jobs for plan in plans for fault in plan.faults]
    kills = [fault.step for fault in faults if fault.role == "driver" and fault.action == "kill"]
    assert len(kills) == 6
    assert len(set(kills[:3])) == len(set(kills[3:])) == 3


def test_every_kind_of_ending_is_dealt_before_one_comes_again() -> None:
    draw = Draw(0, Steps(TIMES), [INPUT], model=["model.safetensors"])
    faults = [
        fault for number in range(12) for plan in draw.job(number, endings=2, harmless=0) for fault in plan.faults
    ]
    others = [fault.action for fault in faults if fault.action != "kill"]
    assert len(others) == 12 and {"crowd", "swap", "kill_gcs"} < set(others)
    assert len({"input" if action in ("vanish", "truncate") else action for action in others}) == 12


def test_an_object_store_is_struck_by_what_can_happen_to_it() -> None:
    draw = Draw(0, Steps(TIMES), None)
    faults = [
        fault for number in range(40) for plan in draw.job(number, endings=4, harmless=0) for fault in plan.faults
    ]
    assert {fault.action for fault in faults} == {
        "kill",
        "kill_driver",
        "kill_node",
        "kill_gcs",
        "crowd",
        "terminate",
        "interrupt",
    }


def armed(folder: Path, faults: list[Fault]) -> tuple[CommandPlan, dict[str, str]]:
    (folder / "run").mkdir(exist_ok=True)
    plan = CommandPlan(faults, trace=True)
    variables = plan.write(folder / "faults", str(folder / "run"))
    return plan, {**os.environ, "PYTHONPATH": variables["PYTHONPATH"], "PLAN": variables["FAULT_PLAN"]}


def write_three(folder: Path, environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", WRITER, str(folder / "run")]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE_S)


def test_a_fault_strikes_at_its_time_and_once_over_all_processes(tmp_path: Path) -> None:
    torn = Fault(0, "driver", "write *", "before", 2, "tear")
    full = Fault(1, "driver", "replace c", "before", 1, "full")
    plan, environment = armed(tmp_path, [torn, full])
    assert write_three(tmp_path, environment).returncode == -signal.SIGKILL
    assert (tmp_path / "run" / ".tmp-b").read_bytes() == b"01234"
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [".tmp-b", "a"]
    again = write_three(tmp_path, environment)
    assert again.returncode == 1 and "No space left on device" in again.stderr
    assert write_three(tmp_path, environment).returncode == 0
    assert plan.fired(tmp_path / "faults") == [torn, full]
    assert (tmp_path / "faults" / "trace").read_text().splitlines().count("driver write *") == 2 + 3 + 3


def test_a_process_that_is_no_part_of_the_job_is_left_alone(tmp_path: Path) -> None:
    _, environment = armed(tmp_path, [])
    command = [sys.executable, "-c", "import os, sys; print(os.replace.__module__, len(sys.meta_path))"]
    variables = {**environment, "FAULT_PLAN": environment["PLAN"]}
    plain = {name: value for name, value in environment.items() if name != "PYTHONPATH"}
    said = [subprocess.run(command, env=env, capture_output=True, text=True).stdout for env in (variables, plain)]
    assert said[0] == said[1]


def test_a_plan_is_readable(tmp_path: Path) -> None:
    fault = Fault(4, "worker", "score", "after", 3, "kill")
    CommandPlan([fault]).write(tmp_path, str(tmp_path / "run"))
    assert json.loads((tmp_path / "plan.json").read_text())["faults"][0]["step"] == "score"
    assert str(fault) == "kill -9 of a worker, after the 3rd `score` of a worker"


def test_all_kinds_of_spoils_come_one_after_another_and_never_before_the_first_command() -> None:
    kinds = [f"kind-{number}" for number in range(7)]
    jobs = [Draw(3, Steps(TIMES), [INPUT], spoils=kinds).job(number, endings=5, harmless=2) for number in range(7)]
    assert jobs == [
        Draw(3, Steps(TIMES), [INPUT], spoils=kinds).job(number, endings=5, harmless=2) for number in range(7)
    ]
    drawn = [plan.spoils for plans in jobs for plan in plans if plan.spoils]
    assert len(drawn) == 7 * SPOILS_A_JOB
    assert all(sorted(spoils) == kinds for spoils in drawn)  # where there is nothing of the first, the next is taken
    assert {spoils[0] for spoils in drawn[:7]} == set(kinds)
    assert not any(plans[0].spoils for plans in jobs)
    bare = [Draw(3, Steps(TIMES), [INPUT]).job(number, endings=5, harmless=2) for number in range(7)]
    assert [[plan.faults for plan in plans] for plans in jobs] == [[plan.faults for plan in plans] for plans in bare]


CLOCK = """
import os, sys, time
sys.orig_argv = ["-m", "encore_ray.cli"]
import sitecustomize
sitecustomize.arm(os.environ["PLAN"])
from ray import cloudpickle
now, before = time.time, time.time()
os.replace(f"{sys.argv[1]}/a", f"{sys.argv[1]}/b")
print(round(time.time() - before), round(time.time_ns() / 1e9 - before))
assert cloudpickle.loads(cloudpickle.dumps([now, len])) == [time.time, len]
"""


def test_a_clock_jumps_for_the_process_that_takes_the_step(tmp_path: Path) -> None:
    _, environment = armed(tmp_path, [Fault(0, "driver", "replace b", "after", 1, "clock", seconds=-86400)])
    (tmp_path / "run" / "a").touch()
    command = [sys.executable, "-c", CLOCK, str(tmp_path / "run")]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE_S)
    assert said.stdout.split() == ["-86400", "-86400"], said.stderr


def test_a_model_that_is_replaced_in_place_has_the_size_and_times_of_before(tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    weights.write_bytes(b"0123456789")
    os.utime(weights, ns=(1, 2))
    _, environment = armed(tmp_path, [Fault(0, "driver", "replace a", "before", 1, "swap", path=str(weights))])
    assert write_three(tmp_path, environment).returncode == 0
    assert weights.read_bytes() == b"01234567\x399" and Path(f"{weights}.away").read_bytes() == b"0123456789"
    assert (weights.stat().st_size, weights.stat().st_mtime_ns) == (10, 2)
