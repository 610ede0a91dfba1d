"""A job is handed over to a cluster that runs elsewhere, and its end is told as if it had run here."""

import contextlib
import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from ray.job_submission import JobSubmissionClient

from encore_ray.cli.commands.jobs.submit import what_next
from encore_ray.config import JobConfig
from encore_ray.errors import ClusterError, ConfigError
from encore_ray.submit.submission import connect, follow, submission_prefix, submit
from tests.passes.api_server import Step, api_server, completion
from tests.passes.jobs import config as job_config
from tests.passes.ray_head import frail_link, ray_head
from tests.patience import PATIENCE_S

RULES = "- {name: kind, text: The response is kind., higher_is: better, scale: {levels: [0, 1, 2]}}\n"


@pytest.fixture(scope="module")
def head() -> Iterator[str]:
    with ray_head() as (_, dashboard):
        yield dashboard


@pytest.fixture(scope="module")
def client(head: str) -> JobSubmissionClient:
    """Of a cluster that takes jobs: the agent that starts them is up some seconds after the dashboard."""
    found = None
    end = time.monotonic() + PATIENCE_S
    while found is None:
        try:
            found = connect(head)
            found.submit_job(entrypoint="true")
        except (ClusterError, RuntimeError):
            assert time.monotonic() < end
            found = None
            time.sleep(0.2)
    return found


def rated_job(folder: Path) -> Path:
    """A job without a model: three pairs with ratings, in a YAML with relative paths."""
    rows = [
        {"prompt": f"Question {n}", "chosen": "Yes.", "rejected": "No.", "chosen__kind": 2, "rejected__kind": n % 3}
        for n in range(3)
    ]
    (folder / "rated.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "rules.yaml").write_text(RULES)
    path = folder / "job.yaml"
    path.write_text("inputs: rated.jsonl\nrules: rules.yaml\nrun: run\ntracking: {enabled: false}\n")
    return path


@contextlib.contextmanager
def endless_job(folder: Path) -> Iterator[Path]:
    """The same job by a judge who answers when the context ends."""
    ended = threading.Event()

    def answer(body: dict[str, Any]) -> Step:
        ended.wait()
        return completion("2")

    job = rated_job(folder)
    with api_server(answer) as judge:
        job.write_text(f"{job.read_text()}judge: {judge.url}\nrate: {{model: judge, text_only: true}}\n")
        try:
            yield job
        finally:
            ended.set()


def wait_for(condition: Callable[[], bool], *, timeout_s: float = PATIENCE_S) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def start(job: Path, address: str, **environ: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "encore_ray.cli", "submit", str(job), "--address", address]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, **environ}
    )


