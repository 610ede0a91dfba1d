"""The way to an endpoint: its address, what opens it, and the proxy between."""

import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.exceptions import LocationParseError, ProxySchemeUnknown, SSLError
from urllib3.util import Timeout, parse_url

from encore_ray.config import RateOptions
from encore_ray.errors import ConfigError
from encore_ray.redaction import redact

KEY_VARIABLE = "OPENAI_API_KEY"

_AUTHORITY_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_PATH = "/chat/completions"
_CONNECT_S = 10.0
_SECRET = re.compile("token|secret|passw|signature|credential|sig|key", re.I)


def is_api(judge: str) -> bool:
    """Whether a judge is named by the URL of an API."""
    return judge.startswith(("http://", "https://"))


def check_url(url: str) -> None:
    """Raise ConfigError where the URL of an API is none, or has what opens it in its query."""
    try:
        parts = parse_url(url)
    except LocationParseError:
        parts = None
    if parts is None or not parts.host or parts.fragment:
        raise ConfigError(f"{url} is no URL of an API. Expected one as http://127.0.0.1:8000/v1.")
    secret = [name for name, _ in parse_qsl(parts.query or "", keep_blank_values=True) if _SECRET.search(name)]
    if secret:
        raise ConfigError(
            f"{redact(url)} is no URL of an API: {secret[0]} in its query looks as what opens it, and would be written "
            "into the run folder. Name an environment variable that holds it in rate.headers, as in {api-key: "
            "JUDGE_KEY}."
        )


def endpoint(url: str) -> str:
    """Where chat completions are asked for: behind the path of the API's URL, before its query."""
    base, mark, query = url.partition("?")
    base = base.rstrip("/")
    return f"{base if base.endswith(_PATH) else base + _PATH}{mark}{query}"


def headers(options: RateOptions, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The headers of every request: the key of the environment as a bearer's, and those of rate.headers.

    Raises:
        ConfigError: a variable is not set, or holds what no header can.
    """
    named = {name: _value(variable, environ) for name, variable in (options.headers or {}).items()}
    missing = [f"{name}: {variable}" for name, variable in (options.headers or {}).items() if not named[name]]
    if missing:
        raise ConfigError(f"rate.headers: no such variable is set ({', '.join(missing)}). Set it on every node.")
    key = _value(KEY_VARIABLE, environ)
    has_own = any(name.lower() in ("authorization", "api-key") for name in named)
    bearer = {"Authorization": f"Bearer {key}"} if key and not has_own else {}
    return {"Content-Type": "application/json", **bearer, **named}


def _value(variable: str, environ: Mapping[str, str]) -> str:
    """A variable without the line's end that files of secrets have; ConfigError where no header holds it."""
    value = environ.get(variable, "").strip()
    if not value.isascii() or not value.isprintable():
        raise ConfigError(
            f"{variable} holds characters that no key has (line breaks, or other than ASCII). Set it anew on every "
            "node."
        )
    return value


def connect(url: str, options: RateOptions) -> urllib3.PoolManager:
    """Connections to an address, through the proxy that the environment names for it (HTTPS_PROXY, NO_PROXY).

    Raises:
        ConfigError: the proxy is none that speaks HTTP.
    """
    parts = urlsplit(url)
    proxy = None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)
    timeout = Timeout(connect=_CONNECT_S, read=options.timeout_s)
    trusted = _authorities()
    if proxy:
        proxy = proxy if "://" in proxy else f"http://{proxy}"
        try:
            return urllib3.ProxyManager(proxy, maxsize=options.concurrency, block=True, timeout=timeout, **trusted)
        except (LocationParseError, ProxySchemeUnknown) as error:
            raise ConfigError(
                f"The proxy {proxy} of {parts.scheme.upper()}_PROXY cannot be used: {error}. Name one that speaks "
                "HTTP, or leave the judge's host out of it by NO_PROXY."
            ) from None
    return urllib3.PoolManager(maxsize=options.concurrency, block=True, timeout=timeout, **trusted)


def untrusted(url: str, error: SSLError) -> ConfigError | None:
    """What to do where no connection will ever be trusted; None where another try may do."""
    said = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in said:
        found = re.search(r"certificate verify failed: ([^()]+?)\.? \(", said)
        return ConfigError(
            f"The judge at {url} shows a certificate that is not trusted here"
            f"{f' ({found[1]})' if found else ''}. Set {_AUTHORITY_VARIABLES[0]} on every node to the file of its "
            "authority's certificates."
        )
    if "WRONG_VERSION_NUMBER" in said or "record layer failure" in said:
        return ConfigError(f"What answers at {url} speaks no TLS. Write http:// where it is meant to.")
    return None


def _authorities(environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Whom to trust, where the environment says so as it does to curl and requests; OpenSSL itself reads the first."""
    if environ.get(_AUTHORITY_VARIABLES[0]):
        return {}
    place = next((environ[name] for name in _AUTHORITY_VARIABLES[1:] if environ.get(name)), None)
    if place is None:
        return {}
    return {"ca_cert_dir": place} if os.path.isdir(place) else {"ca_certs": place}
