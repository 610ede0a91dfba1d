"""hf:// against a local server that speaks the hub's protocol: repository, tree, paths-info, resolve with ranges."""

import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from tests.corpora.prepared import prepare, write_as
from tests.patience import PATIENCE_S

REPOSITORY = "owner/name"
CLOSED_PORT = 1  # tcpmux, which nobody serves
COMMITS = {"main": "a" * 40, "v1": "b" * 40}


class Hub(BaseHTTPRequestHandler):
    """One dataset repository; `files` by revision and path."""

    protocol_version = "HTTP/1.1"
    files: dict[str, dict[str, bytes]]

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        path = unquote(url.path)
        if found := re.fullmatch(rf"/api/datasets/{REPOSITORY}(?:/revision/(.+))?", path):
            self._repository(found[1] or "main")
        elif found := re.fullmatch(rf"/api/datasets/{REPOSITORY}/tree/([^/]+)(?:/(.*))?", path):
            recursive = parse_qs(url.query).get("recursive", ["false"])[0].lower() == "true"
            self._json(self._tree(found[1], found[2] or "", recursive))
        elif found := re.fullmatch(rf"/datasets/{REPOSITORY}/resolve/([^/]+)/(.+)", path):
            self._content(found[1], found[2])
        else:
            self._missing("RepoNotFound")

    do_HEAD = do_GET

    def do_POST(self) -> None:
        found = re.fullmatch(rf"/api/datasets/{REPOSITORY}/paths-info/([^/]+)", unquote(urlsplit(self.path).path))
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if not found:
            self._missing("RepoNotFound")
            return
        wanted = json.loads(body)["paths"] if body.startswith("{") else parse_qs(body)["paths"]
        entries = {entry["path"]: entry for entry in self._tree(found[1], "", True)}
        self._json([entries[path] for path in wanted if path in entries])

    def _repository(self, revision: str) -> None:
        if revision not in self.files:
            self._missing("RevisionNotFound")
            return
        siblings = [{"rfilename": path} for path in self.files[revision]]
        self._json({"id": REPOSITORY, "sha": COMMITS[revision], "private": False, "tags": [], "siblings": siblings})

    def _tree(self, revision: str, folder: str, recursive: bool) -> list[dict[str, Any]]:
        prefix = f"{folder}/" if folder else ""
        entries: dict[str, dict[str, Any]] = {}
        for path, data in self.files[revision].items():
            if not path.startswith(prefix):
                continue
            parts = path.removeprefix(prefix).split("/")
            for depth in range(1, len(parts)):
                name = prefix + "/".join(parts[:depth])
                if recursive or depth == 1:
                    entries[name] = {"type": "directory", "path": name, "oid": "0" * 40, "size": 0}
            if recursive or len(parts) == 1:
                oid = hashlib.sha1(data).hexdigest()
                entries[path] = {"type": "file", "path": path, "oid": oid, "size": len(data)}
        return list(entries.values())

    def _content(self, revision: str, path: str) -> None:
        data = self.files.get(revision, {}).get(path)
        if data is None:
            self._missing("EntryNotFound")
            return
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start, end = (int(asked[1]), int(asked[2]) + 1 if asked[2] else len(data)) if asked else (0, len(data))
        part = data[start:end]
        headers = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": COMMITS[revision]}
        if asked:
            headers["Content-Range"] = f"bytes {start}-{start + len(part) - 1}/{len(data)}"
        self._send(206 if asked else 200, part, headers)

    def _json(self, value: Any) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _missing(self, code: str) -> None:
        self._send(404, b"{}", {"X-Error-Code": code})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base class names it so
        pass


ROWS = [{"prompt": f"Question {n}?", "chosen": "Yes.", "rejected": "No.", "n": n} for n in range(30)]

PREPARE = """
import json, sys
from encore_ray.errors import EncoreError
from tests.corpora.prepared import prepare
answers = []
for path in sys.argv[1:]:
    try:
        done = prepare(path, range_bytes=700)
        stamps = [file.file.stamp for file in done.plan.files]
        answers.append([[file.file.uri for file in done.plan.files], done.table.to_pylist(), stamps])
    except EncoreError as error:
        answers.append([type(error).__name__, str(error)])
print(json.dumps(answers))
"""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[str]:
    data = {kind: write_as(tmp_path, kind, ROWS).read_bytes() for kind in ("jsonl", "jsonl.gz", "parquet")}
    main = {"README.md": b"# card", "data/a.jsonl": data["jsonl"], "data/b.jsonl.gz": data["jsonl.gz"]}
    v1 = {"old.parquet": data["parquet"]}
    handler = type("Filled", (Hub,), {"files": {"main": main, "v1": v1}})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def prepared(paths: list[str], *, endpoint: str, home: Path) -> list[list[Any]]:
    """What becomes of each path, in a process of its own: huggingface_hub reads HF_ENDPOINT when it is imported."""
    environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}
    environment["HF_TOKEN"] = ""
    done = subprocess.run(
        [sys.executable, "-c", PREPARE, *paths],
        env=environment,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_hub_that_does_not_answer_is_no_bug_and_is_told_with_what_to_check(tmp_path: Path):
    path = f"hf://datasets/{REPOSITORY}/data/a.jsonl"
    [(kind, said)] = prepared([path], endpoint=f"http://127.0.0.1:{CLOSED_PORT}", home=tmp_path)
    assert kind == "DataError"
    assert path in said and "HF_ENDPOINT" in said and "HF_TOKEN" in said


def test_hub_datasets_give_the_same_pairs_as_local_files(hub: str, tmp_path: Path):
    base = f"hf://datasets/{REPOSITORY}"
    paths = [base, f"{base}/data/*.jsonl", f"{base}@v1/old.parquet", f"{base}/none.jsonl", f"{base}@v9/a.jsonl"]
    whole, matched, old, no_file, no_revision = prepared(paths, endpoint=hub, home=tmp_path / "home")
    assert whole[0] == [f"{base}/data/a.jsonl", f"{base}/data/b.jsonl.gz"]
    assert matched[0] == [f"{base}/data/a.jsonl"]
    assert old[0] == [f"{base}@v1/old.parquet"]
    local = prepare(tmp_path / "corpus.jsonl").pairs
    assert matched[1] == local
    assert len(whole[1]) == 2 * len(ROWS)
    assert [pair["content_id"] for pair in old[1]] == [pair["content_id"] for pair in local]
    data = (tmp_path / "corpus.jsonl").read_bytes()
    assert matched[2] == [f"{len(data)}-{hashlib.sha1(data).hexdigest()}"]
    for answer in (no_file, no_revision):
        assert answer[0] == "ConfigError"
        assert "no such file or folder" in answer[1]