def read_until(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdout is not None
    told = []
    while not told or text not in told[-1]:
        told.append(process.stdout.readline())
        assert told[-1], "".join(told)


def test_a_submitted_job_runs_on_the_cluster_with_its_python_and_our_code(
    client: JobSubmissionClient, head: str, tmp_path: Path
) -> None:
    process = start(rated_job(tmp_path), head, RAY_ADDRESS="http://127.0.0.1:1")  # the flag wins
    output = process.communicate(timeout=PATIENCE_S)[0]
    assert process.returncode == 0, output
    assert f"Submitted {submission_prefix(f'{tmp_path}/run')}-1." in output
    assert f"Unless all nodes share them with it, use s3:// or a hub: {tmp_path}/run, {tmp_path}/rated.jsonl" in output
    (started,) = [line for line in output.splitlines() if line.startswith("encore-ray 0.")]
    assert "/runtime_resources/working_dir_files/_ray_pkg_" in started  # not what is installed there
    assert f" at {Path(sys.executable).parent}/" in started  # a virtual environment, though not in the head's PATH
    assert "3 rows in = 3 kept + 0 quarantined" in output
    # Ratings 2 against 0, 1 and 2: two wins and a tie.
    overall = json.loads((tmp_path / "run" / "metrics.json").read_text())["overall"]
    assert (overall["wins"], overall["ties"], overall["losses"]) == (2, 1, 0)


def test_a_job_that_somebody_stops_ends_with_its_exit_code_here(
    client: JobSubmissionClient, head: str, tmp_path: Path
) -> None:
    with endless_job(tmp_path) as job:
        process = start(job, head)
        name = f"{submission_prefix(f'{tmp_path}/run')}-1"
        read_until(process, "Running entrypoint")
        client.stop_job(name)
        output = process.communicate(timeout=PATIENCE_S)[0]
    assert process.returncode == 143, output
    assert f"The job {name} ended with exit code 143. The same command resumes it." in output


@pytest.mark.parametrize(("code", "resumes"), [(1, True), (2, False), (3, False), (4, True), (143, True)])
def test_a_job_that_was_refused_is_not_said_to_resume_as_it_is(code: int, resumes: bool) -> None:
    assert ("mended" in what_next(code)) != resumes


def test_a_run_folder_has_one_job_at_a_time(client: JobSubmissionClient, head: str, tmp_path: Path) -> None:
    config: JobConfig = job_config(tmp_path)
    prefix = submission_prefix(config.run)
    client.submit_job(entrypoint="sleep 600", submission_id=f"{prefix}-7")
    with pytest.raises(ConfigError, match=f"The job {prefix}-7 works on {tmp_path}/run already") as refused:
        submit(client, config)
    assert f"ray job logs {prefix}-7 --address {head} --follow" in str(refused.value)
    client.stop_job(f"{prefix}-7")
    wait_for(lambda: client.get_job_status(f"{prefix}-7").is_terminal())
    assert submit(client, config) == f"{prefix}-8"  # to resume it
    client.stop_job(f"{prefix}-8")


def test_ray_itself_refuses_the_second_of_two_that_come_at_once(client: JobSubmissionClient, tmp_path: Path) -> None:
    class Late(JobSubmissionClient):
        """Sees no jobs, as somebody who looked before the other one submitted."""

        def list_jobs(self) -> list:
            return []

    config: JobConfig = job_config(tmp_path)
    name = f"{submission_prefix(config.run)}-1"
    client.submit_job(entrypoint="sleep 600", submission_id=name)
    with pytest.raises(ConfigError, match=f"Somebody else has just submitted {name}"):
        submit(Late(client.get_address()), config)
    client.stop_job(name)


def test_the_log_is_whole_over_a_connection_that_breaks(client: JobSubmissionClient) -> None:
    loop = "n=0; while [ $n -lt 60 ]; do echo line $n of a log that is long enough; n=$((n+1)); sleep .01; done"
    name = client.submit_job(entrypoint=f"{loop}; exit 3")
    pieces: list[str] = []
    port = urlsplit(client.get_address()).port
    assert port is not None
    # 3 kB of log. The client's first two connections ask for the version; the third, of 2.4 kB, begins the log.
    with frail_link(port, step=800) as frail:
        assert follow(connect(f"http://127.0.0.1:{frail}"), name, pieces.append) == 3
    lines = [line for line in "".join(pieces).splitlines() if line.startswith("line ")]
    assert lines == [f"line {number} of a log that is long enough" for number in range(60)]


def test_ctrl_c_leaves_the_job_running_and_says_so(client: JobSubmissionClient, head: str, tmp_path: Path) -> None:
    with endless_job(tmp_path) as job:
        process = start(job, head)
        read_until(process, "Running entrypoint")
        process.send_signal(signal.SIGINT)
        rest = process.communicate(timeout=PATIENCE_S)[0]
        name = f"{submission_prefix(str(tmp_path / 'run'))}-1"
        assert process.returncode == 130, rest
        assert f"The job {name} goes on." in rest
        assert f"ray job stop {name} --address {head}" in rest
        assert "Traceback" not in rest
        assert not client.get_job_status(name).is_terminal()
        client.stop_job(name)


def test_a_job_whose_driver_never_began_is_the_clusters_fault(client: JobSubmissionClient) -> None:
    name = client.submit_job(entrypoint="true", runtime_env={"working_dir": "gcs://_ray_pkg_0123456789abcdef.zip"})
    with pytest.raises(
        ClusterError, match=f"The cluster ended the job {name}: .*Failed to download .* The same command"
    ):
        follow(client, name, str)


@pytest.mark.parametrize("address", ["127.0.0.1:8265", "ray://127.0.0.1:10001", "auto", "http://me:secret@host:8265"])
def test_an_address_that_is_no_dashboard_is_refused_without_repeating_it(address: str) -> None:
    with pytest.raises(ConfigError, match="expected the URL of a Ray dashboard") as refused:
        connect(address)
    assert "secret" not in str(refused.value)


def test_a_dashboard_that_is_not_there_is_a_cluster_error() -> None:
    with pytest.raises(ClusterError, match=r"No Ray dashboard answers at http://127\.0\.0\.1:1: "):
        connect("http://127.0.0.1:1")


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (
            401,
            r"dashboard at http://127\.0\.0\.1:\d+ answers, but lets nobody in without its token.*RAY_AUTH_MODE=token",
        ),
        (403, "answers, but lets nobody in without its token"),
        (502, "answers at .*, but as no Ray dashboard does"),
    ],
)
def test_a_dashboard_that_answers_and_refuses_is_not_one_that_is_silent(status: int, said: str) -> None:
    class Refuses(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *args: object) -> None:  # not into the tests' output
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Refuses) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            with pytest.raises(ClusterError, match=said):
                connect(f"http://127.0.0.1:{server.server_port}")
        finally:
            server.shutdown()


def test_runs_of_one_name_have_different_submission_ids() -> None:
    first, second = submission_prefix("s3://a/My Run"), submission_prefix("s3://b/My Run")
    assert first != second
    assert first.startswith("encore-ray-my-run-")
    assert submission_prefix("s3://a/My Run", limit=500) not in (first, second)
