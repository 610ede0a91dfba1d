"""Jobs on a cluster that runs elsewhere: handing one over, following its log, learning how it ended.

A run folder has at most one job at a time on a cluster. Its submission id is made from the folder and an attempt
number, and Ray refuses an id that it knows.
"""

import asyncio
import contextlib
import hashlib
import logging
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
from ray.exceptions import AuthenticationError
from ray.job_submission import JobDetails, JobStatus, JobSubmissionClient
from requests import HTTPError

from encore_ray.config import JobConfig
from encore_ray.errors import ClusterError, ConfigError, Terminated
from encore_ray.files.proxies import in_the_way
from encore_ray.submit.upload import JOB_FILE, LAUNCH_FILE, fill_upload

# Variables that Ray's client obeys before the address that it is given.
_ADDRESS_VARIABLES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
_CHATTY = (
    "ray.dashboard.modules.dashboard_sdk",
    "ray.dashboard.modules.job.sdk",
    "ray._private.runtime_env.packaging",
)
_UNREACHABLE = (ConnectionError, OSError, RuntimeError, ValueError, AuthenticationError)
AGENT_TIMEOUT_S = 90.0  # a cluster that has just come up takes no jobs for some seconds
LINK_TIMEOUT_S = 120.0
SILENCE_S = 60.0  # a connection that sleep or a change of network has cut stays silent
RETRY_S = 1.0


def connect(address: str) -> JobSubmissionClient:
    """A client of the cluster whose dashboard is at a URL, as in http://127.0.0.1:8265.

    Raises:
        ConfigError: the address is no such URL. ClusterError: nobody answers there.
    """
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise ConfigError("--address: expected the URL of a Ray dashboard, as in http://127.0.0.1:8265.")
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        with _without_variables(_ADDRESS_VARIABLES):
            return JobSubmissionClient(address.rstrip("/"))
    except _UNREACHABLE as error:
        raise ClusterError(_why_not(error, address)) from None


def _why_not(error: Exception, address: str) -> str:
    """Why there is no client: nobody answers, or who answers does not let this command in."""
    status = error.response.status_code if isinstance(error, HTTPError) and error.response is not None else None
    if isinstance(error, AuthenticationError) or status in (401, 403):
        return (
            f"The Ray dashboard at {address} answers, but lets nobody in without its token: {_said(error)}. Set "
            "RAY_AUTH_MODE=token, and the token by RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH."
        )
    if status is not None:
        return f"Something answers at {address}, but as no Ray dashboard does: {_said(error)}. Correct --address."
    return f"No Ray dashboard answers at {address}: {_said(error)}.{in_the_way(address)}"


def submission_prefix(run: str, *, limit: int | None = None) -> str:
    """What the submission ids of a run folder have in common; a trial's folder is another."""
    identity = run if limit is None else f"{run} --limit {limit}"
    name = re.sub(r"[^a-z0-9]+", "-", run.rstrip("/").rsplit("/", 1)[-1].lower()).strip("-")[:24]
    return f"encore-ray-{name or 'run'}-{hashlib.sha256(identity.encode()).hexdigest()[:10]}"


def submit(client: JobSubmissionClient, config: JobConfig, *, limit: int | None = None, overwrite: bool = False) -> str:
    """Hand a job over to the cluster.

    Args:
        client: of the cluster.
        config: the resolved job.
        limit, overwrite: as `encore-ray run` takes them.

    Returns:
        The submission id.

    Raises:
        ConfigError: a job on the same run folder has not ended yet. ClusterError: the cluster takes no job.
    """
    prefix = submission_prefix(config.run, limit=limit)
    earlier = {job.submission_id: job for job in client.list_jobs() if _is_attempt(job.submission_id, prefix)}
    for name, job in earlier.items():
        if not job.status.is_terminal():
            raise ConfigError(
                f"The job {name} works on {config.run} already ({job.status.lower()}). Follow it by `ray job logs "
                f"{name} --address {client.get_address()} --follow`, end it by `ray job stop`, or use another run "
                "folder."
            )
    attempt = 1 + max((int(name.rsplit("-", 1)[1]) for name in earlier if name), default=0)
    words = ["sh", LAUNCH_FILE, "run", JOB_FILE]
    words += [] if limit is None else ["--limit", str(limit)]
    words += ["--overwrite"] if overwrite else []
    with tempfile.TemporaryDirectory(prefix="encore-ray-") as folder:
        fill_upload(Path(folder), config)
        return _hand_over(client, words, f"{prefix}-{attempt}", working_dir=folder, run=config.run)


