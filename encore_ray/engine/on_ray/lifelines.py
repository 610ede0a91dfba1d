"""Seeing that the Ray by which a driver works is gone, before Ray leaves the driver waiting or ends it.

A driver needs the raylet of its node and the GCS of the cluster. Where the raylet dies, Ray's core waits for a result
without end, or ends the driver with exit code 1 and no word when it next asks for an object; where the GCS is away for
a minute, it ends it so too (seen with Ray 2.60). Here a connection to each is held that nobody speaks on: its end is
seen at once, whoever waits for what.
"""

import contextlib
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ray._private.worker import global_worker

from encore_ray.errors import ClusterError

AWAY_S = 40.0  # for which the GCS of a cluster may be away, as while it is restarted; Ray's own limit is 60
CONNECT_S = 5.0
RETRY_S = 1.0
_ENDED = select.POLLIN | select.POLLRDHUP
# Seconds until a silent connection is asked whether it stands, between questions, and how many go unanswered.
_KEEPALIVE = ((socket.TCP_KEEPIDLE, 10), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3))


@dataclass
class _Lifeline:
    """A held connection.

    Attributes:
        name: what is at its other end, and where.
        address: path of a unix socket, or host and port.
        away_s: how long its other end may be away.
    """

    name: str
    address: str | tuple[str, int]
    away_s: float
    _held: socket.socket | None = field(default=None)

    def connect(self) -> socket.socket:
        """Hold a new connection; OSError where nobody answers."""
        self.close()
        if isinstance(self.address, str):
            held = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            with contextlib.ExitStack() as failed:
                failed.callback(held.close)
                held.connect(self.address)
                failed.pop_all()
        else:
            held = socket.create_connection(self.address, timeout=CONNECT_S)
            held.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in _KEEPALIVE:
                held.setsockopt(socket.IPPROTO_TCP, option, value)
        held.setblocking(False)
        self._held = held
        return held

    def stands(self) -> bool:
        """Whether the connection still stands, after something has happened to it; takes away what was sent on it."""
        assert self._held is not None
        try:
            return bool(self._held.recv(1 << 16))
        except BlockingIOError:
            return True
        except OSError:
            return False

    def close(self) -> None:
        if self._held is not None:
            self._held.close()
            self._held = None


@contextlib.contextmanager
def watching(is_ours: bool, lost: Callable[[ClusterError], object]) -> Iterator[None]:
    """Watch the Ray that this process is connected to, during the block.

    Args:
        is_ours: it was started by this process, and nobody starts a part of it again.
        lost: called from a thread, once, with what is gone.
    """
    lifelines = _lifelines(is_ours)
    wakes, wake = os.pipe()
    thread = threading.Thread(target=_watch, args=(lifelines, wakes, lost), name="encore-ray-lifelines", daemon=True)
    thread.start()
    try:
        yield
    finally:
        os.close(wake)
        thread.join()
        os.close(wakes)


def _lifelines(is_ours: bool) -> list[_Lifeline]:
    node: Any = global_worker.node
    if node is None:  # Ray's client, whose server is the driver
        return []
    host, _, port = node.gcs_address.rpartition(":")
    whose = "of this machine" if is_ours else f"cluster at {node.gcs_address}"
    return [
        _Lifeline(f"The raylet of this node, in the Ray {whose},", node.raylet_socket_name, 0.0),
        _Lifeline(f"The GCS, the head of the Ray {whose},", (host.strip("[]"), int(port)), 0.0 if is_ours else AWAY_S),
    ]


def _watch(lifelines: list[_Lifeline], wakes: int, lost: Callable[[ClusterError], object]) -> None:
    """Wait until a lifeline cannot be held any more, or the other end of `wakes` is closed."""
    with contextlib.ExitStack() as held:
        for lifeline in lifelines:
            held.callback(lifeline.close)
        try:
            lines = {_hold(lifeline, wakes): lifeline for lifeline in lifelines}
            while True:
                poll = select.poll()
                poll.register(wakes, select.POLLIN)
                for number in lines:
                    poll.register(number, _ENDED)
                for number, _ in poll.poll():
                    if number == wakes:
                        return
                    lifeline = lines[number]
                    if not lifeline.stands():
                        del lines[number]
                        lines[_hold(lifeline, wakes)] = lifeline
        except _Called:
            return
        except ClusterError as error:
            lost(error)


class _Called(Exception):
    """The block has ended."""


def _hold(lifeline: _Lifeline, wakes: int) -> int:
    """Connect, again and again for as long as the other end may be away; the number of the connection's file.

    Raises:
        ClusterError: it is gone. _Called: nobody waits for it any more.
    """
    end = time.monotonic() + lifeline.away_s
    while True:
        try:
            return lifeline.connect().fileno()
        except OSError as error:
            if time.monotonic() >= end:
                how = f" for {lifeline.away_s:.0f} s" if lifeline.away_s else ""
                raise ClusterError(
                    f"{lifeline.name} is gone{how} ({error}): it was killed, or has failed. All that is committed is "
                    "kept; the same command resumes the job."
                ) from None
        if select.select([wakes], [], [], RETRY_S)[0]:
            raise _Called
