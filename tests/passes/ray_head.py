"""A Ray cluster of one node with a dashboard, started as people do, and a link to it that can be cut."""

import contextlib
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from tests.patience import PATIENCE_S

_HEAD_ID = "f" * 51 + "00000"
_AUTOSCALER = {
    "RAY_FAKE_CLUSTER": "1",
    "AUTOSCALER_UPDATE_INTERVAL_S": "1",
    "RAY_OVERRIDE_NODE_ID_FOR_TESTING": _HEAD_ID,
}
_COMMANDS = (
    "initialization_commands",
    "setup_commands",
    "head_setup_commands",
    "worker_setup_commands",
    "head_start_ray_commands",
    "worker_start_ray_commands",
)
_NOT_OF_A_HEAD = ("RAY_ADDRESS", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE")


@contextlib.contextmanager
def ray_head(*, workers: dict[str, Any] | None = None) -> Iterator[tuple[str, str]]:
    """Its own address and the dashboard's URL, for the duration of the block.

    `workers` are node types that an autoscaler starts on demand, on this machine, by Ray's provider for tests; such a
    cluster has no dashboard, whose dozen processes would take half of the test's time.

    Ports and files are its own, beside other Rays of the machine. Its PATH has no Python with Ray, as where somebody
    starts Ray by its full path.
    """
    folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")  # short: Ray makes sockets below it
    gcs, dashboard, agent, client = _free_ports(4)
    command = [
        f"{Path(sys.executable).parent}/ray start --head --block --num-cpus=2 --include-log-monitor=false",
        f"--disable-usage-stats --temp-dir={folder} --port={gcs} --dashboard-port={dashboard}",
        f"--dashboard-agent-listen-port={agent} --ray-client-server-port={client}",
    ]
    answers = dashboard
    if workers:
        answers = gcs
        place = Path(folder, "autoscaling.json")
        place.write_text(json.dumps(_autoscaling(workers, gcs)))
        command.append(f"--include-dashboard=false --node-ip-address=127.0.0.1 --autoscaling-config={place}")
    kept = {name: value for name, value in os.environ.items() if name not in _NOT_OF_A_HEAD}
    head = subprocess.Popen(
        " ".join(["exec", *command]),
        shell=True,
        env={**kept, "PATH": "/usr/bin:/bin", **(_AUTOSCALER if workers else {})},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for_port(answers, head)
        yield f"127.0.0.1:{gcs}", f"http://127.0.0.1:{dashboard}"
    finally:
        processes = [psutil.Process(head.pid), *psutil.Process(head.pid).children(recursive=True)]
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        head.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _autoscaling(workers: dict[str, Any], port: int) -> dict[str, Any]:
    head = {"resources": {"CPU": 2}, "node_config": {}, "max_workers": 0}
    provider = {"type": "fake_multinode", "gcs_address": f"127.0.0.1:{port}", "disable_node_updaters": True}
    return {
        "cluster_name": "test",
        "max_workers": sum(kind["max_workers"] for kind in workers.values()),
        "idle_timeout_minutes": 5,
        "upscaling_speed": 8,
        "provider": {**provider, "head_node_id": _HEAD_ID, "launch_multiple": True},
        "head_node_type": "ray.head.default",  # the provider's own name
        "available_node_types": {"ray.head.default": head, **workers},
        "auth": {},
        "docker": {},
        "file_mounts": {},
        "cluster_synced_files": [],
        **{key: [] for key in _COMMANDS},
    }


@contextlib.contextmanager
def frail_link(port: int, *, step: int) -> Iterator[int]:
    """A port that leads to another one, where the n-th connection breaks after n * step bytes of answer."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):  # the server is closed at the end
                for number in itertools.count(1):
                    threading.Thread(target=carry, args=(server.accept()[0], number * step), daemon=True).start()

        def carry(near: socket.socket, left: int) -> None:
            with near, socket.create_connection(("127.0.0.1", port)) as far, contextlib.suppress(OSError):
                threading.Thread(target=ask, args=(near, far), daemon=True).start()
                while left > 0 and (data := far.recv(min(left, 4096))):
                    near.sendall(data)
                    left -= len(data)
                near.shutdown(socket.SHUT_RDWR)  # closing is not enough while `ask` waits for it

        def ask(near: socket.socket, far: socket.socket) -> None:
            with contextlib.suppress(OSError):
                while data := near.recv(4096):
                    far.sendall(data)

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]


def _free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(number)]
        return [one.getsockname()[1] for one in sockets]


def _wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + PATIENCE_S
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        assert process.poll() is None, "ray start ended"
        assert time.monotonic() < end, f"nobody answers at port {port}"
        time.sleep(0.1)
