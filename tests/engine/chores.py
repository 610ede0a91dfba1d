"""Work for workers of Ray: what does it, fails, dies and hangs. Their processes import this module, which is light."""

import os
import time
from pathlib import Path

from encore_ray.errors import DataError

HANG_S = 10.0  # long after it was given up; then the tests that follow have its CPU again


class Double:
    def __call__(self, unit: int) -> int:
        return 2 * unit


class Stumble:
    def __init__(self, how: str):
        self._how = how

    def __call__(self, unit: int) -> int:
        if self._how == "mistake":
            raise DataError(f"unit {unit} is bad")
        if self._how == "defect":
            raise KeyError("our own")
        if self._how == "crash":
            os._exit(1)
        time.sleep(HANG_S)
        return unit


class DieOnce:
    def __init__(self, folder: Path):
        self._folder = folder

    def __call__(self, unit: int) -> int:
        trace = self._folder / str(unit)
        if not trace.exists():
            trace.touch()
            os._exit(1)
        return unit


class Unbuildable:
    def __init__(self) -> None:
        raise DataError("no model here")
