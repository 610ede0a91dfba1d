"""One small job and its undisturbed run, shared by all tests that disturb it."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.runs import Reference, Setup, fresh_ray_folder, make_reference, make_setup


@pytest.fixture(scope="package")
def setup() -> Iterator[Setup]:
    folder = Path(tempfile.mkdtemp(prefix="faults"))
    with fresh_ray_folder():
        yield make_setup(folder / "ratings", with_model=False)
    shutil.rmtree(folder)


@pytest.fixture(scope="package")
def reference(setup: Setup) -> Reference:
    return make_reference(setup)
