"""What a bug report needs of a machine, a line each; libraries are looked at without being loaded."""

import locale
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

from encore_ray.check.place import memory, size
from encore_ray.config import ClusterOptions, TrackingOptions
from encore_ray.config.sources import section_defaults
from encore_ray.console.versions import Look, versions
from encore_ray.engine.local import this_machine
from encore_ray.engine.probes import cluster_address, require_ray, temporary_folder
from encore_ray.errors import EncoreError
from encore_ray.redaction import redact
from encore_ray.storage import standing_above
from encore_ray.tracking import find_store

LEAST_DISK_BYTES = 1e9  # that Ray and a small job need
RAY_START = "Ray start"
_PREFIXES = ("ENCORE_RAY_", "RAY_", "MLFLOW_", "HF_", "OMP_", "CUDA_", "SLURM_JOB_ID", "SSL_CERT_FILE")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
_PATIENCE_S = 10


def look_at_machine() -> Iterator[Look]:
    """What a bug report needs, credentials left out."""
    yield from versions()
    free, total = memory()
    resources = this_machine()
    yield Look("processors", tell_processors(resources.cpus, os.cpu_count() or 1, os.getloadavg()[0]))
    yield Look("memory", f"{size(free)} of {size(total)} unused{_limit()}")
    yield Look("GPUs", _gpus() if resources.gpus else "none")
    for name, place in (
        ("this folder", os.getcwd()),
        ("temporary", tempfile.gettempdir()),
        ("Ray's", temporary_folder()),
    ):
        usage = shutil.disk_usage(standing_above(place))
        yield Look(name, f"{place}, {size(usage.free)} of {size(usage.total)} free", usage.free < LEAST_DISK_BYTES)
    yield _cluster()
    yield _tracking()
    codes = f"{locale.setlocale(locale.LC_CTYPE)}, {sys.stdout.encoding}, files in {sys.getfilesystemencoding()}"
    yield Look("locale", codes)
    proxies = [f"{name}={redact(value)}" for name, value in _variables(_PROXIES)]
    yield Look("proxies", ", ".join(proxies) or "none")
    variables = [f"{name}={_shown(name, value)}" for name, value in _variables(_PREFIXES)]
    yield Look("variables", ", ".join(variables) or "none")


def tell_processors(usable: float, there: int, load: float) -> str:
    """How many CPUs a job may use, and how many are asked for by now.

    Args:
        load: average number of processes of the last minute that ran, or waited for a CPU or a disk.
    """
    busy = ": more processes than CPUs, so that a job takes longer" if load > usable else ""
    return f"{usable:g} of {there} CPUs; load average {load:.1f} in the last minute{busy}"


def try_ray() -> Look:
    """Start a Ray of one's own, do a task, end it; how long that took, or why it does not."""
    from encore_ray.engine.engines import Engines
    from encore_ray.storage import Folder

    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="encore-ray-doctor-") as folder:
        try:
            with Engines(ClusterOptions(engine="ray"), Folder(folder)) as engines:
                found = engines.ray().resources
        except EncoreError as error:
            return Look(RAY_START, str(error), is_wrong=True)
    return Look(RAY_START, f"{found}, started and ended in {time.monotonic() - began:.0f} s")


def _limit() -> str:
    """What a container may use, where that is less than the machine has."""
    try:
        with open("/sys/fs/cgroup/memory.max") as file:
            text = file.read().strip()
    except OSError:
        return ""
    return f", {size(int(text))} allowed by the container" if text.isdigit() else ""


def _gpus() -> str:
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        said = subprocess.run(  # noqa: S603
            query, capture_output=True, text=True, timeout=_PATIENCE_S, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"there, and nvidia-smi does not tell of them: {error}"
    return "; ".join(said.stdout.strip().splitlines())


def _cluster() -> Look:
    try:
        options = section_defaults(ClusterOptions)
        require_ray(options)
    except EncoreError as error:
        return Look("cluster", str(error), is_wrong=True)
    address = cluster_address(options)
    found = f"somebody answers at {redact(address)}" if address else "none named: a Ray of its own is started"
    return Look("cluster", found)


def _tracking() -> Look:
    try:
        options = section_defaults(TrackingOptions)
        uri = find_store(None, uri=options.uri, experiment=options.experiment) if options.enabled else None
    except EncoreError as error:
        return Look("MLflow", str(error), is_wrong=True)
    return Look("MLflow", redact(uri) if uri else "mlflow.db beside each run folder" if options.enabled else "off")


def _variables(names: tuple[str, ...]) -> list[tuple[str, str]]:
    found = {name.upper(): value for name, value in sorted(os.environ.items())}
    return [(name, value) for name, value in found.items() if name.startswith(names) and value]


def _shown(name: str, value: str) -> str:
    """A value, but for what opens something."""
    is_secret = any(word in name for word in ("TOKEN", "KEY", "PASSWORD", "SECRET", "USERNAME"))
    return "(set)" if is_secret else redact(value)
