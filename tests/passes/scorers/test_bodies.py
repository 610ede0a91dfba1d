"""A reply is read so far and no further, in little memory, and the connection is used again."""

import tracemalloc
from collections.abc import Iterator

import pytest

from encore_ray.config import RateOptions
from encore_ray.errors import ClusterError, ConfigError
from encore_ray.passes.scorers.api.bodies import MAX_BYTES
from encore_ray.passes.scorers.api.client import ApiClient
from encore_ray.passes.scorers.api.replies import Reply
from tests.passes.api_server import Server, Step, api_server, completion
from tests.passes.scorers.test_api_judge import judge_like

QUESTION = {"model": "judge-1", "messages": [{"role": "user", "content": "Is it?"}]}
HUGE = b" " * (8 * MAX_BYTES)


@pytest.fixture
def server() -> Iterator[Server]:
    with api_server(judge_like) as running:
        yield running


def client(server: Server, retries: int = 1) -> ApiClient:
    return ApiClient(server.url, RateOptions(model="judge-1", retries=retries, backoff_s=0.01, concurrency=1))


def peak(ask) -> int:
    tracemalloc.start()
    try:
        ask()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_reply_without_end_is_refused_after_its_first_part(server: Server) -> None:
    server.answer = lambda body: Step(200, HUGE)

    def ask() -> None:
        with pytest.raises(ClusterError, match="failed 2 times, at last with a reply of more than 16 MiB"):
            client(server).ask(QUESTION)

    assert peak(ask) < 4 * MAX_BYTES  # of 8


@pytest.mark.parametrize(("status", "error"), [(401, ConfigError), (503, ClusterError)])
def test_a_refusal_without_end_is_read_to_its_first_part(server: Server, status: int, error: type[Exception]) -> None:
    server.answer = lambda body: Step(status, b"no " + HUGE)
    with pytest.raises(error, match=f"answered {status}: 'no'"):
        client(server).ask(QUESTION)


def test_after_a_reply_that_was_too_long_the_next_one_counts(server: Server) -> None:
    replies = [Step(200, HUGE), Step(503, HUGE), completion("Yes")]
    server.answer = lambda body: replies.pop(0)
    found = client(server, retries=3).ask(QUESTION)
    assert isinstance(found, Reply) and found.text == "Yes"
