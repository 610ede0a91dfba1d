"""Attention of a whole row in one call: flash attention over gathered keys, or FlexAttention with a block mask."""

import inspect
import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

from encore_ray.models.forward.attention.prefix import Sight, sees
from encore_ray.models.forward.rows import Row

try:
    from torch.nn.attention.varlen import varlen_attn
except ImportError:  # torch before 2.10
    varlen_attn = None

FLASH_DTYPES = (torch.bfloat16, torch.float16)


@cache
def varlen_parameters() -> frozenset[str]:
    """What this torch's varlen_attn takes; empty where there is none. It changed in 2.10, 2.11 and 2.12."""
    return frozenset(inspect.signature(varlen_attn).parameters) if varlen_attn else frozenset()


def varlen_keywords(parameters: frozenset[str], sight: Sight, *, head_size: int) -> Mapping[str, Any] | None:
    """Keywords that say the sight of a layer to a varlen_attn with these parameters; None where it has no words.

    Queries are a sequence's last tokens: flash attention aligns its causal mask to the bottom right.
    """
    keywords: dict[str, Any] = {}
    if "window_size" in parameters:  # (left, right), both inclusive; -1 is open
        reach = -1 if sight.window is None else sight.window - 1
        keywords["window_size"] = (reach, 0 if sight.causal else reach)
    elif "is_causal" in parameters and sight.window is None:
        keywords["is_causal"] = sight.causal
    else:
        return None
    if "scale" in parameters:
        keywords["scale"] = sight.scale
    elif sight.scale is not None and not math.isclose(sight.scale, head_size**-0.5):
        return None
    if "num_splits" in parameters:
        keywords["num_splits"] = 1  # else the order of sums depends on the longest sequence of the row
    return keywords


@cache
def _splits_can_be_fixed(attend: Callable[..., Any], device: torch.device) -> bool:
    """Whether flash attention takes num_splits on a device: some versions of torch name it and refuse it."""
    one = torch.zeros(1, 1, 64, dtype=torch.bfloat16, device=device)
    starts = torch.tensor([0, 1], dtype=torch.int32, device=device)
    try:
        attend(one, one, one, starts, starts, 1, 1, num_splits=1)
    except RuntimeError:
        return False
    return True


class VarlenLayout:
    """torch's varlen_attn over the keys of all sequences, gathered one after the other.

    Args:
        row: the row of the forward.
        device: a CUDA device.
    """

    def __init__(self, row: Row, device: torch.device):
        num_keys = [len(path) for path in row.paths]
        num_own = [len(path) - first for path, first in zip(row.paths, row.own, strict=True)]
        self._keys = _to_device(np.concatenate(row.paths), device)
        self._own_starts, self._key_starts = (
            _to_device(np.cumsum([0, *counts]).astype(np.int32), device) for counts in (num_own, num_keys)
        )
        self._most_own, self._most_keys = max(num_own), max(num_keys)

    def attend(self, query_1HTD: Tensor, key_1GTD: Tensor, value_1GTD: Tensor, sight: Sight) -> Tensor:
        num_heads, head_size = query_1HTD.shape[1], query_1HTD.shape[3]
        keywords = varlen_keywords(varlen_parameters(), sight, head_size=head_size)
        assert varlen_attn is not None and keywords is not None, (varlen_parameters(), sight)
        if "num_splits" in keywords and not _splits_can_be_fixed(varlen_attn, query_1HTD.device):
            keywords = {name: value for name, value in keywords.items() if name != "num_splits"}
        key_UGD, value_UGD = (x_1GTD[0].transpose(0, 1)[self._keys] for x_1GTD in (key_1GTD, value_1GTD))
        if key_UGD.shape[1] != num_heads:
            if "enable_gqa" in varlen_parameters():
                keywords = {**keywords, "enable_gqa": True}
            else:
                groups = num_heads // key_UGD.shape[1]
                key_UGD, value_UGD = (x_UGD.repeat_interleave(groups, dim=1) for x_UGD in (key_UGD, value_UGD))
        query_THD = query_1HTD[0].transpose(0, 1).contiguous()
        attended_THD = varlen_attn(
            query_THD,
            key_UGD,
            value_UGD,
            self._own_starts,
            self._key_starts,
            self._most_own,
            self._most_keys,
            **keywords,
        )
        assert isinstance(attended_THD, Tensor)
        return attended_THD.unsqueeze(0)


class FlexLayout:
    """FlexAttention over the row itself: no gathering, a block mask says which slots see each other.

    Sequences are sorted, so that those which hold a slot follow one another: a token sees a slot before it exactly
    if its own slot is not behind the last that belongs to a sequence with that slot.

    Args:
        row: the row of the forward.
        device: of its tensors.
    """

    def __init__(self, row: Row, device: torch.device):
        self._device = device
        last_T = np.zeros(len(row.ids_T), dtype=np.int32)  # small: a mask is made of T x T of these
        first_T = np.zeros_like(last_T)
        for path, own in zip(row.paths, row.own, strict=True):
            last_T[path] = path[-1]
            first_T[path[own:]] = path[own]
        self._last_T, self._first_T, self._position_T = (
            _to_device(array, device) for array in (last_T, first_T, row.positions_T.astype(np.int32))
        )
        self._masks: dict[Sight, BlockMask] = {}

    def attend(self, query_1HTD: Tensor, key_1GTD: Tensor, value_1GTD: Tensor, sight: Sight) -> Tensor:
        if sight not in self._masks:
            num_slots, is_cuda = len(self._position_T), self._device.type == "cuda"
            self._masks[sight] = create_block_mask(
                self._sees(sight), None, None, num_slots, num_slots, self._device, _compile=is_cuda
            )
        attend = _compiled_flex_attention() if self._device.type == "cuda" else flex_attention
        attended_1HTD = attend(
            query_1HTD,
            key_1GTD,
            value_1GTD,
            block_mask=self._masks[sight],
            scale=sight.scale,
            enable_gqa=key_1GTD.shape[1] != query_1HTD.shape[1],
        )
        assert isinstance(attended_1HTD, Tensor)
        return attended_1HTD.transpose(1, 2)

    def _sees(self, sight: Sight) -> Any:
        last_T, first_T, position_T = self._last_T, self._first_T, self._position_T

        def same_sequence(_batch: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
            # Without causality no prefix is shared, and every slot belongs to one sequence.
            together = (query <= last_T[key]) & ((key if sight.causal else first_T[key]) <= query)
            return together & sees(position_T[query] - position_T[key], sight)

        return same_sequence


@cache
def _compiled_flex_attention() -> Any:
    return torch.compile(flex_attention, dynamic=True)


def _to_device(array: np.ndarray, device: torch.device) -> Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
