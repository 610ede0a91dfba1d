"""What keeps Ray from starting or from being joined is told in a sentence, before it is tried."""

import os
import socket
import time

import pytest

from encore_ray.config import ClusterOptions
from encore_ray.engine.on_ray.cluster import cluster
from encore_ray.engine.probes import require_cluster, require_temporary_folder, temporary_folder
from encore_ray.errors import ClusterError, ConfigError


@pytest.mark.parametrize(
    "variables", [{}, {"TMPDIR": "/a"}, {"RAY_TMPDIR": "/b"}, {"RAY_TMPDIR": "/b", "TMPDIR": "/a"}]
)
def test_the_temporary_folder_is_found_as_ray_finds_it(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    from ray._common.utils import get_default_ray_temp_dir

    for name in ("RAY_TMPDIR", "TMPDIR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert temporary_folder() == get_default_ray_temp_dir()


@pytest.mark.parametrize("variable", ["RAY_TMPDIR", "TMPDIR"])
def test_a_temporary_folder_with_too_long_a_name_is_refused(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    # 107 bytes for all; /ray/ takes 5, the session's socket 63: 39 are left
    monkeypatch.setenv(variable, "/tmp/" + 35 * "x")
    with pytest.raises(ConfigError, match=r"would have 108 bytes.* RAY_TMPDIR=/tmp/u"):
        require_temporary_folder()
    monkeypatch.setenv(variable, "/tmp/" + 34 * "x")
    require_temporary_folder()


@pytest.mark.skipif(os.getuid() == 0, reason="root may write anywhere")
def test_a_temporary_folder_of_someone_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", "/proc")
    with pytest.raises(ConfigError, match="Ray cannot write to /proc/ray"):
        require_temporary_folder()


def test_a_file_in_the_place_of_the_temporary_folder_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", "/dev/null")
    with pytest.raises(ConfigError, match="Ray cannot write to /dev/null/ray: /dev/null is no folder"):
        require_temporary_folder()


@pytest.mark.parametrize(
    "address", ["10.0.0.1", "host:port", "http://127.0.0.1:8265", "https://head:8265", "tcp://head:1", "ray://", "::"]
)
def test_what_is_no_address_of_a_cluster_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match=r"expected HOST:PORT \(as in 10\.0\.0\.1:6379\)"):
        require_cluster(address)


def test_nobody_at_an_address_is_told_at_once() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    begin = time.monotonic()
    for address in (f"127.0.0.1:{port}", f"ray://127.0.0.1:{port}", "no-such-host.invalid:6379"):
        with pytest.raises(ClusterError, match=r"Nobody answers .* unset both to work on this machine alone"):
            require_cluster(address)
    assert time.monotonic() - begin < 20


def test_a_cluster_that_listens_is_joined() -> None:
    with socket.socket() as head:
        head.bind(("127.0.0.1", 0))
        head.listen()
        require_cluster(f"127.0.0.1:{head.getsockname()[1]}")
        require_cluster("auto")


def test_whatever_ray_raises_when_it_starts_is_the_clusters_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(**options: object) -> None:
        raise Exception("The current node timed out during startup.")

    monkeypatch.setattr("ray.init", start)
    monkeypatch.setattr("ray.is_initialized", lambda: False)  # whatever tests ran before in this process
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    said = "Ray does not start on this machine: The current node timed out"
    with pytest.raises(ClusterError, match=said), cluster(ClusterOptions()):
        raise AssertionError("it did not start")
