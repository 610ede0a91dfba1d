"""Machines on one network: each has processes, an address, a name and shared memory of its own, and an image to run.

They are namespaces of Linux, within those that `tests.image` has made: what they start and mount ends with them.
"""

import contextlib
import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.image.build import IMAGE, buildah
from tests.image.steps import run
from tests.namespaces import UP, bridge, first_process, plugged_in

NETWORK = "10.77.0"
LAN = "lan"
GATEWAY = f"{NETWORK}.1"  # this process, to all machines: the user's own machine and the object store

# Bash is process 1, as in a container: it reaps what daemons leave. It ends, and all with it, with its input.
_BOOT = """
set -e
hostname {name}
mount -t proc proc {root}/proc
mount --rbind /dev {root}/dev
mount -t tmpfs shm {root}/dev/shm
mount --rbind /sys {root}/sys
echo {up}
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
    with bridge(LAN, GATEWAY):
        yield


@contextlib.contextmanager
def machine(folder: Path, name: str, number: int) -> Iterator[Machine]:
    """A machine with a fresh container of the image; its address ends with the number."""
    settings = json.loads(run(buildah(folder, "inspect", "--type", "image", IMAGE)))["OCIv1"]["config"]
    container = run(buildah(folder, "from", "--pull-never", "--name", name, IMAGE)).strip()
    root = Path(run(buildah(folder, "mount", container)).strip())
    address = f"{NETWORK}.{number}"
    (root / "etc/hosts").write_text(f"127.0.0.1 localhost\n{address} {name}\n")
    with (
        first_process(["bash", "-c", _BOOT.format(name=name, root=root, up=UP)]) as first,
        plugged_in(first, f"port{number}", bridge=LAN, address=address, gateway=GATEWAY),
    ):
        yield Machine(address, root, first, settings)
