"""Machines out of one: namespaces of Linux for processes, names, mounts and network, joined by a bridge."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

UNSHARE = (
    *("unshare", "--net", "--mount", "--uts", "--ipc", "--pid"),
    *("--fork", "--kill-child", "--mount-proc"),
)
UP = "up"  # what the first process says once it has made its place ready


@contextlib.contextmanager
def first_process(command: Sequence[str]) -> Iterator[int]:
    """A process in namespaces of its own, as this machine numbers it; all that begins there ends with it.

    Args:
        command: says UP, and stays.
    """
    process = subprocess.Popen(
        [*UNSHARE, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdin and process.stdout and process.stderr
    with process:
        try:
            assert process.stdout.readline() == f"{UP}\n", process.stderr.read()
            first = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text())
        except BaseException:
            process.kill()
            raise
        try:
            yield first
        finally:
            if process.poll() is None:
                end(first)


def end(first: int) -> None:
    """End all processes of namespaces at once, by the first."""
    os.kill(first, signal.SIGKILL)


@contextlib.contextmanager
def bridge(name: str, address: str) -> Iterator[None]:
    """A network of 254 addresses; this process has one on it."""
    run("ip", "link", "add", name, "type", "bridge")
    try:
        run("ip", "address", "add", f"{address}/24", "dev", name)
        run("ip", "link", "set", name, "up")
        yield
    finally:
        run("ip", "link", "delete", name)


@contextlib.contextmanager
def plugged_in(first: int, cable: str, *, bridge: str, address: str, gateway: str) -> Iterator[None]:
    """Namespaces have an address on a network, by a cable whose end at the bridge has a name."""
    run("ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", str(first))
    try:
        run("ip", "link", "set", cable, "master", bridge, "up")
        inside = ["nsenter", "--target", str(first), "--net", "--", "ip"]
        run(*inside, "address", "add", f"{address}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            run(*inside, "link", "set", device, "up")
        run(*inside, "route", "add", "default", "via", gateway)  # Ray finds its own address by it
        yield
    finally:  # connections, whose other end is gone, would keep it for a while
        subprocess.run(["ip", "link", "delete", cable], capture_output=True)


def run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True, text=True)
