"""What workers log of a training, as the driver reads and tells it."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from encore_ray.models.spec.training import Objective, merit_name


class LogReader:
    """New lines of a log that grows, those of steps that were told before left out."""

    def __init__(self, file: Path, told: int):
        self._file = file
        self._told = {"step": told, "evaluation": told}
        self._offset = file.stat().st_size if file.exists() else 0

    def read(self) -> Iterator[dict[str, Any]]:
        if not self._file.exists():
            return
        with self._file.open("rb") as lines:
            lines.seek(self._offset)
            whole, _, _ = lines.read().rpartition(b"\n")
        self._offset += len(whole)
        for text in whole.split(b"\n"):
            line = None
            with contextlib.suppress(ValueError):  # torn by the end of its writer
                line = json.loads(text) if text else None
            if line and line["step"] > self._told[line["kind"]]:
                self._told[line["kind"]] = line["step"]
                yield line


def sentence(figures: Mapping[str, Any], *, objective: Objective, num_steps: int) -> str:
    """An evaluation in words."""
    name = merit_name(objective)
    merit = figures[name]
    said = "" if merit is None else f", {name} {merit:.3f}"
    return f"train, step {figures['step']:,} of {num_steps:,}: held-out loss {figures['loss']:.4f}{said}"


def flat_figures(figures: Mapping[str, Any]) -> dict[str, float]:
    """The figures of an evaluation by name; those that cannot be known are left out."""
    flat: dict[str, float] = {}
    for name, value in figures.items():
        if name == "rules":
            flat |= {f"heldout/{key}/{rule}": each for rule, own in value.items() for key, each in own.items()}
        elif name not in ("kind", "step", "num"):
            flat[f"heldout/{name}"] = value
    return {name: value for name, value in flat.items() if value is not None and not name.startswith("heldout/num/")}
