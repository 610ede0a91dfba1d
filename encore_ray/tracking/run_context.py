"""What tells one MLflow run from another: the configuration as params, the commit as a tag."""

import subprocess
from collections.abc import Mapping
from typing import Any

from encore_ray.composition.weigh.schemes import find_scheme
from encore_ray.config import InputOptions, JobConfig
from encore_ray.config.job import options_that_ran


def flat_params(config: JobConfig) -> dict[str, Any]:
    """The options that decide a job as MLflow params: section.option = value."""
    params: dict[str, Any] = {"inputs": [_input(each) for each in config.inputs]}
    for name, value in options_that_ran(config.model_dump(mode="json")).items():
        if name in ("inputs", "tracking", "cluster"):  # where and by whom: no option that decides a result
            continue
        if isinstance(value, dict):
            params |= {f"{name}.{option}": inner for option, inner in value.items()}
        else:
            params[name] = value
    return params


def _input(each: InputOptions) -> Any:
    """A path alone where nothing else is said of it."""
    said = each.model_dump(mode="json", exclude_defaults=True)
    return each.path if len(said) == 1 else said


def name_run(place: str, params: Mapping[str, Any]) -> str:
    """What tells a run from others: the end of its folder's path, and how it weighs as far as params tell it.

    As `runs/first, encore τ=2`.
    """
    folder = "/".join(place.rstrip("/").split("/")[-2:])
    weighing = {name.removeprefix("weigh."): value for name, value in params.items()}
    scheme = weighing.get("scheme")
    if scheme is None:
        return folder
    takes_temperature = "temperature" in find_scheme(scheme).takes and "temperature" in weighing
    return f"{folder}, {scheme}" + (f" τ={weighing['temperature']:g}" if takes_temperature else "")


def git_commit() -> dict[str, str]:
    """Tag with the commit of the working folder's repository; none where there is no repository."""
    try:
        found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=False)  # noqa: S607
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return {"mlflow.source.git.commit": found.stdout.strip()} if found.returncode == 0 else {}
