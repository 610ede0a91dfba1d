"""Last layer pruned to the tokens that the heads read: its keys and values of all, the rest of it for these.

Behind the last attention no token hears of another, so that what the others become is of no use. Their keys and
values are: the layer is entered with all tokens and left at its attention, which takes the keys and values; then it
runs on the tokens that are read, whose attention looks at what was taken. A layer of six is a seventh of the work, a
layer of 32 a thirtieth.
"""

from collections.abc import Callable
from typing import Any, NoReturn

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from encore_ray.models.forward.attention.layouts import RowLayout
from encore_ray.models.forward.attention.prefix import Sight


def narrow_last_layer(backbone: PreTrainedModel) -> None:
    """Let the last layer compute the tokens that a forward's layout reads, where the body's layers are a plain list."""
    layers = body_layers(backbone)
    if layers and not isinstance(layers[-1].forward, _LastLayer):
        layers[-1].forward = _LastLayer(layers[-1].forward)


def body_layers(backbone: PreTrainedModel) -> list[nn.Module]:
    """The layers of a body, if they are a plain list; else none."""
    num_layers = backbone.config.get_text_config().num_hidden_layers
    lists = [module for module in backbone.modules() if isinstance(module, nn.ModuleList) and len(module) == num_layers]
    return list(lists[0]) if lists else []  # the first is the outermost: experts of a layer may be as many


class _LastLayer:
    """In place of a layer's own forward, which it calls."""

    def __init__(self, forward: Callable[..., Any]):
        self._forward = forward

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        layout = kwargs.get("layout")
        if not isinstance(layout, RowLayout) or layout.reads is None or torch.compiler.is_compiling():
            return self._forward(*args, **kwargs)
        try:
            return self._forward(*args, **{**kwargs, "layout": _Taking()})
        except _Taken as taken:
            kwargs["layout"] = layout.for_read(taken.key_1GTD, taken.value_1GTD)
            taken_slots = taken.key_1GTD.shape[2]
        narrow = _Narrow(layout.read_S, num_slots=taken_slots)
        return narrow.undo(self._forward(*map(narrow, args), **{name: narrow(value) for name, value in kwargs.items()}))


class _Taken(Exception):
    """Leaves a layer at its attention."""

    def __init__(self, key_1GTD: Tensor, value_1GTD: Tensor):
        self.key_1GTD, self.value_1GTD = key_1GTD, value_1GTD


class _Taking:
    """A layout that takes the keys and values."""

    def attend(self, _query_1HTD: Tensor, key_1GTD: Tensor, value_1GTD: Tensor, _sight: Sight) -> NoReturn:
        raise _Taken(key_1GTD, value_1GTD)


class _Narrow:
    """Picks, from whatever holds one entry a token slot, those of the tokens that are read."""

    def __init__(self, read_S: Tensor, *, num_slots: int):
        self._read_S, self._num_slots = read_S, num_slots

    def __call__(self, value: Any) -> Any:
        if isinstance(value, Tensor) and value.ndim > 1 and value.shape[:2] == (1, self._num_slots):
            return value[:, self._read_S.to(value.device)]
        if isinstance(value, tuple):  # cosines and sines of the positions
            return tuple(map(self, value))
        return value

    def undo(self, output: Any) -> Any:
        """A layer's output with an entry a slot again, zero for the tokens that nobody reads."""
        if isinstance(output, tuple):
            return (self.undo(output[0]), *output[1:])
        wide_1TD = output.new_zeros(1, self._num_slots, output.shape[-1])
        wide_1TD[:, self._read_S.to(output.device)] = output
        return wide_1TD
