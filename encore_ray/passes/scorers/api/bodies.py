"""The body of a reply, read no further than any reply of a judge goes."""

from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError, ProtocolError

MAX_BYTES = 16 << 20
MAX_ERROR_BYTES = 64 << 10
_KEPT = "encore_ray_body"


def read_body(response: BaseHTTPResponse, *, refuses: bool = False) -> bytes:
    """The body of a response that was asked for without it, decompressed, and the connection given back.

    Args:
        refuses: whether a body that is too long or cannot be read is an error; else what there is of it is enough.

    Raises:
        HTTPError: the connection is lost, or a reply goes on beyond 16 MiB, an error beyond 64 KiB.
    """
    kept: bytes | None = getattr(response, _KEPT, None)
    if kept is not None:
        return kept
    most = MAX_BYTES if response.status == 200 else MAX_ERROR_BYTES
    data, problem = b"", None
    try:
        data = response.read(most + 1)
        if len(data) > most:
            problem = ProtocolError(f"a reply of more than {most >> 20} MiB")
    except HTTPError as error:
        problem = error
    if problem is not None:
        response.close()  # what is left of it is not waited for
    response.release_conn()
    if problem is not None and refuses:
        raise problem
    setattr(response, _KEPT, data[:most])
    return data[:most]