def follow(client: JobSubmissionClient, submission_id: str, write: Callable[[str], object]) -> int:
    """Pass on a job's log until the job ends; a lost connection is taken up again where it broke.

    Args:
        write: takes the log's text, piece by piece.

    Returns:
        The exit code of the job; 143 when it was stopped, 128 + N when signal N killed its driver.

    Raises:
        ClusterError: the driver ended without an exit code (its node or its environment failed), or the cluster
            does not answer any more.
    """
    job = asyncio.run(_follow(client, submission_id, write))
    if job.status == JobStatus.SUCCEEDED:
        return 0
    if job.status == JobStatus.STOPPED:
        return Terminated.exit_code
    if job.driver_exit_code is None:
        raise ClusterError(
            f"The cluster ended the job {submission_id}: {_last_line(job.message or '') or 'it gave no reason.'} "
            "The same command goes on from what is committed."
        )
    return job.driver_exit_code if job.driver_exit_code >= 0 else 128 - job.driver_exit_code


async def _follow(client: JobSubmissionClient, submission_id: str, write: Callable[[str], object]) -> JobDetails:
    written = 0
    heard = time.monotonic()
    while True:
        seen, broken = 0, False
        try:
            stream = client.tail_job_logs(submission_id)  # from the log's first character
            while (text := await asyncio.wait_for(anext(stream, None), SILENCE_S)) is not None:
                fresh = text[max(0, written - seen) :]
                seen += len(text)
                written = max(written, seen)
                heard = time.monotonic()
                if fresh:
                    write(fresh)
        except (aiohttp.ClientError, OSError, RuntimeError):
            broken = True
        try:
            job = client.get_job_info(submission_id)
            if job.status.is_terminal() and (not broken or time.monotonic() - heard > AGENT_TIMEOUT_S):
                return job
            heard = heard if broken else time.monotonic()
        except _UNREACHABLE as error:
            if time.monotonic() - heard > LINK_TIMEOUT_S:
                raise ClusterError(
                    f"{client.get_address()} does not answer any more: {_said(error)} The job {submission_id} "
                    "goes on if its cluster does."
                ) from None
        await asyncio.sleep(RETRY_S)


def _hand_over(
    client: JobSubmissionClient, words: Sequence[str], submission_id: str, *, working_dir: str, run: str
) -> str:
    end = time.monotonic() + AGENT_TIMEOUT_S
    while True:
        try:
            return client.submit_job(
                entrypoint=" ".join(words),
                submission_id=submission_id,
                runtime_env={"working_dir": working_dir},
                metadata={"run": run, "encore_ray": version("encore-ray")},
            )
        except _UNREACHABLE as error:
            said = str(error)
            if "already exists" in said:
                raise ConfigError(
                    f"Somebody else has just submitted {submission_id}, a job on {run}. Follow it by `ray job logs "
                    f"{submission_id} --address {client.get_address()} --follow`."
                ) from None
            if "No available agent" not in said or time.monotonic() > end:
                raise ClusterError(f"{client.get_address()} takes no job: {_said(error)}") from None
        time.sleep(RETRY_S)


def _is_attempt(submission_id: str | None, prefix: str) -> bool:
    return re.fullmatch(re.escape(prefix) + r"-\d+", submission_id or "") is not None


def _said(error: Exception) -> str:
    return _last_line(str(error)) or type(error).__name__


def _last_line(text: str) -> str:
    """What Ray says at the end of a traceback that its server sends along."""
    lines = [line.strip() for line in text.splitlines() if line.strip(" .")]
    return lines[-1][:1000] if lines else ""


@contextlib.contextmanager
def _without_variables(names: Sequence[str]) -> Iterator[None]:
    kept = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)
