"""Whether a judge's API answers, asked without a question: its list of models costs nothing."""

import json
from typing import Any

from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError, SSLError
from urllib3.util import Timeout

from encore_ray.config import RateOptions
from encore_ray.errors import ClusterError
from encore_ray.passes.scorers.api.connection import check_url, connect, headers, untrusted

_PATIENCE_S = 5.0
_COMPLETIONS = "/chat/completions"
_NAMED = 5


def reach(url: str, options: RateOptions) -> str:
    """What an API says of its models, as a sentence without an end; errors as of `_ask`."""
    answer = _ask(url, options)
    if answer.status in (401, 403):
        return f"it answers, and does not tell its models to this key ({answer.status}): see that it takes questions"
    served = _served(answer)
    if not served:
        return f"it answers ({answer.status}), and does not list its models"
    if options.model in served:
        return "it answers, and serves that model"
    more = " and others" if len(served) > _NAMED else ""
    return f"it answers, and does not list that model, but {', '.join(served[:_NAMED])}{more} (rate.model)"


def served_models(url: str, options: RateOptions) -> list[str]:
    """Names of the models that an API lists; errors as of `_ask`."""
    check_url(url)
    return _served(_ask(url, options))


def _ask(url: str, options: RateOptions) -> BaseHTTPResponse:
    """The answer to the question for its models.

    Raises:
        ConfigError: a header's variable or the proxy is wrong, or its certificate is not trusted.
        ClusterError: nobody answers.
    """
    base, mark, query = url.partition("?")
    address = f"{base.rstrip('/').removesuffix(_COMPLETIONS)}/models{mark}{query}"
    try:
        return connect(url, options).request(
            "GET", address, headers=headers(options), retries=False, timeout=Timeout(_PATIENCE_S), redirect=False
        )
    except HTTPError as error:
        wrong = untrusted(url, error) if isinstance(error, SSLError) else None
        reason = getattr(error, "reason", None) or error
        raise wrong or ClusterError(
            f"The judge at {url} does not answer: {reason}. See that it runs, and that this machine reaches it "
            "(HTTPS_PROXY, NO_PROXY)."
        ) from None


def _served(answer: BaseHTTPResponse) -> list[str]:
    """Names of the models that an answer lists."""
    try:
        found: Any = json.loads(answer.data)
        return [str(each["id"]) for each in found["data"]] if answer.status == 200 else []
    except (ValueError, TypeError, KeyError):
        return []
