"""Linear layers on a CPU by oneDNN, which torch uses for half precision only.

torch multiplies float32 matrices by MKL; on AMD processors that runs at less than half the speed of oneDNN.
"""

import os
from typing import cast

import torch
from torch import Tensor, nn

# oneDNN and torch's bridge to it each keep what they made for the last 1,024 shapes. Nearly every row has a length of
# its own, so that they would come to hold a gigabyte; a few are as fast. Read at the first product of a process.
for _cache in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
    os.environ.setdefault(_cache, "64")

# Bytes of weights that are kept twice.
_MOST_PACKED = 2 << 30


def _multiply(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


_opaque = torch.library.custom_op("encore_ray::onednn_linear", _multiply, mutates_args=())


@_opaque.register_fake
def _shape(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return x.new_empty(*x.shape[:-1], weight.shape[0])


class OneDnnLinear(nn.Linear):
    """A linear layer whose product oneDNN computes while no gradient is asked for."""

    packs = False
    dtypes: tuple[torch.dtype, ...] = ()  # of weights that oneDNN multiplies on this machine
    _packed: "_Packed | None" = None

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (nn.Linear's name)
        if torch.is_grad_enabled() or self.weight.device.type != "cpu" or self.weight.dtype not in self.dtypes:
            return super().forward(input)  # the weight may have been cast or moved since it was taken
        if torch.compiler.is_compiling():  # it would take the operator apart, and multiply float32 by MKL again
            return _opaque(input, self.weight, self.bias)
        if not self.packs:
            return _multiply(input, self.weight, self.bias)
        if self._packed is None or not self._packed.is_of(self.weight):
            self._packed = _Packed(self.weight)
        return _multiply(input, self._packed.weight, self.bias)


class _Packed:
    """A copy of a weight in the order in which oneDNN reads it, which it would else bring about for each product."""

    def __init__(self, weight: Tensor):
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight)
        self._source = weight.detach()  # kept, so that no other weight can come to lie at its address
        self._version = _version(weight)

    def is_of(self, weight: Tensor) -> bool:
        return self._source.data_ptr() == weight.data_ptr() and self._version == _version(weight)

    def __deepcopy__(self, memo: object) -> None:
        """Nothing: the copy of a layer makes its own."""

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return type(None), ()


def _version(weight: Tensor) -> int | None:
    """How often a weight was written to."""
    return None if weight.is_inference() else weight._version


def use_onednn(module: nn.Module) -> None:
    """Let oneDNN compute a module's plain linear layers wherever they lie on a CPU.

    Weights stay where they are, and may be read, written and saved as before; those of a small model are kept twice,
    once as oneDNN reads them. A layer of a subclass keeps its own forward.
    """
    if not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return
    # Half precision needs instructions that many processors lack, which torch's own product does without.
    has_bf16 = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    dtypes = (torch.float32, torch.bfloat16) if has_bf16 else (torch.float32,)
    linear = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    layers = [layer for layer in linear if type(layer) in (nn.Linear, OneDnnLinear) and layer.weight.dtype in dtypes]
    packs = sum(layer.weight.nbytes for layer in layers) <= _MOST_PACKED
    for layer in layers:
        layer.__class__ = OneDnnLinear
        taken = cast(OneDnnLinear, layer)
        taken.packs, taken.dtypes = packs, dtypes


def keep_no_copies(module: nn.Module) -> None:
    """Let no layer keep its weight twice: FSDP gathers it anew for each forward, and hides that it has changed."""
    for layer in module.modules():
        if isinstance(layer, OneDnnLinear):
            layer.packs = False
