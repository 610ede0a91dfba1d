"""A server that speaks S3, in a process of its own, and a proxy in front of it that fails requests as stores do."""

import contextlib
import http.client
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import urlsplit

# Ends with its standard input, so that it cannot outlive the tests.
_SERVER = """
import logging, sys
from moto.server import ThreadedMotoServer
logging.disable()
server = ThreadedMotoServer(ip_address=sys.argv[1], port=0, verbose=False)
server.start()
print("http://%s:%d" % server.get_host_and_port(), flush=True)
sys.stdin.read()
"""

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "planted-key-id",
    "AWS_SECRET_ACCESS_KEY": "planted/secret+of=the/store",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}

Fault = Literal[
    "slow_down", "internal", "drop", "lose_answer", "cut", "stall", "conflict", "denied", "ignore_condition"
]
Plan = Callable[["BaseHTTPRequestHandler"], "Fault | None"]

_ANSWERS = {
    "slow_down": (503, "SlowDown", "Please reduce your request rate."),
    "internal": (500, "InternalError", "We encountered an internal error. Please try again."),
    "conflict": (409, "ConditionalRequestConflict", "A conflicting operation occurred during the request."),
    "denied": (403, "AccessDenied", "Access Denied"),
}
STALL_S = 3.0
_OF_ONE_HOP = {"connection", "expect", "keep-alive", "transfer-encoding", "server", "date"}


@dataclass(frozen=True)
class Store:
    """A running server.

    Attributes:
        endpoint: its URL.
    """

    endpoint: str

    @cached_property
    def client(self) -> Any:
        """boto3's client, to look at the store from outside."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id="other",
            aws_secret_access_key="other",
            region_name="us-east-1",
        )

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which a process finds it."""
        return {**CREDENTIALS, "AWS_ENDPOINT_URL": self.endpoint}

    def empty(self, bucket: str) -> None:
        """Make a bucket, or delete what is in it."""
        self.client.create_bucket(Bucket=bucket)
        for key in self.objects(bucket):
            self.client.delete_object(Bucket=bucket, Key=key)

    def objects(self, bucket: str, prefix: str = "") -> dict[str, bytes]:
        """Every object, by key."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
        return {key: self.client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}


@contextlib.contextmanager
def store_server(host: str = "127.0.0.1") -> Iterator[Store]:
    """A server that listens to an address of this machine."""
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVER, host],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin is not None and process.stdout is not None
    endpoint = process.stdout.readline().strip()
    assert endpoint, "moto's server did not start"
    try:
        yield Store(endpoint)
    finally:
        process.stdin.close()
        process.wait(timeout=30)
        process.stdout.close()


def random_faults(seed: int, share: float) -> Plan:
    """Fails this share of all requests, in every way that a client should get over by itself."""
    draw = random.Random(seed)
    kinds: tuple[Fault, ...] = ("slow_down", "internal", "drop", "lose_answer", "cut")

    def plan(request: BaseHTTPRequestHandler) -> Fault | None:
        return draw.choice(kinds) if draw.random() < share else None

    return plan


def always(fault: Fault) -> Plan:
    return lambda request: fault


def first_creations(fault: Fault, times: int = 1) -> Plan:
    """Fails the first conditional writes."""
    left = times

    def plan(request: BaseHTTPRequestHandler) -> Fault | None:
        nonlocal left
        if request.command != "PUT" or "If-None-Match" not in request.headers or not left:
            return None
        left -= 1
        return fault

    return plan


class FaultProxy(ThreadingHTTPServer):
    """Passes requests on to a store, except those that the plan fails; counts requests and faults."""

    daemon_threads = True

    def __init__(self, store: Store, plan: Plan, address: str):
        super().__init__((address, 0), _Handler)
        self.target = urlsplit(store.endpoint).netloc
        self.plan = plan
        self.lock = threading.Lock()
        self.num_requests = 0
        self.faults: Counter[str] = Counter()

    @property
    def endpoint(self) -> str:
        return f"http://{self.server_address[0]}:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that break off are expected here."""


@contextlib.contextmanager
def fault_proxy(store: Store, plan: Plan, *, address: str = "127.0.0.1") -> Iterator[FaultProxy]:
    proxy = FaultProxy(store, plan, address)
    thread = threading.Thread(target=proxy.serve_forever)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.shutdown()
        thread.join()
        proxy.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: FaultProxy
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with self.server.lock:
            self.server.num_requests += 1
            fault = self.server.plan(self)
            if fault:
                self.server.faults[fault] += 1
        if fault in _ANSWERS:
            self._refuse(*_ANSWERS[fault])
        elif fault == "drop":
            self._hang_up()
        else:
            self._pass_on(body, fault)

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET

    def _pass_on(self, body: bytes, fault: Fault | None) -> None:
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _OF_ONE_HOP}
        if fault == "ignore_condition":
            headers.pop("If-None-Match", None)
        connection = http.client.HTTPConnection(self.server.target, timeout=60)
        with contextlib.closing(connection):
            connection.request(self.command, self.path, body=body, headers=headers)
            response = connection.getresponse()
            data = response.read()
        if fault == "stall":
            time.sleep(STALL_S)
        if fault in ("lose_answer", "stall") or (fault == "cut" and not data):
            self._hang_up()
            return
        self.send_response(response.status)
        for name, value in response.getheaders():
            if name.lower() not in _OF_ONE_HOP | {"content-length"}:
                self.send_header(name, value)
        # The answer to HEAD names a length that it does not have.
        length = response.getheader("Content-Length") if self.command == "HEAD" else str(len(data))
        self.send_header("Content-Length", length or "0")
        self.end_headers()
        if fault == "cut":
            data = data[: len(data) // 2]
            self._hang_up()
        self.wfile.write(data)

    def _refuse(self, status: int, code: str, message: str) -> None:
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
        body = b"" if self.command == "HEAD" else body
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _hang_up(self) -> None:
        self.close_connection = True

    def log_message(self, *args: Any) -> None:
        pass
