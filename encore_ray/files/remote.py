"""Object stores: how they are opened, how long they are waited for, and what their errors mean to a person.

Endpoint, region and credentials of `s3://` come from the usual variables and files: AWS_ENDPOINT_URL, AWS_REGION or
AWS_DEFAULT_REGION, AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY, AWS_PROFILE, a node's role.
"""

import os
from typing import TYPE_CHECKING, Any

from encore_ray.errors import ConfigError
from encore_ray.files.proxies import in_the_way
from encore_ray.redaction import redact

if TYPE_CHECKING:
    import fsspec

# Requests are repeated on throttling (503 SlowDown), 500 to 504, timeouts and lost connections, after a random part of
# 1, 2, 4, 8, 16, 20, 20 s. AWS_MAX_ATTEMPTS and AWS_RETRY_MODE say otherwise. s3fs does all of it again, up to five
# times, where the store throttles or the connection is lost.
ATTEMPTS = 8

MAX_SAID = 400

# Where each file system keeps something that changes when a file does; the first that is there wins.
_STAMPS = ("ETag", "etag", "blob_id", "md5Hash", "last_modified", "LastModified", "mtime", "created")

_S3 = ("s3://", "s3a://")
_HUB = {"httpcore", "httpcore2", "httpx", "httpx2", "huggingface_hub"}  # which of the two pairs is the version's own
_LIBRARIES = {"aiobotocore", "aiohttp", "botocore", "gcsfs", "google"} | _HUB
_CREDENTIALS = {
    "NoCredentialsError",
    "PartialCredentialsError",
    "CredentialRetrievalError",
    "ProfileNotFound",
    "TokenRetrievalError",
    "SSOTokenLoadError",
    "UnauthorizedSSOTokenError",
    "PermissionError",
}
_CONNECTION = {
    "EndpointConnectionError",
    "ConnectTimeoutError",
    "ConnectionClosedError",
    "HTTPClientError",
    "ReadTimeoutError",
    "ProxyConnectionError",
    "SSLError",
    "TimeoutError",
    "FSTimeoutError",
}


def file_system(path: str, *, caches_listings: bool = True) -> "tuple[fsspec.AbstractFileSystem, str]":
    """The file system of a path and the path in it; ConfigError when the protocol's package is missing."""
    import fsspec

    try:
        options: dict[str, Any] = _s3_options() if path.startswith(_S3) else {}
        if not caches_listings:
            options["use_listings_cache"] = False
        fs, inner = fsspec.core.url_to_fs(path, **options)
    except ImportError as error:
        protocol = path.split("://", 1)[0]
        raise ConfigError(f"{path}: reading {protocol}:// needs one more package: {error}") from None
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None
    return fs, inner


def read_whole(fs: "fsspec.AbstractFileSystem", path: str) -> bytes:
    """All bytes of a file, by one request: s3fs asks for the size before, to read the parts of large ones at a time."""
    return fs.cat_file(path, max_concurrency=1) if "s3" in fs.protocol else fs.cat_file(path)  # pyright: ignore[reportReturnType]


def is_trouble(error: BaseException) -> bool:
    """Whether an error is a file system's or a store's own: not every library derives its errors from OSError."""
    return isinstance(error, OSError) or _library(error) in _LIBRARIES


def is_taken(error: BaseException) -> bool:
    """Whether a file that was to be created is there already (HTTP 412; some stores do not name the condition)."""
    return isinstance(error, FileExistsError) or _code(error) == "PreconditionFailed"


def describe(error: BaseException, *, otherwise: str = "") -> str:
    """What a file system or a store says, in one line, and what to do: known for credentials, buckets, connections."""
    said = " ".join(redact(str(error)).split())[:MAX_SAID] or type(error).__name__
    advice = _advice(error) or otherwise
    return f"{said.rstrip('.')}. {advice}" if advice else said


def _library(error: BaseException) -> str:
    return type(error).__module__.split(".")[0]


def _advice(error: BaseException) -> str:
    if _library(error) in _HUB:
        endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
        return (
            "Check the name, the network, HF_ENDPOINT and, for what is private or gated, HF_TOKEN; the same command "
            f"goes on.{in_the_way(endpoint)}"
        )
    if not any(type(e).__module__.startswith("botocore") for e in (error, error.__cause__)):
        return ""
    code, name = _code(error), type(error).__name__
    if name in _CREDENTIALS:
        return (
            "Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, on every node, to an identity that may "
            "read, write, list and delete there."
        )
    if code == "NoSuchBucket":
        return "Check the bucket's name, AWS_ENDPOINT_URL and AWS_REGION."
    if name in _CONNECTION:
        endpoint = os.environ.get("AWS_ENDPOINT_URL", "https://s3.amazonaws.com")
        return f"Check AWS_ENDPOINT_URL and the network; the same command goes on.{in_the_way(endpoint)}"
    if code in ("SlowDown", "InternalError", "ServiceUnavailable", "500", "502", "503", "504"):
        return "The store kept refusing, for all attempts (AWS_MAX_ATTEMPTS); the same command goes on."
    return ""


def _s3_options() -> dict[str, Any]:
    import s3fs.core  # only where it is needed: it takes half a second

    s3fs.core.set_custom_error_handler(_met_another_write)
    retries: dict[str, Any] = {}
    if "AWS_RETRY_MODE" not in os.environ:
        retries["mode"] = "standard"  # exponential, random, and with a budget for all requests together
    if "AWS_MAX_ATTEMPTS" not in os.environ:
        retries["total_max_attempts"] = ATTEMPTS
    options: dict[str, Any] = {"config_kwargs": {"retries": retries}}
    region = os.environ.get("AWS_REGION")
    if region and "AWS_DEFAULT_REGION" not in os.environ:  # the only one of the two that botocore reads
        options["client_kwargs"] = {"region_name": region}
    return options


def _met_another_write(error: BaseException) -> bool:
    """S3's answer to a conditional write that met another one half-way (409): to be sent again."""
    return _code(error) == "ConditionalRequestConflict"


def _code(error: BaseException) -> str:
    """S3's name of an error, that s3fs may have translated into an OSError; "" for any other."""
    for response in (getattr(error, "response", None), getattr(error.__cause__, "response", None)):
        if isinstance(response, dict):
            return str(response.get("Error", {}).get("Code", ""))
    return ""


def file_stamp(name: str, info: dict[str, Any]) -> str:
    """Cheap identity of a file's content, from what its file system tells of it (`info`)."""
    if "ino" in info:  # a local file; fsspec's times are floats that lose nanoseconds
        found = os.stat(name)
        # Whoever copies may set mtime (rsync -t, touch -r); ctime is the kernel's own.
        return f"{info['size']}-{found.st_mtime_ns}-{found.st_ctime_ns}"
    mark = next((str(info[key]).strip('"') for key in _STAMPS if info.get(key)), "")
    return f"{info['size']}-{mark}"
