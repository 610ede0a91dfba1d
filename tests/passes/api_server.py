"""A real HTTP server that speaks chat completions as a script says, one step a request, and remembers what it heard."""

import contextlib
import json
import math
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

Body = dict[str, Any]


@dataclass(frozen=True)
class Step:
    """One response: its status, body and headers; it may come late, or end before its end."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    cut: bool = False


def completion(text: str | None, first: dict[str, float] | None = None) -> Step:
    """A chat completion; `first` are probabilities of first tokens."""
    choice: Body = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    if first is not None:
        top = [{"token": token, "logprob": math.log(p), "bytes": None} for token, p in first.items()]
        choice["logprobs"] = {"content": [{**top[0], "top_logprobs": top}]}
    return Step(200, json.dumps({"object": "chat.completion", "choices": [choice]}).encode())


def failure(status: int, message: str = "broken", **headers: str) -> Step:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Step(status, json.dumps({"error": {"message": message}}).encode(), named)


class Server:
    """What it is told to answer, and the requests it got, with their headers."""

    def __init__(self, url: str, answer: Callable[[Body], Step]):
        self.url, self.answer = url, answer
        self.script: list[Step] = []  # answers before `answer` takes over
        self.heard: list[tuple[Body, dict[str, str]]] = []
        self.most_at_a_time = 0
        self._at_a_time = 0
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def hear(self, body: Body, headers: dict[str, str]) -> Iterator[Step]:
        with self._lock:
            self.heard.append((body, headers))
            self._at_a_time += 1
            self.most_at_a_time = max(self.most_at_a_time, self._at_a_time)
            step = self.script.pop(0) if self.script else self.answer(body)
        try:
            time.sleep(step.delay_s)
            yield step
        finally:
            with self._lock:
                self._at_a_time -= 1


@contextlib.contextmanager
def tls_server(answer: Callable[[Body], Step], folder: Path) -> Iterator[tuple[Server, Path]]:
    """The same behind TLS, with a certificate of its own making, and the file of that."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "judge")])
    since = datetime.now(UTC) - timedelta(days=1)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, since, since + timedelta(days=9))
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    certificate = builder.add_extension(address, critical=False).sign(key, hashes.SHA256())
    authority, private = folder / "authority.pem", folder / "key.pem"
    authority.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority, private)
    with api_server(answer, context) as server:
        yield server, authority


@contextlib.contextmanager
def api_server(answer: Callable[[Body], Step], context: ssl.SSLContext | None = None) -> Iterator[Server]:
    """A server on a free port of this machine, in threads of this process."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with server.hear({**body, "path": self.path}, dict(self.headers)) as step, contextlib.suppress(OSError):
                self.send_response(step.status)
                for name, value in {**step.headers, "Content-Length": str(len(step.body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(step.body[: len(step.body) // 2] if step.cut else step.body)
                if step.cut:
                    self.close_connection = True

        def log_message(self, *_args: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if context is not None:
        http.socket = context.wrap_socket(http.socket, server_side=True, do_handshake_on_connect=False)
    server = Server(f"{'https' if context else 'http'}://127.0.0.1:{http.server_port}/v1", answer)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        thread.join()
        http.server_close()
