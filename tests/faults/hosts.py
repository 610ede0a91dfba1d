"""Hosts on this machine: namespaces of their own for network, processes and names, joined by a bridge.

What is done to a host is what happens to real ones: its cable is pulled, or its power.
"""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

UNSHARE = ("unshare", "--net", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc")

# Names the host, gives it a disk of its own for Ray, keeps it from waiting for name servers that it cannot reach, and
# stays as its first process until it is killed.
FIRST_PROCESS = r"""
hostname "$0" && mount -t tmpfs none "$1" &&
printf '127.0.0.1 localhost\n%s %s\n' "$2" "$0" > "$1/hosts" && mount --bind "$1/hosts" /etc/hosts &&
mount --bind /dev/null /etc/resolv.conf && echo ready && exec sleep infinity
"""


@dataclass(frozen=True)
class Host:
    """A host that runs.

    Attributes:
        name: of it. address: on the bridge.
        first: process, as this machine numbers it, in which all others end. cable: the bridge's end of it.
    """

    name: str
    address: str
    first: int
    cable: str

    @property
    def enter(self) -> list[str]:
        """Words that lead a command to this host."""
        return ["nsenter", "--target", str(self.first), "--net", "--mount", "--uts", "--pid", "--"]

    def start(self, command: Sequence[str], environment: Mapping[str, str], output: Path) -> "subprocess.Popen[bytes]":
        """A process on it."""
        with output.open("ab") as handle:
            return subprocess.Popen(
                [*self.enter, *command],
                stdin=subprocess.DEVNULL,
                stdout=handle,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
            )

    def pull_cable(self) -> None:
        run("ip", "link", "set", self.cable, "down")

    def plug_in(self) -> None:
        run("ip", "link", "set", self.cable, "up")

    def lose_power(self) -> None:
        """Kill all of its processes at once, by the first."""
        os.kill(self.first, signal.SIGKILL)


class Forbidden(Exception):
    """Namespaces may not be made here, or not be joined."""


@contextlib.contextmanager
def hosts(names: Sequence[str], *, disk: Path) -> Iterator[tuple[str, list[Host]]]:
    """Hosts of these names, and the address at which they reach this machine.

    Args:
        names: of the hosts.
        disk: a folder under whose path each has an empty one of its own.

    Raises:
        Forbidden: see there.
    """
    if not all(map(shutil.which, ("ip", "unshare", "nsenter"))):
        raise Forbidden("ip (iproute2), unshare and nsenter (util-linux)")
    if subprocess.run([*UNSHARE, "mount", "-t", "tmpfs", "none", "/tmp"], capture_output=True).returncode:
        raise Forbidden("the right to make namespaces (root)")
    # Of the block for benchmarks of networks (RFC 2544), a part for each process.
    bridge, network = f"er{os.getpid()}", f"198.{18 + os.getpid() % 2}.{os.getpid() // 2 % 256}"
    with contextlib.ExitStack() as made:
        try:
            run("ip", "link", "add", bridge, "type", "bridge")
        except subprocess.CalledProcessError as error:
            raise Forbidden(f"the right to make a bridge between namespaces (root): {error.stderr}") from None
        made.callback(run, "ip", "link", "delete", bridge)
        run("ip", "address", "add", f"{network}.1/24", "dev", bridge)
        run("ip", "link", "set", bridge, "up")
        found = []
        for index, name in enumerate(names):
            found.append(made.enter_context(_host(name, f"{network}.{index + 2}", bridge, f"{bridge}-{index}", disk)))
        yield f"{network}.1", found


@contextlib.contextmanager
def _host(name: str, address: str, bridge: str, cable: str, disk: Path) -> Iterator[Host]:
    process = subprocess.Popen(
        [*UNSHARE, "sh", "-c", FIRST_PROCESS, name, str(disk), address],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout and process.stderr
    with contextlib.ExitStack() as at_the_end:
        at_the_end.callback(process.wait)
        at_the_end.callback(process.kill)  # and by --kill-child all that is in it
        assert process.stdout.readline() == "ready\n", process.stderr.read()
        first = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text())
        host = Host(name, address, first, cable)
        run("ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", str(first))
        # Its connections, whose other end is gone, would keep it for a while.
        at_the_end.callback(subprocess.run, ["ip", "link", "delete", cable], capture_output=True)
        run("ip", "link", "set", cable, "master", bridge)
        host.plug_in()
        inside = ["nsenter", "--target", str(first), "--net", "--", "ip"]
        run(*inside, "address", "add", f"{address}/24", "dev", "eth0")
        run(*inside, "link", "set", "eth0", "up")
        run(*inside, "link", "set", "lo", "up")
        run(*inside, "route", "add", "default", "via", f"{address.rpartition('.')[0]}.1")  # Ray finds its address by it
        yield host


def run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True, text=True)
