"""Finding a model's files, and knowing them again."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from encore_ray.errors import ModelError
from encore_ray.models.loading.fetch import fetch_model
from encore_ray.models.loading.identity import identify_model
from encore_ray.models.loading.saving import save_ensemble
from encore_ray.models.spec.source import ModelSource
from tests.models import tiny

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.save_own_form(tmp_path_factory.mktemp("own"), "llama", pooling="last")


def test_a_local_folder_is_used_as_it_is(folder):
    assert fetch_model(ModelSource(folder)) == folder.resolve()


@pytest.mark.parametrize("path", ["/no/such/model", "./no-such-model", "~/no-such-model", "no/such/model"])
def test_a_path_that_is_not_there_is_not_taken_for_a_hub_id(path):
    with pytest.raises(ModelError, match="is not a folder on this machine"):
        fetch_model(ModelSource(path))


def test_the_identity_survives_a_move_and_not_a_changed_byte(folder, tmp_path):
    before = identify_model(ModelSource(folder))
    copy = shutil.copytree(folder, tmp_path / "copy")
    assert identify_model(ModelSource(copy)).digest == before.digest
    assert (before.source, before.revision) == (str(folder), None)
    for name in (
        "model.safetensors",
        "heads.safetensors",
        "tokenizer.json",
        "config.json",
    ):
        data = (copy / name).read_bytes()
        (copy / name).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        assert identify_model(ModelSource(copy)).digest != before.digest, name
        (copy / name).write_bytes(data)
    assert identify_model(ModelSource(copy)).digest == before.digest
    form = (copy / "encore.json").read_text()
    (copy / "encore.json").write_text(form.replace("last", "mean"))
    assert identify_model(ModelSource(copy)).digest != before.digest


def test_correcting_the_rules_leaves_the_model_the_same(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "rules.yaml").write_text((copy / "rules.yaml").read_text().replace("better", "worse"))
    assert identify_model(ModelSource(copy)).digest == identify_model(ModelSource(folder)).digest


class Hub(ThreadingHTTPServer):
    """Speaks as much of the hub's protocol as a snapshot download needs; counts the bodies it sends."""

    def __init__(self, folder):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {path.name: path.read_bytes() for path in folder.iterdir()}
        self.sent: Counter[str] = Counter()


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self):
        self.answer(body=True)

    def do_HEAD(self):
        self.answer(body=False)

    def answer(self, *, body):
        parts = self.path.strip("/").split("?")[0].split("/")
        if parts[:2] == ["api", "models"] and parts[2:4] == ["owner", "model"]:
            files = self.server.files
            if parts[4] == "tree":
                answer = [{"type": "file", "path": name, "size": len(files[name]), "oid": "0"} for name in files]
            else:
                answer = {"id": "owner/model", "sha": COMMIT, "siblings": [{"rfilename": name} for name in files]}
            self.send(200, json.dumps(answer).encode(), body=body)
        elif parts[:2] == ["owner", "model"] and parts[-1] in self.server.files:
            self.server.sent[parts[-1]] += body
            self.send(200, self.server.files[parts[-1]], body=body)
        else:
            self.send(404, b"", body=body, headers={"X-Error-Code": "RepoNotFound"})

    def send(self, status, data, *, body, headers=None):
        self.send_response(status)
        etag = hashlib.sha256(data).hexdigest()
        for key, value in {"X-Repo-Commit": COMMIT, "ETag": f'"{etag}"', **(headers or {})}.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def hub(folder):
    server = Hub(folder)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def start(code, hub, cache):
    """Run code in a process of its own: huggingface_hub reads its settings when it is imported."""
    environment = {**os.environ, "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}", "HF_HOME": str(cache)}
    environment |= {"HF_HUB_DISABLE_XET": "1", "NO_PROXY": "127.0.0.1"}
    return subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)


def test_a_hub_id_is_downloaded_once_by_processes_that_start_together(hub, folder, tmp_path):
    code = "from encore_ray.models.loading.identity import *; "
    code += "i = identify_model(ModelSource('owner/model')); print(i.revision, i.digest)"
    processes = [start(code, hub, tmp_path) for _ in range(2)]
    digest = identify_model(ModelSource(folder)).digest
    assert [process.communicate()[0].split() for process in processes] == [[COMMIT, digest]] * 2
    assert hub.sent["model.safetensors"] == 1


def test_a_model_that_the_hub_does_not_have_is_an_error_that_says_so(hub, tmp_path):
    code = (
        "from encore_ray.models.loading.fetch import *\n"
        "try: fetch_model(ModelSource('owner/other'))\n"
        "except ModelError as error: print(error)"
    )
    text = start(code, hub, tmp_path).communicate()[0]
    assert text.startswith("Cannot fetch the model owner/other: ")
    assert "Check the id, the network and HF_TOKEN" in text


def test_a_member_on_the_hub_is_fetched_at_its_own_revision(hub, folder, tmp_path):
    save_ensemble(tmp_path / "both", members=[folder, "owner/model@v2"], rules=tiny.RULES)
    both = str(tmp_path / "both")
    code = f"from encore_ray.models.loading.fetch import *; print(*fetch_members(ModelSource({both!r})))"
    local, fetched = start(code, hub, tmp_path / "cache").communicate()[0].split()
    assert (local, fetched.rsplit("/", 1)[1]) == (str(folder), COMMIT)
    (reference,) = (tmp_path / "cache").rglob("refs/v2")
    assert reference.read_text() == COMMIT
