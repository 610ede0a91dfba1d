"""Attention over rows of shared prefixes, in place of transformers' own: every token sees its own sequence only.

Registered with transformers' AttentionInterface and no mask function, so that a model builds no mask; the forward's
keyword `layout` reaches the function. Each sequence is one segment: queries on the tokens it brings, keys on all of
its tokens, so that a sliding window means the same as in a sequence alone.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from encore_ray.errors import ModelError
from encore_ray.models.forward.rows import Row

ATTENTION = "encore_ray_rows"

_QUERIES = 64  # a block: small enough to leave out most of what causality masks, large enough for fast products

# What transformers hands to every attention function that changes no score of one forward without a cache.
_WITHOUT_EFFECT = {"position_ids", "use_cache", "output_attentions", "output_hidden_states", "deterministic", "cache"}
_WITHOUT_EFFECT |= {"position_embeddings", "cache_position", "past_key_values", "return_dict"}


@dataclass(frozen=True)
class Sight:
    """What a layer lets a token see of its sequence.

    Attributes:
        causal: only itself and what is before it.
        window: only tokens that are less than so many away; None for all.
        scale: of the products of queries and keys; None for 1 / sqrt(head size).
    """

    causal: bool
    window: int | None
    scale: float | None


class AttentionLayout(Protocol):
    """The keyword `layout` of a forward: how the tokens of its row see each other."""

    def attend(self, query_1HTD: Tensor, key_1GTD: Tensor, value_1GTD: Tensor, sight: Sight) -> Tensor:
        """Attention of one layer, queries with H heads, keys and values with G; shape [1, T, H, D]."""
        ...


@torch.compiler.disable
def attend_rows(
    module: nn.Module,
    query_1HTD: Tensor,
    key_1GTD: Tensor,
    value_1GTD: Tensor,
    attention_mask: Tensor | None,
    *,
    layout: AttentionLayout | None = None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    is_causal: bool | None = None,
    dropout: float = 0.0,
    **others: Any,
) -> tuple[Tensor, None]:
    """The attention function as transformers calls it, once a layer.

    Raises:
        ModelError: the layer wants something that would be left out, as a soft cap or a mask of its own.
    """
    wanted = sorted(key for key, value in others.items() if key not in _WITHOUT_EFFECT and value is not None)
    wanted += ["attention_mask"] if attention_mask is not None else []
    wanted += ["dropout"] if dropout else []
    if wanted:
        raise ModelError(f"{type(module).__name__} wants {', '.join(wanted)} in its attention, which rows do not have.")
    if layout is None:
        raise ModelError(f"{type(module).__name__} does not hand the keywords of a forward to its attention.")
    causal = is_causal if is_causal is not None else getattr(module, "is_causal", True)
    return layout.attend(query_1HTD, key_1GTD, value_1GTD, Sight(bool(causal), sliding_window, scaling)), None


AttentionInterface.register(ATTENTION, attend_rows)


def sees(distance: Tensor, sight: Sight) -> Tensor:
    """Whether a token sees another of its sequence that stands `distance` tokens before it (negative: behind)."""
    seen = distance >= 0 if sight.causal else torch.ones_like(distance, dtype=torch.bool)
    return seen if sight.window is None else seen & (distance.abs() < sight.window)


class SegmentLayout:
    """One scaled_dot_product_attention for each block of a sequence's queries: exact in every dtype, on any device.

    A block sees no key behind its last query, nor any outside its window, so that little is computed to be masked.

    Args:
        row: the row of the forward.
        device: of its tensors.
    """

    def __init__(self, row: Row, device: torch.device):
        self._row, self._device = row, device
        self._segments: dict[Sight, list[_Segment]] = {}

    def attend(self, query_1HTD: Tensor, key_1GTD: Tensor, value_1GTD: Tensor, sight: Sight) -> Tensor:
        if sight not in self._segments:  # made by the first layer, used by all that are alike
            self._segments[sight] = list(_segments(self._row, sight, self._device, query_1HTD.dtype))
        return _attend_segments(self._segments[sight], query_1HTD, key_1GTD, value_1GTD, sight)


class ReadLayout:
    """Attention of one token a sequence over the keys and values of a whole row.

    Args:
        row: the row of the forward.
        places: which token of each of its S sequences asks, counted from its beginning.
        key_1GTD, value_1GTD: of all slots of the row.
    """

    def __init__(self, row: Row, places: Sequence[int], key_1GTD: Tensor, value_1GTD: Tensor):
        self._row, self._places = row, places
        self._key_1GTD, self._value_1GTD = key_1GTD, value_1GTD

    def attend(self, query_1HSD: Tensor, _key_1GSD: Tensor, _value_1GSD: Tensor, sight: Sight) -> Tensor:
        segments = []
        for s, (path, place) in enumerate(zip(self._row.paths, self._places, strict=True)):
            low, high = _reach(place, place + 1, len(path), sight)
            segments.append(_Segment(_runs(path[low:high]), [_Block(slice(s, s + 1), slice(None), None)]))
        return _attend_segments(segments, query_1HSD, self._key_1GTD, self._value_1GTD, sight)


@dataclass(frozen=True, eq=False)
class _Block:
    """Queries of a sequence, as slots of the row, and the keys that any of them sees, as places in the sequence.

    mask_QT is minus infinity where a query does not see a key; None if each sees all.
    """

    queries: slice
    keys: slice
    mask_QT: Tensor | None


@dataclass(frozen=True, eq=False)
class _Segment:
    """One sequence: the runs of slots that are its tokens, and the blocks of its queries."""

    runs: list[slice]
    blocks: list[_Block]


def _attend_segments(
    segments: Iterable[_Segment], query_1HQD: Tensor, key_1GTD: Tensor, value_1GTD: Tensor, sight: Sight
) -> Tensor:
    num_heads, num_queries = query_1HQD.shape[1:3]
    output_1QHD = query_1HQD.new_zeros(1, num_queries, num_heads, value_1GTD.shape[-1])
    for segment in segments:
        own_key_1GTD, own_value_1GTD = _gather(key_1GTD, segment.runs), _gather(value_1GTD, segment.runs)
        for block in segment.blocks:
            attended_1HQD = scaled_dot_product_attention(
                query_1HQD[:, :, block.queries],
                own_key_1GTD[:, :, block.keys],
                own_value_1GTD[:, :, block.keys],
                attn_mask=block.mask_QT,
                scale=sight.scale,
                enable_gqa=key_1GTD.shape[1] != num_heads,
            )
            output_1QHD[:, block.queries] = attended_1HQD.transpose(1, 2)
    return output_1QHD


def _segments(row: Row, sight: Sight, device: torch.device, dtype: torch.dtype) -> Iterator[_Segment]:
    masks: dict[tuple[int, int, int], Tensor] = {}
    for path, own in zip(row.paths, row.own, strict=True):
        length = len(path)
        is_open = not sight.causal and (sight.window is None or sight.window >= length)
        step = length if is_open else _QUERIES
        blocks = []
        for first in range(own, length, step):
            stop = min(first + step, length)
            low, high = _reach(first, stop, length, sight)
            shape = (first - low, stop - low, high - low)
            if not is_open and shape not in masks:
                query_Q1 = torch.arange(first, stop).unsqueeze(1)
                seen_QT = sees(query_Q1 - torch.arange(low, high), sight)
                masks[shape] = torch.zeros(seen_QT.shape, dtype=dtype).masked_fill(~seen_QT, -torch.inf).to(device)
            queries = slice(int(path[first]), int(path[stop - 1]) + 1)
            blocks.append(_Block(queries, slice(low, high), None if is_open else masks[shape]))
        yield _Segment(_runs(path), blocks)


def _reach(first: int, stop: int, length: int, sight: Sight) -> tuple[int, int]:
    """The tokens of a sequence that any of its tokens from `first` to before `stop` sees, again as such a range."""
    reach = length if sight.window is None else sight.window
    return max(0, first - reach + 1), stop if sight.causal else min(length, stop - 1 + reach)


def _runs(slots: np.ndarray) -> list[slice]:
    """Ascending slots as slices: a sequence lies in a few pieces, one for each that it shares a prefix with."""
    breaks = np.flatnonzero(np.diff(slots) != 1) + 1
    return [slice(int(run[0]), int(run[-1]) + 1) for run in np.split(slots, breaks)]


def _gather(x_1GTD: Tensor, runs: list[slice]) -> Tensor:
    """The keys or values of a sequence: copying a few runs is several times as fast as picking slot after slot."""
    pieces = [x_1GTD[:, :, run] for run in runs]
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=2)
