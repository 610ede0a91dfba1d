"""Questions to a judge behind an OpenAI-compatible API: a bounded number at a time, with patience, or a clear end.

Retries, their backoff with jitter and `Retry-After` are urllib3's. Only failures of the service are tried again: no
connection, no answer in time, a broken or senseless body, status 408, 409, 429 and 5xx. Other refusals are about the
request, and final.
"""

import json
import os
import threading
import time
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError, InvalidHeader, LocationParseError, ProtocolError, ProxySchemeUnknown
from urllib3.util import Retry, Timeout, parse_url

from encore_ray.config import RateOptions
from encore_ray.engine.watchdog import CalledOff, advance
from encore_ray.errors import ClusterError, ConfigError

KEY_VARIABLE = "OPENAI_API_KEY"

_BUSY = frozenset({408, 409, 429, *range(500, 600)})
_LONGEST_WAIT_S = 60
_CONNECT_S = 10.0
_HEED_S = 1.0  # after which a thread that waits looks whether its answer is still wanted
_EXCERPT = 300  # characters of a reply that an error quotes
_SHORT = ({"role": "user", "content": "Reply with Yes or No only. Is this a question?"},)


@dataclass(frozen=True)
class Reply:
    """What a judge answered.

    Attributes:
        text: of its message; None where it has none.
        first: tokens that its message could have begun with and their natural log-probabilities, as far as they were
            given; empty where none were.
    """

    text: str | None
    first: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Refused:
    """The service does not answer this one request; why, in its own words."""

    reason: str


class _Patience(Retry):
    """Retries whose waits are no hang: the worker that waits says so. A client that has stopped waits no more."""

    stopped: threading.Event

    def new(self, **values: Any) -> Self:
        made = super().new(**values)
        made.stopped = self.stopped
        return made

    def sleep(self, response: BaseHTTPResponse | None = None) -> None:
        asked_s = self.get_retry_after(response) if response else None
        _wait(asked_s or self.get_backoff_time(), self.stopped)

    def parse_retry_after(self, retry_after: str) -> float:
        """Seconds; 0, which leaves it to the backoff, for what is neither a whole number of them nor a date."""
        try:
            return super().parse_retry_after(retry_after)
        except InvalidHeader:
            return 0.0


class ApiClient:
    """Asks one endpoint; many threads share it, and its limit of requests a minute.

    Args:
        url: of the API, as in http://127.0.0.1:8000/v1.
        options: of the endpoint.
    """

    def __init__(self, url: str, options: RateOptions):
        self._url, self._options = f"{url}/chat/completions", options
        key = _key()
        self._headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}
        self._pool = _pool(url, options)
        self._retry = _Patience(
            options.retries,
            redirect=0,
            allowed_methods={"POST"},
            status_forcelist=_BUSY,
            backoff_factor=options.backoff_s,
            backoff_jitter=options.backoff_s,
            backoff_max=_LONGEST_WAIT_S,
            retry_after_max=_LONGEST_WAIT_S,
            raise_on_status=False,
            raise_on_redirect=False,
        )
        self._stopped = self._retry.stopped = threading.Event()
        self._turn = threading.Lock()
        self._next_s = 0.0
        self._has_answered = False
        self._finding_out = threading.Lock()

    def ask(self, body: dict[str, Any]) -> Reply | Refused:
        """The reply to one chat completion.

        Raises:
            ConfigError: the key, the URL or the kind of request is refused. ClusterError: the service keeps failing.
            CalledOff: the client has stopped.
        """
        self._wait_for_turn()
        retry: Retry = self._retry
        data = json.dumps(body, ensure_ascii=False).encode()
        while True:
            try:
                response = self._pool.urlopen("POST", self._url, body=data, headers=self._headers, retries=retry)
                retry = response.retries or retry
                if response.status != 200:
                    return self._refusal(response.status, _message(response.data), body)
                reply = parse_reply(response.data)
                if reply is not None:
                    self._has_answered = True
                    return reply
                wrong = ProtocolError(f"a reply that is no chat completion: {_excerpt(response.data)}")
                retry = retry.increment("POST", self._url, error=wrong)
            except HTTPError as error:
                reason = getattr(error, "reason", None) or error
                raise ClusterError(
                    f"The judge at {self._url} failed {self._options.retries + 1} times, at last with {reason}. See "
                    "that it runs, or be more patient (rate.retries, rate.timeout_s). All answers are kept: the same "
                    "command goes on."
                ) from error
            retry.sleep()

    def stop(self) -> None:
        """Ask no more: threads that wait for their turn, or to try again, get CalledOff."""
        self._stopped.set()

    def _refusal(self, status: int, message: str, body: dict[str, Any]) -> Refused:
        """Of one request; raises where it is about all of them."""
        said = f"answered {status}: {message}"
        if status in (401, 403):
            raise ConfigError(
                f"The judge at {self._url} {said}. Set {KEY_VARIABLE} on every node to a key that it takes."
            )
        if status == 404 or 300 <= status < 400:
            raise ConfigError(f"The judge at {self._url} {said}. Check its URL (it ends in /v1) and rate.model.")
        if status in _BUSY:
            raise ClusterError(
                f"The judge at {self._url} failed {self._options.retries + 1} times: at last it {said}. Be more "
                "patient (rate.retries), or ask for less (rate.concurrency, rate.requests_per_minute). All answers are "
                "kept: the same command goes on."
            )
        if not self._answers_a_short_one(body):
            raise ConfigError(
                f"The judge at {self._url} refuses the first question: it {said}. Where it does not know "
                "log-probabilities, set rate.text_only (--text-only)."
            )
        return Refused(said)

    def _answers_a_short_one(self, body: dict[str, Any]) -> bool:
        """Whether the judge has answered yet, or does when it is asked in the same way about next to nothing."""
        with self._finding_out:
            if not self._has_answered:
                self._wait_for_turn()
                data = json.dumps({**body, "messages": _SHORT}, ensure_ascii=False).encode()
                response = self._pool.urlopen("POST", self._url, body=data, headers=self._headers, retries=self._retry)
                self._has_answered = response.status == 200 and parse_reply(response.data) is not None
            return self._has_answered

    def _wait_for_turn(self) -> None:
        """Spread requests evenly over a minute."""
        if self._stopped.is_set():
            raise CalledOff
        if self._options.requests_per_minute is None:
            return
        with self._turn:
            now = time.monotonic()
            at = max(now, self._next_s)
            self._next_s = at + 60 / self._options.requests_per_minute
        _wait(at - now, self._stopped)


