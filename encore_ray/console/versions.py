"""What runs here: versions, told without loading any of it."""

import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("ray", "torch", "transformers", "tokenizers", "numpy", "pyarrow", "fsspec", "huggingface_hub", "mlflow")


@dataclass(frozen=True)
class Look:
    """What was looked at, and what was found; whether that would keep a job from running."""

    name: str
    value: str
    is_wrong: bool = False

    def __str__(self) -> str:
        return f"{self.name:<14}{self.value}"


def versions() -> Iterator[Look]:
    """Of encore-ray, of what it stands on and of the system."""
    yield Look("encore-ray", version("encore-ray"))
    yield Look("installed", os.path.dirname(os.path.dirname(__file__)))
    yield Look("Python", f"{platform.python_version()}, {sys.executable}")
    yield Look("system", f"{platform.platform()}, {platform.machine()}")
    yield Look("packages", ", ".join(f"{name} {_version(name)}" for name in PACKAGES))


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"
