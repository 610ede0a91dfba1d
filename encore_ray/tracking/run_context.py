"""What tells one MLflow run from another: the configuration as params, the commit as a tag."""

import subprocess
from typing import Any

from encore_ray.config import JobConfig
from encore_ray.config.job import options_that_ran


def flat_params(config: JobConfig) -> dict[str, Any]:
    """The options that decide a job as MLflow params: section.option = value."""
    params: dict[str, Any] = {}
    for name, value in options_that_ran(config.model_dump(mode="json")).items():
        if isinstance(value, dict):
            params |= {f"{name}.{option}": inner for option, inner in value.items()}
        else:
            params[name] = value
    return params


def git_commit() -> dict[str, str]:
    """Tag with the commit of the working folder's repository; none where there is no repository."""
    try:
        found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=False)  # noqa: S607
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return {"mlflow.source.git.commit": found.stdout.strip()} if found.returncode == 0 else {}
