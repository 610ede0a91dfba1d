"""Shared fixtures: one Ray session for everything that needs a cluster, and the optional real corpora."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples every time, and no time limit an example: the machine may be busy.
settings.register_profile("deterministic", derandomize=True, deadline=None)
settings.load_profile("deterministic")


@pytest.fixture(scope="session")
def corpora() -> Path:
    """The folder of real corpora named by ENCORE_RAY_CORPORA; the test is skipped where it is not set."""
    folder = os.environ.get("ENCORE_RAY_CORPORA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("ENCORE_RAY_CORPORA does not name a folder of corpora")
    return Path(folder)
