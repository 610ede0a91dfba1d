"""Hosts on this machine, each of namespaces of its own, joined by a bridge.

What is done to a host is what happens to real ones: its cable is pulled, or its power.
"""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.namespaces import UNSHARE, UP, bridge, end, first_process, plugged_in, run

# Names the host, gives it a disk of its own for Ray, keeps it from waiting for name servers that it cannot reach, and
# stays as its first process until it is killed.
FIRST_PROCESS = r"""
hostname "$0" && mount -t tmpfs none "$1" &&
printf '127.0.0.1 localhost\n%s %s\n' "$2" "$0" > "$1/hosts" && mount --bind "$1/hosts" /etc/hosts &&
mount --bind /dev/null /etc/resolv.conf && echo "$3" && exec sleep infinity
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
        """Kill all of its processes at once."""
        end(self.first)


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
    lan, network = f"er{os.getpid()}", f"198.{18 + os.getpid() % 2}.{os.getpid() // 2 % 256}"
    with contextlib.ExitStack() as made:
        try:
            made.enter_context(bridge(lan, f"{network}.1"))
        except subprocess.CalledProcessError as error:
            raise Forbidden(f"the right to make a bridge between namespaces (root): {error.stderr}") from None
        found = []
        for index, name in enumerate(names):
            address, cable = f"{network}.{index + 2}", f"{lan}-{index}"
            first = made.enter_context(first_process(["sh", "-c", FIRST_PROCESS, name, str(disk), address, UP]))
            made.enter_context(plugged_in(first, cable, bridge=lan, address=address, gateway=f"{network}.1"))
            found.append(Host(name, address, first, cable))
        yield f"{network}.1", found
