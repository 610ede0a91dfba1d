"""Questions to a judge behind an OpenAI-compatible API: a bounded number at a time, with patience, or a clear end.

Retries, their backoff with jitter and `Retry-After` are urllib3's. Only failures of the service are tried again: no
connection, no answer in time, a broken or senseless body, status 408, 409, 429 and 5xx. Other refusals are about the
request, and final; a quota that is used up and a certificate that nobody trusts end the job at once.
"""

import json
import threading
import time
from typing import Any, Self

from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError, InvalidHeader, ProtocolError, SSLError
from urllib3.util import Retry

from encore_ray.config import RateOptions
from encore_ray.engine.process.watchdog import CalledOff, advance
from encore_ray.errors import ClusterError, ConfigError
from encore_ray.passes.scorers.api.bodies import read_body
from encore_ray.passes.scorers.api.connection import KEY_VARIABLE, connect, endpoint, headers, untrusted
from encore_ray.passes.scorers.api.refusals import Refusal, error_within, excerpt, read_refusal
from encore_ray.passes.scorers.api.replies import Refused, Reply, is_message_missing, parse_reply

_BUSY = frozenset({408, 409, 429, *range(500, 600)})
_LONGEST_WAIT_S = 60
_HEED_S = 1.0  # after which a thread that waits looks whether its answer is still wanted
_SHORT = ({"role": "user", "content": "Reply with Yes or No only. Is this a question?"},)


