"""Three hosts over an object store: one is cut off and comes back, one loses its power, and nobody can tell from the
tables. A command on another of them is kept out as long as the job runs, and told by whom."""

import contextlib
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from encore_ray.engine.work.unit_work import WORKER
from encore_ray.folder.driver.lock import driver_of
from encore_ray.storage import Folder
from tests.faults.hosts import Forbidden, Host, hosts
from tests.faults.plans import CommandPlan, Steps
from tests.faults.runs import (
    BUCKET,
    TABLES,
    Reference,
    Setup,
    contents,
    fresh_ray_folder,
    ids,
    judge,
    make_setup,
    onto_store,
    ray_folder,
    start_command,
)
from tests.fuzz.commands import run_command
from tests.object_store import FaultProxy, Store, fault_proxy
from tests.patience import PATIENCE_S

NUM_UNITS = 12
PACE_S = 5.0  # that a unit takes longer: 20 s for three workers, a minute for one
CUT_S = 25.0  # a host is declared dead after 16 to 20 s without a sign of life

RAY = {
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "4000",
    "RAY_health_check_failure_threshold": "4",
    "RAY_health_check_initial_delay_ms": "2000",
    "RAY_raylet_start_wait_time_s": "180",  # of a node on a busy machine
    "NO_PROXY": "*",
}
PORT = 6379
STARTED = "Ray runtime started"


@pytest.fixture
def cluster_hosts(tmp_path: Path) -> Iterator[tuple[str, list[Host]]]:
    """This machine's address, and three hosts."""
    with contextlib.ExitStack() as running:
        running.enter_context(fresh_ray_folder())
        try:
            found = running.enter_context(hosts(("head", "cut-off", "powerless"), disk=ray_folder()))
        except Forbidden as needs:
            pytest.skip(f"needs {needs}")
        yield found


def start_nodes(found: list[Host], environment: dict[str, str], folder: Path) -> None:
    """A Ray node of one CPU on each host, the head first; others that end are started again, as services are."""
    ray = f"{Path(sys.executable).parent}/ray"
    common = [
        "--num-cpus=1",
        "--object-store-memory=100000000",
        "--include-log-monitor=false",
        "--disable-usage-stats",
        "--block",
    ]
    head, *others = found
    command = [
        ray,
        "start",
        "--head",
        f"--port={PORT}",
        "--include-dashboard=false",
        "--no-monitor",
        f"--node-ip-address={head.address}",
    ]
    started = start_node(head, [*command, *common], environment, folder)
    started()
    starting = []
    for host in others:
        words = [ray, "start", f"--address={head.address}:{PORT}", f"--node-ip-address={host.address}", *common]
        command = ["sh", "-c", f"while :; do {' '.join(words)}; sleep 1; done"]
        starting.append(start_node(host, command, environment, folder))
    for started in starting:
        started()


def start_node(host: Host, command: list[str], environment: dict[str, str], folder: Path) -> Callable[[], None]:
    """Start a host's node; what waits until it is up."""
    log = folder / f"{host.name}.log"
    process = host.start(command, environment, log)
    return lambda: wait_until(lambda: STARTED in log.read_text(), process, log)


def workers(store: Store) -> list[str]:
    """The host of the worker that did it, for each unit that is scored."""
    records = store.objects(BUCKET, "disturbed/scores/commits/").values()
    return [json.loads(record)["notes"][WORKER].partition("/")[0] for record in records]


def wait_until(done: Callable[[], bool], process: "subprocess.Popen[bytes]", output: Path) -> None:
    """Wait for something that happens while a process runs."""
    end = time.monotonic() + PATIENCE_S
    while not done():
        assert process.poll() is None and time.monotonic() < end, output.read_text()
        time.sleep(0.5)  # a look at the store keeps it busy


def make_store_reference(setup: Setup) -> Reference:
    """The undisturbed run, done in this process."""
    code, said = run_command(["run", str(setup.job("undisturbed")), "--set", "cluster.engine=local"])
    assert code == 0, said
    run = setup.fetched("undisturbed")
    return Reference(run, Steps({}), contents(run), {name: ids(run, name) for name in TABLES})


@pytest.mark.ray
@pytest.mark.timeout(900)  # four minutes on two cores that do five times as much beside it
def test_of_three_hosts_one_is_cut_off_and_one_loses_power_and_no_second_driver_gets_in(
    s3: Store, cluster_hosts: tuple[str, list[Host]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, (head, cut_off, powerless) = cluster_hosts
    with fault_proxy(s3, lambda request: None, address=address) as proxy:
        disturb(s3, proxy, head, cut_off, powerless, tmp_path, monkeypatch)


def disturb(
    s3: Store,
    proxy: FaultProxy,
    head: Host,
    cut_off: Host,
    powerless: Host,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    setup = make_setup(folder / "job", with_model=False, pairs_a_file=NUM_UNITS * 4 // 6)
    setup = onto_store(setup, s3, proxy.endpoint)
    plan = CommandPlan(pace_s=PACE_S)
    armed = plan.write(folder / "faults", setup.run("disturbed"))
    environment = {**setup.environment, **RAY, "RAY_TMPDIR": str(ray_folder()), **armed}
    start_nodes([head, cut_off, powerless], environment, folder)
    reference = make_store_reference(setup)
    for name, value in {**RAY, "RAY_ADDRESS": f"{head.address}:{PORT}"}.items():
        monkeypatch.setenv(name, value)

    first, output = start_command(setup, "disturbed", plan, folder=folder / "faults", where=head.enter)
    wait_until(lambda: "on head" in (driver_of(Folder(setup.run("disturbed"))) or ""), first, output)
    second, refusal = start_command(setup, "disturbed", CommandPlan(), folder=folder / "second", where=powerless.enter)
    wait_until(lambda: set(workers(s3)) == {"head", "cut-off", "powerless"}, first, output)
    cut_off.pull_cable()
    cut_at = time.monotonic()
    assert second.wait(PATIENCE_S) == 2, refusal.read_text()
    powerless.lose_power()
    time.sleep(max(0.0, cut_at + CUT_S - time.monotonic()))
    assert len(workers(s3)) < NUM_UNITS
    cut_off.plug_in()
    assert first.wait(PATIENCE_S) == 0, output.read_text()

    said = " ".join(refusal.read_text().split())
    assert re.search(r"Another process works on s3://runs/disturbed: process \d+ on head, since .* last renewal", said)
    assert "Traceback" not in said + output.read_text()
    verdict = judge(setup.fetched("disturbed"), reference)
    assert verdict.survived, verdict
