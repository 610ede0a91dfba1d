"""What keeps Ray from starting or from being joined, found out before it is tried for minutes."""

import os
import socket
from urllib.parse import urlsplit

from ray._common.utils import get_default_ray_temp_dir

from encore_ray.errors import ClusterError, ConfigError

SOCKET_BYTES = 107  # the longest path of a unix socket on Linux
# What Ray puts below its temporary folder; numbers of processes have up to seven digits.
_LONGEST_SOCKET = "session_2026-01-31_23-59-59_123456_1234567/sockets/plasma_store"
CONNECT_TIMEOUT_S = 5.0
_CLIENT = "ray"


def require_temporary_folder() -> None:
    """Make sure that a Ray of one's own can keep its sockets and logs.

    Raises:
        ConfigError: its folder has too long a name, or belongs to someone else.
    """
    folder = get_default_ray_temp_dir()
    remedy = f"Set RAY_TMPDIR to a short folder of your own, as in RAY_TMPDIR=/tmp/u{os.getuid()}."
    length = len(os.fsencode(os.path.join(folder, _LONGEST_SOCKET)))
    if length > SOCKET_BYTES:
        raise ConfigError(
            f"Ray cannot keep its sockets in {folder}: their paths would have {length} bytes, and Linux takes "
            f"{SOCKET_BYTES}. {remedy}"
        )
    place = folder
    while not os.path.lexists(place):
        place = os.path.dirname(place) or "."
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
