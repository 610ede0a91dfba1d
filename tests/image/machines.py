"""Machines on one network: each has processes, an address, a name and shared memory of its own, and an image to run.

They are namespaces of Linux, within those that `tests.image` has made: what they start and mount ends with them.
"""

import contextlib
import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.image.build import IMAGE, buildah
from tests.image.steps import run

NETWORK = "10.77.0"
GATEWAY = f"{NETWORK}.1"  # this process, to all machines: the user's own machine and the object store

# Bash is process 1, as in a container: it reaps what daemons leave. It ends, and all with it, with its input.
_BOOT = """
set -e
hostname {name}
ip link set lo up
mount -t proc proc {root}/proc
mount --rbind /dev {root}/dev
mount -t tmpfs shm {root}/dev/shm
mount --rbind /sys {root}/sys
echo up
read
"""


@dataclass(frozen=True)
class Machine:
    """A running container of the image.

    Attributes:
        address: on the network. root: where its files lie here.
        pid: of its process 1, as seen here. settings: of the image, in the words of OCI (Env, User, WorkingDir).
    """

    address: str
    root: Path
    pid: int
    settings: Mapping[str, str | list[str]]

    def path(self, inside: str) -> Path:
        """A file of the container, as it is found here."""
        return self.root / inside.lstrip("/")

    @property
    def user(self) -> tuple[int, int, str]:
        """The image's user: uid, gid, home."""
        rows = (line.split(":") for line in self.path("/etc/passwd").read_text().splitlines())
        (found,) = [row for row in rows if row[0] == self.settings["User"]]
        return int(found[2]), int(found[3]), found[5]

    def within(self, command: str, variables: Mapping[str, str] | None = None) -> list[str]:
        """The command that runs a line of bash as `docker exec` does: the image's user, folder and variables."""
        uid, gid, home = self.user
        told = [*self.settings["Env"], *(f"{name}={value}" for name, value in (variables or {}).items())]
        return [
            *("nsenter", "--all", "--target", str(self.pid), "/usr/bin/env", "-i", f"HOME={home}", *told),
            *("/usr/sbin/chroot", f"--userspec={uid}:{gid}", "--groups=", str(self.root)),
            *("/bin/sh", "-c", 'cd "$0" && exec /bin/bash -c "$1"', str(self.settings["WorkingDir"]), command),
        ]

    def run(self, command: str, variables: Mapping[str, str] | None = None, *, expect: int = 0) -> str:
        """What a command said that has ended as expected."""
        return run(self.within(f"{{ {command}\n}} 2>&1", variables), expect=expect)

    def write(self, inside: str, content: str) -> None:
        """A file of the image's user, as a mount or a copy brings it."""
        uid, gid, _ = self.user
        here = self.path(inside)
        here.parent.mkdir(parents=True, exist_ok=True)
        here.write_text(content)
        subprocess.run(["chown", f"{uid}:{gid}", here], check=True)


@contextlib.contextmanager
def network() -> Iterator[None]:
    """The network of all machines, within a namespace that has no other."""
    run(["ip", "link", "set", "lo", "up"])
    run(["ip", "link", "add", "lan", "type", "bridge"])
    run(["ip", "address", "add", f"{GATEWAY}/24", "dev", "lan"])
    run(["ip", "link", "set", "lan", "up"])
    yield
    run(["ip", "link", "delete", "lan"])


@contextlib.contextmanager
def machine(folder: Path, name: str, number: int) -> Iterator[Machine]:
    """A machine with a fresh container of the image; its address ends with the number."""
    settings = json.loads(run(buildah(folder, "inspect", "--type", "image", IMAGE)))["OCIv1"]["config"]
    container = run(buildah(folder, "from", "--pull-never", "--name", name, IMAGE)).strip()
    root = Path(run(buildah(folder, "mount", container)).strip())
    address = f"{NETWORK}.{number}"
    (root / "etc/hosts").write_text(f"127.0.0.1 localhost\n{address} {name}\n")
    spaces = ["--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "--kill-child", "--mount-proc"]
    boot = subprocess.Popen(
        ["unshare", *spaces, "bash", "-c", _BOOT.format(name=name, root=root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert boot.stdin is not None and boot.stdout is not None
    try:
        assert boot.stdout.readline() == "up\n", f"the machine {name} does not start"
        (first,) = psutil.Process(boot.pid).children()
        plug_in(first.pid, address, f"port{number}")
        yield Machine(address, root, first.pid, settings)
    finally:
        boot.stdin.close()
        boot.wait(timeout=30)
        boot.stdout.close()


def plug_in(pid: int, address: str, port: str) -> None:
    """Give the namespace of a process its card on the network."""
    inside = ["nsenter", "--net", "--target", str(pid), "ip"]
    run(["ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", str(pid)])
    run(["ip", "link", "set", port, "master", "lan", "up"])
    run([*inside, "address", "add", f"{address}/24", "dev", "eth0"])
    run([*inside, "link", "set", "eth0", "up"])
    run([*inside, "route", "add", "default", "via", GATEWAY])
