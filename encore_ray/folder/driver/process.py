"""Who drives a run folder: a process, by the machine it runs on, and whether it is known to be gone."""

import os
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Self

from encore_ray.visible import visible

_GONE_STATES = {"Z", "X"}  # killed, and only its exit code is left


@dataclass(frozen=True)
class Driver:
    """A process that works on a run folder.

    Attributes:
        host: its machine's name, for people.
        machine: boot and process namespace in which `pid` means something; "" where they cannot be told.
        pid: its number. started: ticks after boot, which tell it from a later process of that number.
        since: when it took the folder, seconds since 1970 by its own clock.
    """

    host: str
    machine: str
    pid: int
    started: int
    since: float

    @classmethod
    def this_process(cls) -> Self:
        stat = _stat(os.getpid())
        return cls(os.uname().nodename, _machine(), os.getpid(), stat[1] if stat else 0, time.time())

    @classmethod
    def of_json(cls, value: Any) -> Self:
        """From `to_json`; TypeError, ValueError or KeyError for anything else."""
        texts, numbers = [str(value[name]) for name in ("host", "machine")], [int(value[n]) for n in ("pid", "started")]
        return cls(texts[0], texts[1], numbers[0], numbers[1], float(value["since"]))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def is_gone(self) -> bool:
        """Whether it ran on this machine and has ended; False where that cannot be told from here."""
        if not self.machine or self.machine != _machine():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:  # of another user
            pass
        stat = _stat(self.pid)
        return stat is not None and (stat[1] != self.started or stat[0] in _GONE_STATES)

    def __str__(self) -> str:
        return f"process {self.pid} on {visible(self.host)}, since {moment(self.since)}"


def moment(seconds: float) -> str:
    """A time since 1970 as people on any host read it, in UTC."""
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, ValueError, OSError):
        return "an unknown time"


def _machine() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id") as handle:
            boot = handle.read().strip()
        return f"{os.uname().nodename} {boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _stat(pid: int) -> tuple[str, int] | None:
    """State and start, in ticks after boot, of a process of this machine; None where that is hidden."""
    try:
        with open(f"/proc/{pid}/stat") as handle:
            fields = handle.read().rpartition(")")[2].split()  # a name before it may hold anything
    except OSError:
        return None
    return fields[0], int(fields[19])
