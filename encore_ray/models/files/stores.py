"""Weight files of a model: which tensors lie in which of them, and of what shape, without reading one."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open
from torch import Tensor

from encore_ray.errors import ModelError
from encore_ray.models.files.foreign import foreign

# As transformers looks for them: the first that is there.
_STORES = (("model.safetensors", "model.safetensors.index.json"), ("pytorch_model.bin", "pytorch_model.bin.index.json"))
# Beside the weights: LLaMA-Factory and TRL keep the value head apart.
HEADS = ("value_head.safetensors", "value_head.bin")

_WHOLE = ("BOOL", "I", "U")  # of safetensors' types: BF16 is none

ReadPickle = Callable[[Path], Mapping[str, Tensor]]


@dataclass(frozen=True)
class Stored:
    """Where a tensor lies.

    Attributes:
        file: of the model.
        shape: None where only a pickle that may not be read could tell.
        is_whole: whether its numbers are whole ones.
    """

    file: Path
    shape: tuple[int, ...] | None
    is_whole: bool = False


def list_tensors(folder: Path, *, read_pickle: ReadPickle, allow_pickle: bool) -> dict[str, Stored]:
    """All tensors of a model's weight files by name; none where there is no such file.

    Args:
        folder: of the model.
        read_pickle: the tensors of a pickle.
        allow_pickle: else a pickle's tensors are known only where an index names them.

    Raises:
        ModelError: a file is damaged, or one that the index names is not there, or lacks a tensor; weights are empty.
    """
    found: dict[str, Stored] = {}
    for single, index in _STORES:
        file = folder / single
        if file.exists() and (_is_safe(file) or allow_pickle):
            _refuse_second(file, folder / index)
            found = _tensors_of(file, read_pickle)
            break
        if (folder / index).exists():
            found = _indexed(folder / index, read_pickle, allow_pickle=allow_pickle)
            break
    for name in HEADS if found else ():
        file = folder / name
        if file.exists() and (_is_safe(file) or allow_pickle):
            found = {**_tensors_of(file, read_pickle), **found}
            break
    refuse_empty(folder, {name: stored.shape for name, stored in found.items()})
    return found


def _refuse_second(single: Path, index: Path) -> None:
    """Refuse a single file beside the shards of an index: two savings of a model, of which libraries take the first."""
    if not index.exists():
        return
    shards = {file.name for file in _shards(index).values()} - {single.name}
    there = sorted(name for name in shards if (index.parent / name).exists())
    if there:
        raise ModelError(
            f"{single.parent}: {single.name} lies beside {len(there)} shards of {index.name} ({', '.join(there[:3])}): "
            "two savings of a model, which may differ. Delete the older one."
        )


def refuse_empty(folder: Path, shapes: Mapping[str, tuple[int, ...] | None]) -> None:
    """Refuse weights of which nothing but the name was saved, by their names."""
    empty = sorted(
        name for name, shape in shapes.items() if shape and not math.prod(shape) and name.endswith(("weight", "bias"))
    )
    if empty:
        raise ModelError(
            f"{folder}: {len(empty)} of {len(shapes)} weights are empty ({', '.join(empty[:8])}), as DeepSpeed's "
            "ZeRO-3 leaves those that lie on other GPUs. Make whole ones from the training's checkpoint "
            "(zero_to_fp32.py), or train with stage3_gather_16bit_weights_on_model_save, and score those."
        )


def _is_safe(file: Path) -> bool:
    return file.suffix == ".safetensors"


def _shards(index: Path) -> dict[str, Path]:
    """The file of each tensor that an index names."""
    try:
        names: dict[str, str] = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        return {name: index.parent / file for name, file in names.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{index} is damaged ({type(error).__name__}: {error}): expected JSON with a weight_map of tensors and "
            "their files. Fetch or save the model again."
        ) from error


def _indexed(index: Path, read_pickle: ReadPickle, *, allow_pickle: bool) -> dict[str, Stored]:
    files = _shards(index)
    shards = sorted(set(files.values()))
    gone = [shard.name for shard in shards if not shard.is_file()]
    if gone:
        raise ModelError(
            f"{index.parent}: {len(gone)} of {len(shards)} weight files that {index.name} names are not there: "
            f"{', '.join(gone[:8])}. Fetch or save the model again."
        )
    if not allow_pickle and not all(map(_is_safe, shards)):
        return {name: Stored(file, None) for name, file in files.items()}
    found = {name: stored for shard in shards for name, stored in _tensors_of(shard, read_pickle).items()}
    lost = sorted(set(files) - set(found))
    if lost:
        raise ModelError(
            f"{index.parent}: {index.name} names {len(lost)} tensors that are in no weight file: "
            f"{', '.join(lost[:8])}. Fetch or save the model again."
        )
    return found


def _tensors_of(file: Path, read_pickle: ReadPickle) -> dict[str, Stored]:
    if not _is_safe(file):
        return {
            name: Stored(file, tuple(tensor.shape), not (tensor.is_floating_point() or tensor.is_complex()))
            for name, tensor in read_pickle(file).items()
        }
    with foreign(file.parent, f"weights ({file.name})"), safe_open(file, framework="pt") as tensors:
        slices = {name: tensors.get_slice(name) for name in list(tensors.keys())}
        return {
            name: Stored(file, tuple(each.get_shape()), each.get_dtype().startswith(_WHOLE))
            for name, each in slices.items()
        }