class _Patience(Retry):
    """Retries whose waits are no hang: the worker that waits says so. A client that has stopped waits no more."""

    stopped: threading.Event
    url: str

    def increment(
        self, *args: Any, response: BaseHTTPResponse | None = None, error: Exception | None = None, **values: Any
    ) -> Self:
        if response is not None and (refusal := read_refusal(response.status, read_body(response))).is_quota:
            raise used_up(self.url, refusal)
        if isinstance(error, SSLError) and (wrong := untrusted(self.url, error)):
            raise wrong
        return super().increment(*args, response=response, error=error, **values)

    def new(self, **values: Any) -> Self:
        made = super().new(**values)
        made.stopped, made.url = self.stopped, self.url
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
        self._url, self._options = endpoint(url), options
        self._headers = headers(options)
        self._pool = connect(url, options)
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
        self._retry.url = self._url
        self._turn = threading.Lock()
        self._next_s = 0.0
        self._has_answered = False
        self._finding_out = threading.Lock()

    def ask(self, body: dict[str, Any]) -> Reply | Refused:
        """The reply to one chat completion.

        Raises:
            ConfigError: the key, the URL or the kind of request is refused. ClusterError: the service keeps failing,
                or is paid for no more. CalledOff: the client has stopped.
        """
        outcome = self.send(body)
        return outcome if isinstance(outcome, Reply) else self.accept(outcome, body)

    def send(self, body: dict[str, Any]) -> Reply | Refusal:
        """The same, with a refusal of whatever kind as it is; raises what is about the service."""
        self._wait_for_turn()
        retry: Retry = self._retry
        data = json.dumps(body, ensure_ascii=False).encode()
        is_silent = False  # it answered, with no message in it
        while True:
            try:
                response = self._post(data, retry)
                retry = response.retries or retry
                if response.status != 200:
                    return self._about_this(read_refusal(response.status, read_body(response)))
                received, lost = _received(response)
                reply = parse_reply(received)
                if reply is not None:
                    self._has_answered = True
                    return reply
                refusal = error_within(received)
                if refusal is not None and (refusal.is_quota or refusal.status not in _BUSY):
                    return self._about_this(refusal)
                is_silent = is_message_missing(received)
                wrong = lost or ProtocolError(f"a reply that is no chat completion: {excerpt(received)}")
                retry = retry.increment("POST", self._url, error=wrong)
            except HTTPError as error:
                if is_silent and self._answers_a_short_one(body):
                    return Refusal(200, f"no message {self._options.retries + 1} times, as filters have it", "")
                raise self._failed(error) from error
            retry.sleep()

    def _failed(self, error: HTTPError) -> ClusterError:
        reason = getattr(error, "reason", None) or error
        return ClusterError(
            f"The judge at {self._url} failed {self._options.retries + 1} times, at last with {reason}. See that it "
            "runs, or be more patient (rate.retries, rate.timeout_s). All answers are kept: the same command goes on."
        )

    def _post(self, data: bytes, retry: Retry) -> BaseHTTPResponse:
        return self._pool.urlopen(
            "POST", self._url, body=data, headers=self._headers, retries=retry, preload_content=False
        )

    def stop(self) -> None:
        """Ask no more: threads that wait for their turn, or to try again, get CalledOff."""
        self._stopped.set()

    def accept(self, refusal: Refusal, body: dict[str, Any]) -> Refused:
        """A refusal of one request; raises ConfigError where it is about all of them."""
        said = _said(refusal)
        if not self._answers_a_short_one(body):
            names = [name for name in body if name not in ("model", "messages")]
            parameter = refusal.parameter(names)
            remedy = (
                f"It is about {parameter}: rate.body sets it, or leaves it out with null, as in {{{parameter}: null}}. "
                if parameter
                else ""
            )
            raise ConfigError(
                f"The judge at {self._url} refuses the first question: it {said}. {remedy}Where it does not know "
                "log-probabilities, set rate.text_only (--text-only)."
            )
        return Refused(said, refusal)

    def _about_this(self, refusal: Refusal) -> Refusal:
        """The refusal, where it is of this one request; raises where it is about all of them."""
        status, said = refusal.status, _said(refusal)
        if refusal.is_quota:
            raise used_up(self._url, refusal)
        if refusal.is_about_content:
            return refusal
        if status in (401, 403):
            raise ConfigError(
                f"The judge at {self._url} {said}. Set {KEY_VARIABLE} on every node to a key that it takes, or name "
                "the header that it wants, and the variable that holds it, in rate.headers."
            )
        if status == 404 or 300 <= status < 400:
            raise ConfigError(
                f"The judge at {self._url} {said}. Check its URL (it ends in /v1; of Azure it names the deployment and "
                "ends in ?api-version=...) and rate.model."
            )
        if status in _BUSY:
            raise ClusterError(
                f"The judge at {self._url} failed {self._options.retries + 1} times: at last it {said}. Be more "
                "patient (rate.retries), or ask for less (rate.concurrency, rate.requests_per_minute). All answers are "
                "kept: the same command goes on."
            )
        return refusal

    def _answers_a_short_one(self, body: dict[str, Any]) -> bool:
        """Whether the judge has answered yet, or does when it is asked in the same way about next to nothing."""
        with self._finding_out:
            if not self._has_answered:
                self._wait_for_turn()
                data = json.dumps({**body, "messages": _SHORT}, ensure_ascii=False).encode()
                try:
                    response = self._post(data, self._retry)
                    self._has_answered = response.status == 200 and parse_reply(read_body(response)) is not None
                except HTTPError as error:
                    raise self._failed(error) from error
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


def used_up(url: str, refusal: Refusal) -> ClusterError:
    """The end of a job that is paid for no more."""
    return ClusterError(
        f"The judge at {url} {_said(refusal)}. What was paid for is used up, and waiting does not mend that: nothing "
        "more is asked. See its plan and billing. All answers are kept: the same command goes on."
    )


def _received(response: BaseHTTPResponse) -> tuple[bytes, HTTPError | None]:
    """The body of a reply; nothing, and why, where the connection is lost within it or it has no end."""
    try:
        return read_body(response, refuses=True), None
    except HTTPError as error:
        return b"", error


def _said(refusal: Refusal) -> str:
    return f"answered {refusal.status}: {refusal.message}"


def _wait(seconds: float, stopped: threading.Event) -> None:
    """Wait, which is no hang; CalledOff soon after the pass has ended or the client has stopped."""
    while True:
        advance()
        if stopped.wait(min(seconds, _HEED_S)):
            raise CalledOff
        seconds -= _HEED_S
        if seconds <= 0:
            return
