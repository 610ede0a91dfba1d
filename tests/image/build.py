"""`python -m tests.image.build FOLDER`: the Dockerfile's steps, run by buildah on Debian's packages, without an engine.

Runs as root, in namespaces of its own (`tests.image` makes them), so that no mount outlives it. pip and apt are set up
as on this machine; nothing of that gets into the image but the base's apt sources.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.image.launchers import ROOT
from tests.image.steps import run, step

IMAGE = "localhost/encore-ray"
HERE = Path(__file__).parent
BASE_PACKAGES = ("ca-certificates", "python3", "python3-pip", "python3-venv")
OWN_FOLDER = Path("/opt/encore-ray")  # where the Dockerfile puts the package


def buildah(folder: Path, *words: str) -> list[str]:
    """A command of buildah on a storage of our own."""
    return ["buildah", "--root", f"{folder}/storage", "--runroot", f"{folder}/run", *words]


def base_image() -> tuple[str, str, str]:
    """What the Dockerfile builds on: the name of the image, its Python and its Debian."""
    found = re.findall(r"^FROM (python:(3\.\d+)-slim-([a-z]+))$", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    assert len(found) == 1, "the Dockerfile builds on no python:3.x-slim-CODENAME"
    return found[0]


def make_base(folder: Path) -> str:
    """The image that FROM names, from Debian's packages; says what it is."""
    name, python, suite = base_image()
    context = folder / "base"
    context.mkdir()
    (context / "apt.conf").write_text(run(["apt-config", "dump", "Acquire"]))
    formats = ["apt-get", "indextargets", "--format", "deb $(SITE) $(RELEASE) $(COMPONENT)", "Created-By: Packages"]
    sources = [line for line in run(formats).splitlines() if line.split()[2].partition("-")[0] == suite]
    assert sources, f"apt has no sources of Debian {suite} here"
    packages = f"--include={','.join(BASE_PACKAGES)}"
    options = ["--mode=root", "--variant=minbase", f"--aptopt={context}/apt.conf", packages]
    run(["mmdebstrap", *options, suite, f"{context}/base.tar", "-"], stdin="\n".join(sources) + "\n")
    dockerfile = HERE / "base.Dockerfile"
    options = ["--isolation", "chroot", "--file", str(dockerfile), "--tag", f"docker.io/library/{name}"]
    said = run(buildah(folder, "bud", *options, str(context)))
    (context / "base.tar").unlink()
    versions = dict(re.findall(r"^(Python|pip) ([\d.]+)", said, flags=re.MULTILINE))
    found = versions["Python"]
    assert found.startswith(f"{python}."), f"Debian {suite} has Python {found}, the Dockerfile wants {python}"
    return f"{name} from Debian's packages: Python {found}, pip {versions['pip']}"


def pip_settings() -> tuple[str, list[Path]]:
    """This machine's configuration of pip as one pip.conf, and the local paths in it that pip must find."""
    settings: dict[str, str] = {}
    listed = [line.partition("=") for line in run([sys.executable, "-m", "pip", "config", "list"]).splitlines()]
    for key, _, value in sorted(listed, key=lambda each: each[0].startswith(":env:")):  # the environment decides
        settings[key.rpartition(".")[2]] = value.strip("'\"").replace("\\n", " ")
    paths = {path for value in settings.values() for path in _local_paths(value)}
    lines = [f"{name} = {value}" for name, value in settings.items()]
    return "\n".join(["[global]", *lines, ""]), sorted(paths)


def _local_paths(value: str) -> Iterator[Path]:
    for word in value.split():
        # An index in a folder links to files beside it.
        path = Path(word.removeprefix("file://")).parent if word.startswith("file://") else Path(word)
        if path.is_absolute() and path.exists() and not OWN_FOLDER.is_relative_to(path):
            yield path


def make_image(folder: Path) -> str:
    """The image of the Dockerfile; says its size."""
    settings, paths = pip_settings()
    (folder / "pip.conf").write_text(settings)
    mounts = {"/etc/pip.conf": folder / "pip.conf", **{str(path): path for path in paths}}
    volumes = [word for there, here in mounts.items() for word in ("--volume", f"{here}:{there}:ro")]
    run(buildah(folder, "bud", "--isolation", "chroot", "--pull-never", *volumes, "--tag", IMAGE, str(ROOT)))
    (found,) = json.loads(run(buildah(folder, "images", "--json", IMAGE)))
    return f"{IMAGE}: {found['size']}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.image.build")
    parser.add_argument("folder", type=Path, help="an empty folder, for some 6 GB")
    folder = parser.parse_args().folder.resolve()
    with step("base") as note:
        note(make_base(folder))
    with step("Dockerfile") as note:
        note(make_image(folder))


if __name__ == "__main__":
    main()
