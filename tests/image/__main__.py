"""`make image`: build the Dockerfile's image without a container engine, and run in it what a user and clouds run.

The image that FROM names is put together from Debian's packages (`base.Dockerfile`), buildah runs the steps of the
Dockerfile as they stand, and machines made of namespaces run the result: the demo, cluster.yaml as Ray's launcher does
against moto's AWS, jobs/rayjob.yaml as KubeRay's pods do. Needs root, Debian's buildah, mmdebstrap and iproute2, 8 GB
of disk below TMPDIR, and half an hour on two cores. Whatever was mounted is gone before anything is deleted.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile

from encore_ray.engine.process.interrupts import signals_interrupt
from tests.image.launchers import ROOT
from tests.interrupts import heed_interrupts

TOOLS = {"buildah": "buildah", "mmdebstrap": "mmdebstrap", "ip": "iproute2", "nsenter": "util-linux"}
OWN_MOUNTS = ["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]


def main() -> None:
    argparse.ArgumentParser(prog="python -m tests.image", description=(__doc__ or "").partition("\n\n")[0]).parse_args()
    if os.geteuid():
        raise SystemExit("make image needs root: it makes namespaces and mounts.")
    missing = [package for tool, package in TOOLS.items() if not shutil.which(tool)]
    if missing:
        raise SystemExit(f"make image lacks tools: apt-get install --no-install-recommends {' '.join(missing)}")
    heed_interrupts()
    with signals_interrupt(), tempfile.TemporaryDirectory(prefix="image") as folder:
        for stage, spaces in (("build", OWN_MOUNTS), ("check", [*OWN_MOUNTS, "--net"])):
            command = ["unshare", *spaces, sys.executable, "-m", f"tests.image.{stage}", folder]
            code = subprocess.run(command, cwd=ROOT, check=False).returncode
            if code:
                sys.exit(code)


if __name__ == "__main__":
    main()
