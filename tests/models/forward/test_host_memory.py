"""Freed memory that stays with the process."""

import resource
import subprocess
import sys

import pytest

SCRIPT = """
import resource
import torch
from encore_ray.models.forward.host_memory import keep_freed_memory
keep_freed_memory()
def layer():
    for _ in range(3):
        states = [torch.ones(10 << 20) for _ in range(2)]  # 40 MiB each
layer()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    layer()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc")
def test_layers_use_the_memory_of_those_before_them():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, check=True)
    pages_of_all = 10 * 3 * 2 * (40 << 20) // resource.getpagesize()
    assert int(done.stdout) < pages_of_all / 3  # by default each of the 60 arrays asks for its pages anew