def _wait(seconds: float, stopped: threading.Event) -> None:
    """Wait, which is no hang; CalledOff soon after the pass has ended or the client has stopped."""
    while True:
        advance()
        if stopped.wait(min(seconds, _HEED_S)):
            raise CalledOff
        seconds -= _HEED_S
        if seconds <= 0:
            return


def is_api(judge: str) -> bool:
    """Whether a judge is named by the URL of an API."""
    return judge.startswith(("http://", "https://"))


def check_url(url: str) -> None:
    """Raise ConfigError where the URL of an API is none."""
    try:
        parts = parse_url(url)
    except LocationParseError:
        parts = None
    if parts is None or not parts.host or parts.query or parts.fragment:
        raise ConfigError(f"{url} is no URL of an API. Expected one as http://127.0.0.1:8000/v1.")


def _key() -> str | None:
    """The key in the environment, without the line's end that files of secrets have; ConfigError if it can be none."""
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not key.isascii() or not key.isprintable():
        raise ConfigError(
            f"{KEY_VARIABLE} holds characters that no key has (line breaks, or other than ASCII). Set it anew on every "
            "node."
        )
    return key or None


def _pool(url: str, options: RateOptions) -> urllib3.PoolManager:
    """Connections to an address, through the proxy that the environment names for it (HTTPS_PROXY, NO_PROXY).

    Raises:
        ConfigError: the proxy is none that speaks HTTP.
    """
    parts = urlsplit(url)
    proxy = None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)
    timeout = Timeout(connect=_CONNECT_S, read=options.timeout_s)
    if proxy:
        proxy = proxy if "://" in proxy else f"http://{proxy}"
        try:
            return urllib3.ProxyManager(proxy, maxsize=options.concurrency, block=True, timeout=timeout)
        except (LocationParseError, ProxySchemeUnknown) as error:
            raise ConfigError(
                f"The proxy {proxy} of {parts.scheme.upper()}_PROXY cannot be used: {error}. Name one that speaks "
                "HTTP, or leave the judge's host out of it by NO_PROXY."
            ) from None
    return urllib3.PoolManager(maxsize=options.concurrency, block=True, timeout=timeout)


def parse_reply(data: bytes) -> Reply | None:
    """The reply in the body of a chat completion; None where it is none.

    Half a character, as of an emoji that the last token begins, becomes a question mark: files hold none.
    """
    try:
        choice = json.loads(data)["choices"][0]
        text = choice["message"].get("content")
        if not isinstance(text, str | None):
            return None
        tokens = (choice.get("logprobs") or {}).get("content") or [{}]
        first = tuple(
            (_whole(str(each["token"])), float(each["logprob"])) for each in tokens[0].get("top_logprobs") or ()
        )
        if not all(logprob < 0.01 for _, logprob in first):  # NaN is no logarithm of a probability either
            return None
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, RecursionError):
        return None
    return Reply(None if text is None else _whole(text), first)


def _whole(text: str) -> str:
    return text.encode(errors="replace").decode()


def _message(data: bytes) -> str:
    """What an error response says, in one line."""
    try:
        error = json.loads(data)["error"]
        return _excerpt(str(error["message"] if isinstance(error, dict) else error).encode())
    except (ValueError, KeyError, TypeError, RecursionError):
        return _excerpt(data)


def _excerpt(data: bytes) -> str:
    text = " ".join(data.decode(errors="replace").split())
    return repr(text[:_EXCERPT] + (" …" if len(text) > _EXCERPT else "")) if text else "nothing"
