"""Prometheus sees what units committed, once; the dashboard asks for metrics that exist."""

import json
import re
import time
import urllib.request
from pathlib import Path

import pytest
import ray

from encore_ray.engine.on_ray.meters import Meters
from encore_ray.engine.progress import Progress
from tests.patience import PATIENCE_S

ROOT = Path(__file__).parent.parent.parent

pytestmark = pytest.mark.usefixtures("ray_engine")


def scrape() -> dict[str, float]:
    """Our metrics as Prometheus reads them: name{labels without Ray's own} to value."""
    (node,) = ray.nodes()
    address = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    with urllib.request.urlopen(address, timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    found = {}
    for line in lines:
        match = re.fullmatch(r"(ray_encore_ray_\w+)\{(.*)\} (\S+)", line)
        if match:
            labels = dict(re.findall(r'(\w+)="([^"]*)"', match[2]))
            found[f"{match[1]} {labels['run']} {labels['pass']}"] = float(match[3])
    return found


def test_a_run_of_any_name_is_counted():
    Meters("lauf 1 für später")(Progress("weigh", 7, 7, 1, 1, 0, 1.0))
    deadline = time.monotonic() + PATIENCE_S
    wanted = "ray_encore_ray_rows_total lauf%201%20f%C3%BCr%20sp%C3%A4ter weigh"
    while wanted not in scrape() and time.monotonic() < deadline:
        time.sleep(0.5)
    assert scrape()[wanted] == 7


def test_a_resumed_pass_counts_on_and_prometheus_reads_the_sums():
    meters = Meters("metered")
    meters(Progress("score", 100, 300, 1, 3, 100, 0.0, {"tokens": 1000, "forward_ms": 1500, "idle_ms": 500}))
    counts = {"tokens": 3000, "forward_ms": 4500, "idle_ms": 500}
    meters(Progress("score", 300, 300, 3, 3, 100, 9.0, counts, workers=2, lost_units=1))
    meters(Progress("weigh", 300, 300, 3, 3, 0, 1.0))
    expected = {
        "ray_encore_ray_rows_total metered score": 300.0,
        "ray_encore_ray_units_total metered score": 3.0,
        "ray_encore_ray_total_rows metered score": 300.0,
        "ray_encore_ray_tokens_total metered score": 3000.0,
        "ray_encore_ray_forward_seconds_total metered score": 4.5,
        "ray_encore_ray_wait_seconds_total metered score": 0.5,
        "ray_encore_ray_lost_units_total metered score": 1.0,
        "ray_encore_ray_workers metered score": 2.0,
        "ray_encore_ray_rows_total metered weigh": 300.0,
    }
    end = time.monotonic() + PATIENCE_S
    while not expected.items() <= (found := scrape()).items():
        assert time.monotonic() < end, found
        time.sleep(0.2)


def test_the_dashboard_asks_for_metrics_that_a_job_has():
    board = json.loads((ROOT / "jobs" / "grafana.json").read_text())
    asked = {
        name
        for panel in board["panels"]
        for target in panel["targets"]
        for name in re.findall(r"ray_encore_ray_(\w+?)(?:_total)?\{", target["expr"])
    }
    meters = Meters("dashboard")
    made = {meters._rows, meters._units, meters._lost_units, meters._workers, *meters._counters.values()}
    names = {metric.info["name"].removeprefix("encore_ray_") for metric in made} | {"total_rows"}
    assert asked <= names
    assert {"rows", "tokens", "wait_seconds", "quarantined_rows", "lost_units", "workers"} <= asked
