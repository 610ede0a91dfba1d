"""Proxies of the environment: never in the way to this machine, and named where they are in the way to others."""

import os
from collections.abc import MutableMapping
from urllib.parse import urlsplit
from urllib.request import (
    getproxies_environment,
    proxy_bypass_environment,  # pyright: ignore[reportAttributeAccessIssue]  # which the standard library has
)

LOOPBACK = ("localhost", "127.0.0.1", "::1")
_NAMES = ("no_proxy", "NO_PROXY")


def spare_loopback(environ: MutableMapping[str, str] | None = None) -> None:
    """Let no library send requests to this machine through a proxy: NO_PROXY gets its names, where one is set.

    Args:
        environ: changed; None for this process's, which child processes get too.
    """
    environ = os.environ if environ is None else environ
    if not any(environ.get(name) for scheme in ("http", "https", "all") for name in _of(scheme)):
        return
    found = next((environ[name] for name in _NAMES if environ.get(name)), "")
    hosts = [host.strip() for host in found.split(",") if host.strip()]
    spared = ",".join([*hosts, *(host for host in LOOPBACK if host not in hosts)])
    for name in _NAMES:
        environ[name] = spared if hosts != ["*"] else "*"


def in_the_way(url: str) -> str:
    """A sentence that names the proxy which requests to a URL go through; empty where there is none."""
    parts = urlsplit(url)
    proxies = getproxies_environment()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or not parts.hostname or proxy_bypass_environment(parts.hostname, proxies):
        return ""
    variable = next((name for scheme in (parts.scheme, "all") for name in _of(scheme) if os.environ.get(name)), "")
    return f" Requests go through the proxy {proxy} of {variable}; NO_PROXY={parts.hostname} leaves it out."


def _of(scheme: str) -> tuple[str, str]:
    return f"{scheme}_proxy", f"{scheme.upper()}_PROXY"
