"""The audit of the pinned dependencies, by pip-audit against a small server that answers as the OSV database does."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.patience import PATIENCE_S

ROOT = Path(__file__).parent.parent


def vulnerability(name: str, package: str, *events: dict[str, str]) -> dict[str, Any]:
    return {
        "id": name,
        "summary": "A made-up vulnerability.",
        "published": "2026-01-01T00:00:00Z",
        "affected": [
            {
                "package": {"name": package, "ecosystem": "PyPI"},
                "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, *events]}],
            }
        ],
    }


class Database(BaseHTTPRequestHandler):
    found: dict[str, list[dict[str, Any]]]

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        body = json.dumps({"vulns": self.found.get(asked["package"]["name"], [])}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def database() -> Iterator[tuple[str, type[Database]]]:
    class Filled(Database):
        found: dict[str, list[dict[str, Any]]] = {}  # noqa: RUF012

    server = ThreadingHTTPServer(("127.0.0.1", 0), Filled)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1/query", Filled
    server.shutdown()
    thread.join()
    server.server_close()


def audit(url: str) -> tuple[int, str]:
    command = [sys.executable, ".ci/audit.py", "--osv-url", url]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert not done.stderr
    return done.returncode, done.stdout


def test_a_pin_with_a_mended_version_fails_the_check_and_one_without_is_only_named(
    database: tuple[str, type[Database]],
) -> None:
    url, answers = database
    answers.found = {"requests": [vulnerability("OSV-1", "requests")]}
    code, text = audit(url)
    assert code == 0
    assert text.startswith("requests ") and "OSV-1, not mended yet" in text
    num_pins = len((ROOT / "constraints.txt").read_text().splitlines()) - 1
    assert text.splitlines()[-1] == f"{num_pins} pins audited, 0 to mend."
    answers.found["numpy"] = [vulnerability("OSV-2", "numpy", {"fixed": "99.1"})]
    code, text = audit(url)
    assert code == 1
    assert "OSV-2, mended in 99.1" in text


def test_without_a_database_nothing_is_audited_and_nothing_breaks() -> None:
    code, text = audit("http://127.0.0.1:9/v1/query")
    assert code == 0
    assert text.startswith("Dependencies are not audited: pip-audit had no answer from its database.")
