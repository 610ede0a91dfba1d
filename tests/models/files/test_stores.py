"""What is known of the tensors of a model's files before any is read."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from encore_ray.models.files.stores import list_tensors

TYPES = {
    "float64": False,
    "float32": False,
    "float16": False,
    "bfloat16": False,
    "float8_e4m3fn": False,
    "float8_e5m2": False,
    "bool": True,
    "uint8": True,
    "int8": True,
    "int16": True,
    "int32": True,
    "int64": True,
}


@pytest.mark.parametrize("pickled", [False, True])
def test_only_whole_numbers_are_taken_for_such(tmp_path: Path, pickled: bool) -> None:
    tensors = {name: torch.zeros(2, 3).to(getattr(torch, name)) for name in TYPES}
    if not pickled:
        save_file(tensors, tmp_path / "model.safetensors")
    else:
        torch.save(tensors, tmp_path / "pytorch_model.bin")
    found = list_tensors(tmp_path, read_pickle=lambda file: torch.load(file, weights_only=True), allow_pickle=True)
    assert {name: stored.is_whole for name, stored in found.items()} == TYPES
    assert {stored.shape for stored in found.values()} == {(2, 3)}
