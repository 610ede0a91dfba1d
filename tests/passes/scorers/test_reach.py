"""Whether a judge's API answers is found out by its list of models, which costs no question."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from encore_ray.config import RateOptions
from encore_ray.errors import ClusterError
from encore_ray.passes.scorers.api.reach import reach, served_models

LISTED = json.dumps({"object": "list", "data": [{"id": "judge-8b"}, {"id": "judge-70b"}]}).encode()


@contextmanager
def serving(status: int, body: bytes) -> Iterator[str]:
    """The URL of a server that answers one path."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_asked = self.path == "/v1/models"
            self.send_response(status if is_asked else 500)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "body", "model", "said"),
    [
        (200, LISTED, "judge-8b", "serves that model"),
        (200, LISTED, "judge", "does not list that model, but judge-8b, judge-70b"),
        (200, b"<html>", "judge", r"it answers \(200\), and does not list its models"),
        (404, b"", "judge", r"it answers \(404\), and does not list its models"),
        (401, b"", "judge", r"does not tell its models to this key \(401\)"),
    ],
)
def test_an_api_that_answers_is_told_apart_by_what_it_lists(status: int, body: bytes, model: str, said: str) -> None:
    with serving(status, body) as url:
        assert re.search(said, reach(url, RateOptions(model=model)))
        assert served_models(f"{url}/chat/completions", RateOptions()) == (
            ["judge-8b", "judge-70b"] if body == LISTED else []
        )


def test_an_api_that_does_not_answer_is_named() -> None:
    with serving(200, LISTED) as url:
        pass
    with pytest.raises(ClusterError, match="does not answer: "):
        reach(url, RateOptions(model="judge"))
