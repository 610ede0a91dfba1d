"""What a submitted job takes along to its cluster: the resolved configuration, the rules, and this very package.

The package goes with every job (some hundred kilobytes; Ray keeps one copy of the same content), so that driver and
workers run what the person who submits has, whatever is installed there. The cluster brings the libraries.
"""

import shutil
from importlib.metadata import requires, version
from pathlib import Path
from urllib.parse import urlsplit

import encore_ray
from encore_ray.config import JobConfig
from encore_ray.config.sources import read_rules
from encore_ray.errors import ConfigError
from encore_ray.redaction import redact
from encore_ray.schema import RULES_FILE

JOB_FILE = "job.yaml"
LAUNCH_FILE = "launch.sh"

# A shell finds by PATH a `python` that may not be the one with Ray. The raylet, an ancestor of every job's driver, was
# told which one its workers run on.
LAUNCH_SCRIPT = r"""pid=$$
while [ "${pid:-1}" -gt 1 ]; do
    python=$(tr '\0' '\n' 2>/dev/null <"/proc/$pid/cmdline" | sed -n 's/^--python_worker_command=\([^ ]*\).*/\1/p')
    [ -n "$python" ] && break
    pid=$(sed -n 's/^PPid:[^0-9]*//p' "/proc/$pid/status" 2>/dev/null)
done
exec "${python:-python3}" -m encore_ray.submit.launcher "$@"
"""

_LOCAL_STORES = ("sqlite:", "file:", "/")
_LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")


def fill_upload(folder: Path, config: JobConfig) -> None:
    """Write everything that a job takes along into an empty folder.

    Args:
        folder: becomes the working directory of the driver, and a place of modules for all workers.
        config: the resolved job. The cluster that it is submitted to replaces the one it names.

    Raises:
        ConfigError: credentials are in the tracking URI, or the rules cannot be read. DataError: the rules are wrong.
    """
    if redact(config.tracking.uri or "") != (config.tracking.uri or ""):
        raise ConfigError(
            "tracking.uri holds a password or a token, which all who use the cluster could read. Leave it out, and set "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD on the cluster's nodes."
        )
    on_cluster = config.model_copy(update={"cluster": config.cluster.model_copy(update={"address": None})})
    if config.rules is not None:
        (folder / RULES_FILE).write_text(read_rules(config.rules).to_yaml(), encoding="utf-8")
        on_cluster = on_cluster.model_copy(update={"rules": RULES_FILE})
    (folder / JOB_FILE).write_text(on_cluster.to_yaml(), encoding="utf-8")
    (folder / LAUNCH_FILE).write_text(LAUNCH_SCRIPT, encoding="utf-8")
    package = Path(encore_ray.__file__).parent
    shutil.copytree(package, folder / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    _write_metadata(folder)


def machine_bound(config: JobConfig) -> list[str]:
    """Paths and stores of a job that mean something else on another machine, or nothing."""
    places = [config.run, *(item.path for item in config.inputs), config.model, config.judge]
    found = [place for place in places if place and place.startswith("/")]
    store = config.tracking.uri if config.tracking.enabled else None
    if store and (store.startswith(_LOCAL_STORES) or urlsplit(store).hostname in _LOCAL_HOSTS):
        found.append("tracking.uri")
    return found


def _write_metadata(folder: Path) -> None:
    """Name, version and requirements where importlib.metadata finds them: a copied package has none by itself."""
    info = folder / f"encore_ray-{version('encore-ray')}.dist-info"
    info.mkdir()
    lines = ["Metadata-Version: 2.1", "Name: encore-ray", f"Version: {version('encore-ray')}"]
    lines += [f"Requires-Dist: {requirement}" for requirement in requires("encore-ray") or []]
    (info / "METADATA").write_text("\n".join(lines) + "\n", encoding="utf-8")
