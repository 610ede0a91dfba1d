"""Choice of the attention kernel of a row (CPU, flash, FlexAttention), by the device and each layer's own tensors."""

from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from encore_ray.models.forward.attention.cuda import (
    FLASH_DTYPES,
    FlexLayout,
    VarlenLayout,
    varlen_keywords,
    varlen_parameters,
)
from encore_ray.models.forward.attention.prefix import AttentionLayout, ReadLayout, SegmentLayout, Sight
from encore_ray.models.forward.rows import Row

ReadToken = Literal["first", "last"]


class RowLayout:
    """The keyword `layout` of one forward over a row.

    Half precision on CUDA runs as one flash attention a layer, or as FlexAttention where this torch's flash attention
    has no words for the layer's window or scale. Anything else runs a sequence at a time: float32 has no flash
    attention, and a CPU gains nothing from one call.

    Args:
        row: the row.
        reads: the one token of each sequence whose last hidden state is used, where that is so.
    """

    def __init__(self, row: Row, *, reads: ReadToken | None = None):
        self._row, self.reads = row, reads
        self._layouts: dict[tuple[type, torch.device], AttentionLayout] = {}  # a model may lie on several devices

    @cached_property
    def read_S(self) -> Tensor:
        """int64 slots of the tokens that are read, one a sequence."""
        paths = zip(self._row.paths, self._places, strict=True)
        return torch.tensor([int(path[place]) for path, place in paths], dtype=torch.int64)

    def for_read(self, key_1GTD: Tensor, value_1GTD: Tensor) -> ReadLayout:
        """Attention of the tokens that are read alone, over these keys and values of all slots."""
        return ReadLayout(self._row, self._places, key_1GTD, value_1GTD)

    @property
    def _places(self) -> list[int]:
        return [len(path) - 1 if self.reads == "last" else 0 for path in self._row.paths]

    def attend(self, query_1HTD: Tensor, key_1GTD: Tensor, value_1GTD: Tensor, sight: Sight) -> Tensor:
        kind = (_kind(query_1HTD, value_1GTD, sight), query_1HTD.device)
        if kind not in self._layouts:
            self._layouts[kind] = kind[0](self._row, query_1HTD.device)
        return self._layouts[kind].attend(query_1HTD, key_1GTD, value_1GTD, sight)


def _kind(query_1HTD: Tensor, value_1GTD: Tensor, sight: Sight) -> type[SegmentLayout | VarlenLayout | FlexLayout]:
    head_size = query_1HTD.shape[-1]
    if query_1HTD.device.type != "cuda" or query_1HTD.dtype not in FLASH_DTYPES:
        return SegmentLayout
    has_flash = torch.cuda.get_device_capability(query_1HTD.device) >= (8, 0)
    fits = has_flash and head_size <= 256 and head_size == value_1GTD.shape[-1]
    if fits and varlen_keywords(varlen_parameters(), sight, head_size=head_size) is not None:
        return VarlenLayout
    return FlexLayout
