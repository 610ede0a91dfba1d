"""`python -m encore_ray.submit.launcher run job.yaml`: becomes `encore-ray run job.yaml` where the libraries are there.

A submitted job begins here, on the cluster. It imports no library, so that it can name those that are missing.
"""

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement  # Ray needs it too

from encore_ray.errors import ClusterError


def missing_libraries() -> list[str]:
    """Requirements of encore-ray that this interpreter does not meet, with what it has instead."""
    missing = []
    for text in requires("encore-ray") or []:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        wanted = f"{requirement.name}{requirement.specifier}"
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            missing.append(wanted)
            continue
        if not requirement.specifier.contains(found, prereleases=True):
            missing.append(f"{wanted} (found {found})")
    return missing


def main() -> None:
    """Say what runs where, then become the command line, or end with 4 and the reason."""
    place = Path(__file__).parent.parent
    print(f"encore-ray {version('encore-ray')} in {place}, Python {platform.python_version()} at {sys.executable}")
    sys.stdout.flush()
    missing = missing_libraries()
    if missing:
        print(
            f"encore-ray: the cluster's Python lacks {', '.join(missing)}. Install encore-ray's libraries on all nodes "
            "(docs/launching.md has an image and a cluster file), then submit again.",
            file=sys.stderr,
        )
        sys.exit(ClusterError.exit_code)
    os.execv(sys.executable, [sys.executable, "-m", "encore_ray.cli", *sys.argv[1:]])  # noqa: S606  our own command line


if __name__ == "__main__":
    main()
