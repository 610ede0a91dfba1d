"""What keeps Ray from starting or from being joined, found out before it is tried for minutes, and without Ray."""

import os
import socket
from urllib.parse import urlsplit

from encore_ray.config import ClusterOptions
from encore_ray.errors import ClusterError, ConfigError
from encore_ray.storage import standing_above

SOCKET_BYTES = 107  # the longest path of a unix socket on Linux
# What Ray puts below its temporary folder; numbers of processes have up to seven digits.
_LONGEST_SOCKET = "session_2026-01-31_23-59-59_123456_1234567/sockets/plasma_store"
CONNECT_TIMEOUT_S = 5.0
_CLIENT = "ray"


def cluster_address(options: ClusterOptions) -> str | None:
    """Of the Ray that is joined; None where one of the command's own is started."""
    address = options.address or os.environ.get("RAY_ADDRESS")
    return None if address in (None, "", "local") else address


def temporary_folder() -> str:
    """Where a Ray of one's own keeps its sockets and logs, as Ray itself finds it on Linux."""
    place = os.environ.get("RAY_TMPDIR", os.environ.get("TMPDIR", "/tmp"))  # noqa: S108
    return os.path.join(place, "ray")


def require_ray(options: ClusterOptions) -> None:
    """Make sure that Ray can be joined or started, as far as can be told without it; errors as of the two below."""
    address = cluster_address(options)
    if address is None:
        require_temporary_folder()
    else:
        require_cluster(address)


def require_temporary_folder() -> None:
    """Make sure that a Ray of one's own can keep its sockets and logs.

    Raises:
        ConfigError: its folder has too long a name, or belongs to someone else.
    """
    folder = temporary_folder()
    remedy = f"Set RAY_TMPDIR to a short folder of your own, as in RAY_TMPDIR=/tmp/u{os.getuid()}."
    length = len(os.fsencode(os.path.join(folder, _LONGEST_SOCKET)))
    if length > SOCKET_BYTES:
        raise ConfigError(
            f"Ray cannot keep its sockets in {folder}: their paths would have {length} bytes, and Linux takes "
            f"{SOCKET_BYTES}. {remedy}"
        )
    place = standing_above(folder)
    if not os.path.isdir(place) or not os.access(place, os.W_OK | os.X_OK):
        raise ConfigError(f"Ray cannot write to {folder}: {place} is no folder that this user may write to. {remedy}")


def require_cluster(address: str) -> None:
    """Make sure that somebody listens at the address of a cluster; `auto` is Ray's to find.

    Raises:
        ConfigError: it is no address of a cluster. ClusterError: nobody listens there.
    """
    if address == "auto":
        return
    remedy = "Correct cluster.address or RAY_ADDRESS, start the cluster, or unset both to work on this machine alone."
    expected = "expected HOST:PORT (as in 10.0.0.1:6379), ray://HOST:PORT, auto or local"
    if address.startswith(("http://", "https://")):
        raise ConfigError(
            f"{address} is a dashboard's address: {expected}. `encore-ray submit` hands a job over to a dashboard."
        )
    try:
        parts = urlsplit(address if "://" in address else f"{_CLIENT}://{address}")
        host, port = parts.hostname, parts.port
    except ValueError:
        parts, host, port = urlsplit(""), None, None
    if host is None or port is None or parts.scheme != _CLIENT:
        raise ConfigError(f"{address} is no address of a Ray cluster: {expected}. {remedy}")
    try:
        socket.create_connection((host, port), timeout=CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise ClusterError(f"Nobody answers at the Ray cluster {address}: {error}. {remedy}") from None
