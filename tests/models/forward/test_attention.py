"""Every way of attending over a row against a dense softmax over the paths of its sequences."""

import inspect
import math
from functools import partial, wraps
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from encore_ray.errors import ModelError
from encore_ray.models.forward.attention import cuda as cuda_attention
from encore_ray.models.forward.attention import layouts
from encore_ray.models.forward.attention.cuda import FlexLayout, VarlenLayout, varlen_keywords
from encore_ray.models.forward.attention.layouts import RowLayout
from encore_ray.models.forward.attention.prefix import SegmentLayout, Sight, attend_rows
from encore_ray.models.forward.rows import distinct_sequences, plan_rows

# FlexAttention is compiled on a GPU; here its own definition is what counts.
pytestmark = pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")

CPU = torch.device("cpu")
CAUSAL = [Sight(True, None, None), Sight(True, None, 0.3), Sight(True, 1, None), Sight(True, 5, None)]
CAUSAL += [Sight(True, 70, None), Sight(True, 1000, 0.3)]
BOTH_WAYS = [Sight(False, None, None), Sight(False, 1, None), Sight(False, 5, 0.3), Sight(False, 70, None)]


def row_of(*, share, seed=0, num_prompts=4, longest=30):
    """One row of several prompts with one to three branches, some of one token, some a prefix of another."""
    rng = np.random.default_rng(seed)

    def text():
        return rng.integers(0, 50, rng.integers(1, longest)).tolist()

    sequences = [[7], [7, 8]]
    for _ in range(num_prompts):
        prompt = text()
        sequences += [[*prompt, *text()] for _ in range(rng.integers(1, 4))]
    distinct, _ = distinct_sequences([np.array(ids) for ids in sequences])
    (row,) = plan_rows(distinct, batch_tokens=100_000, share=share)
    return row


def states(row, *, heads=4, groups=2, head_size=8, value_size=None, dtype=torch.float32, device="cpu", seed=0):
    generator = torch.Generator().manual_seed(seed)
    num_slots = len(row.ids_T)
    shapes = [(heads, head_size), (groups, head_size), (groups, value_size or head_size)]
    return [
        torch.randn(1, count, num_slots, size, generator=generator).to(device=device, dtype=dtype)
        for count, size in shapes
    ]


def dense(row, query_1HTD, key_1GTD, value_1GTD, sight):
    """[1, T, H, D] in float64: each sequence alone, as a full softmax with what is unseen at minus infinity."""
    query, key, value = (x[0].double().cpu() for x in (query_1HTD, key_1GTD, value_1GTD))
    repeats = len(query) // len(key)
    key, value = (x.repeat_interleave(repeats, dim=0) for x in (key, value))
    scale = sight.scale if sight.scale is not None else 1 / math.sqrt(query.shape[-1])
    output_THD = torch.full((query.shape[1], len(query), value.shape[-1]), float("nan"), dtype=torch.float64)
    for path, own in zip(row.paths, row.own, strict=True):
        logits_HQT = scale * query[:, path[own:]] @ key[:, path].transpose(1, 2)
        distance_QT = torch.arange(own, len(path)).unsqueeze(1) - torch.arange(len(path))
        unseen_QT = (distance_QT < 0) & sight.causal
        if sight.window is not None:
            unseen_QT |= distance_QT.abs() >= sight.window
        logits_HQT.masked_fill_(unseen_QT, -torch.inf)
        output_THD[path[own:]] = (logits_HQT.softmax(dim=-1) @ value[:, path]).transpose(0, 1)
    return output_THD[None]


def assert_attends(layout, row, sight, *, tolerance=2e-6, **shape):
    tensors = states(row, **shape)
    found = layout.attend(*tensors, sight).double().cpu()
    torch.testing.assert_close(found, dense(row, *tensors, sight), rtol=0, atol=tolerance)


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("sight", CAUSAL)
def test_causal_attention_sees_the_path_of_each_sequence(sight, share):
    row = row_of(share=share, longest=100)  # sequences of more than one block of queries
    assert_attends(SegmentLayout(row, CPU), row, sight)


@pytest.mark.parametrize("sight", BOTH_WAYS)
def test_bidirectional_attention_sees_its_own_sequence(sight):
    row = row_of(share=False, longest=100)
    assert_attends(SegmentLayout(row, CPU), row, sight)


@pytest.mark.parametrize("sight", [*CAUSAL, *BOTH_WAYS])
def test_blocks_end_where_sequences_end(sight):
    # A block has 64 queries: one less, as many, one more, and two blocks.
    sequences = [np.full(length, length) for length in (63, 64, 65, 128, 129)]
    (row,) = plan_rows(sequences, batch_tokens=1000, share=False)
    assert_attends(SegmentLayout(row, CPU), row, sight)


@pytest.mark.parametrize(("heads", "groups"), [(4, 4), (4, 1), (6, 3)])
def test_groups_of_heads_share_keys(heads, groups):
    row = row_of(share=True)
    assert_attends(SegmentLayout(row, CPU), row, CAUSAL[0], heads=heads, groups=groups)
    assert_attends(FlexLayout(row, CPU), row, CAUSAL[0], heads=heads, groups=groups)


def test_values_may_have_a_size_of_their_own():
    row = row_of(share=True)
    assert_attends(SegmentLayout(row, CPU), row, CAUSAL[0], head_size=16, value_size=8)


def test_one_layout_serves_layers_of_different_sight():
    row = row_of(share=True)
    for layout in (SegmentLayout(row, CPU), FlexLayout(row, CPU), RowLayout(row)):
        for sight in (CAUSAL[0], CAUSAL[3], CAUSAL[0]):
            assert_attends(layout, row, sight)


@pytest.mark.parametrize(
    ("sight", "share"), [*((sight, True) for sight in CAUSAL), (CAUSAL[3], False), *((s, False) for s in BOTH_WAYS)]
)
def test_a_block_mask_sees_the_same(sight, share):
    row = row_of(share=share, num_prompts=6)
    assert len(row.ids_T) > 128  # more than one block of FlexAttention
    assert_attends(FlexLayout(row, CPU), row, sight)


def varlen_by_softmax(q, k, v, starts_q, starts_k, *, scale=None, window=(-1, -1)):
    """What torch's varlen_attn computes, which runs on CUDA alone: one softmax a sequence, aligned bottom right."""
    output = torch.empty(*q.shape[:2], v.shape[-1])
    repeats = q.shape[1] // k.shape[1]
    k, v = (x.repeat_interleave(repeats, dim=1) for x in (k, v))
    for (q0, q1), (k0, k1) in zip(pairwise(starts_q.tolist()), pairwise(starts_k.tolist()), strict=True):
        place_Q1 = torch.arange((k1 - k0) - (q1 - q0), k1 - k0).unsqueeze(1)
        distance_QT = place_Q1 - torch.arange(k1 - k0)
        unseen_QT = torch.zeros_like(distance_QT, dtype=torch.bool)
        for reach, side in zip(window, (1, -1), strict=True):
            if reach >= 0:
                unseen_QT |= side * distance_QT > reach
        logits_HQT = (scale or q.shape[-1] ** -0.5) * q[q0:q1].transpose(0, 1) @ k[k0:k1].permute(1, 2, 0)
        weights_HQT = logits_HQT.masked_fill(unseen_QT, -torch.inf).softmax(dim=-1)
        output[q0:q1] = (weights_HQT @ v[k0:k1].transpose(0, 1)).transpose(0, 1)
    return output


def check_arguments(q, k, starts_q, starts_k, max_q, max_k):
    """What the CUDA kernel takes for granted."""
    assert starts_q.dtype == starts_k.dtype == torch.int32
    assert (starts_q[-1], starts_k[-1]) == (len(q), len(k))
    assert (max_q, max_k) == (starts_q.diff().max(), starts_k.diff().max())
    assert q.is_contiguous() and k.is_contiguous()


def varlen_2_10(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, is_causal=False, return_aux=None):
    check_arguments(query, key, cu_seq_q, cu_seq_k, max_q, max_k)
    assert query.shape[1] == key.shape[1]
    return varlen_by_softmax(query, key, value, cu_seq_q, cu_seq_k, window=(-1, 0 if is_causal else -1))


def varlen_2_11(
    query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, *, return_aux=None, scale=None, window_size=(-1, -1)
):
    check_arguments(query, key, cu_seq_q, cu_seq_k, max_q, max_k)
    assert query.shape[1] == key.shape[1]
    return varlen_by_softmax(query, key, value, cu_seq_q, cu_seq_k, scale=scale, window=window_size)


def varlen_2_12(
    query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, *, return_aux=None, scale=None, window_size=(-1, -1),
    enable_gqa=False, seqused_k=None, block_table=None, num_splits=None,
):  # fmt: skip
    check_arguments(query, key, cu_seq_q, cu_seq_k, max_q, max_k)
    assert enable_gqa == (query.shape[1] != key.shape[1])
    assert num_splits == 1  # else what a sequence gets depends on the longest of its row
    return varlen_by_softmax(query, key, value, cu_seq_q, cu_seq_k, scale=scale, window=window_size)


VARLEN = {"2.10": varlen_2_10, "2.11": varlen_2_11, "2.12": varlen_2_12}


def parameters_of(version):
    return frozenset(inspect.signature(VARLEN[version]).parameters)


@pytest.fixture
def varlen_of(monkeypatch):
    """Puts a function that computes what a torch's varlen_attn does, by its signature, in the place of this torch's."""

    def put(version):
        monkeypatch.setattr(cuda_attention, "varlen_attn", VARLEN.get(version))
        cuda_attention.varlen_parameters.cache_clear()

    yield put
    cuda_attention.varlen_parameters.cache_clear()


@pytest.mark.parametrize("version", VARLEN)
@pytest.mark.parametrize(("heads", "groups"), [(4, 4), (4, 2)])
@pytest.mark.parametrize("share", [True, False])
def test_one_call_over_gathered_keys_sees_the_same(version, heads, groups, share, varlen_of):
    varlen_of(version)
    row = row_of(share=share)
    for sight in CAUSAL if share else [*CAUSAL, *BOTH_WAYS]:
        if varlen_keywords(parameters_of(version), sight, head_size=8) is not None:
            assert_attends(VarlenLayout(row, CPU), row, sight, heads=heads, groups=groups)


@pytest.mark.parametrize("version", ["2.12"])
def test_a_flash_attention_that_refuses_fixed_splits_is_called_without(version, monkeypatch):
    # As some builds of 2.12: the keyword is there, the kernel behind it is not.
    @wraps(varlen_2_12)
    def refusing(*args, num_splits=None, **keywords):
        if num_splits is not None:
            raise RuntimeError("num_splits requires another kernel")
        return varlen_2_12(*args, num_splits=1, **keywords)

    monkeypatch.setattr(cuda_attention, "varlen_attn", refusing)
    cuda_attention.varlen_parameters.cache_clear()
    row = row_of(share=True)
    assert_attends(VarlenLayout(row, CPU), row, CAUSAL[0], heads=4, groups=2)
    cuda_attention.varlen_parameters.cache_clear()


def test_varlen_attention_is_told_a_layers_sight_in_the_words_it_has():
    causal, open_, windowed, scaled = CAUSAL[0], BOTH_WAYS[0], Sight(True, 5, None), Sight(True, None, 0.3)
    words = {version: partial(varlen_keywords, parameters_of(version), head_size=16) for version in VARLEN}
    assert words["2.10"](causal) == {"is_causal": True}
    assert words["2.10"](open_) == {"is_causal": False}
    assert words["2.10"](windowed) is None
    assert words["2.10"](scaled) is None
    assert words["2.10"](Sight(True, None, 0.25)) == {"is_causal": True}  # 16 ** -0.5: what it does anyway
    assert words["2.11"](causal) == {"window_size": (-1, 0), "scale": None}
    assert words["2.11"](open_) == {"window_size": (-1, -1), "scale": None}
    assert words["2.11"](windowed) == {"window_size": (4, 0), "scale": None}  # 4 before it, and itself
    assert words["2.11"](Sight(False, 5, 0.3)) == {"window_size": (4, 4), "scale": 0.3}
    assert words["2.12"](scaled) == {"window_size": (-1, 0), "scale": 0.3, "num_splits": 1}
    assert varlen_keywords(frozenset(), causal, head_size=16) is None  # torch before 2.10


def test_this_torchs_varlen_attention_is_one_of_those_known():
    assert cuda_attention.varlen_parameters() in [frozenset(), *map(parameters_of, VARLEN)]


@pytest.mark.parametrize(
    ("version", "sight", "sizes", "dtype", "capability", "expected"),
    [
        ("2.12", CAUSAL[3], (64, 64), torch.bfloat16, (9, 0), VarlenLayout),
        ("2.12", CAUSAL[3], (64, 64), torch.float16, (8, 0), VarlenLayout),
        ("2.12", CAUSAL[3], (64, 64), torch.float16, (7, 5), FlexLayout),  # no flash attention before 8.0,
        ("2.12", CAUSAL[3], (64, 64), torch.float32, (9, 0), SegmentLayout),  # nor in float32,
        ("2.12", CAUSAL[0], (512, 512), torch.bfloat16, (9, 0), FlexLayout),  # nor over 256,
        ("2.12", CAUSAL[0], (192, 128), torch.bfloat16, (9, 0), FlexLayout),  # nor with values of another size
        ("2.10", CAUSAL[0], (64, 64), torch.bfloat16, (9, 0), VarlenLayout),
        ("2.10", CAUSAL[3], (64, 64), torch.bfloat16, (9, 0), FlexLayout),  # no words for a window
        ("none", CAUSAL[0], (64, 64), torch.bfloat16, (9, 0), FlexLayout),
    ],
)
def test_a_gpu_uses_the_fastest_that_can_say_it(
    version, sight, sizes, dtype, capability, expected, varlen_of, monkeypatch
):
    varlen_of(version)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)
    head_size, value_size = sizes
    with FakeTensorMode():  # shapes, dtypes and a device, without the device
        query = torch.empty(1, 4, 5, head_size, dtype=dtype, device="cuda")
        value = torch.empty(1, 4, 5, value_size, dtype=dtype, device="cuda")
        assert layouts._kind(query, value, sight) is expected


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", [RowLayout, FlexLayout, VarlenLayout])
def test_attention_on_a_gpu_sees_the_same(kind, dtype):
    device = torch.device("cuda")
    words = cuda_attention.varlen_parameters()
    for share in (True, False):
        row = row_of(share=share, longest=200)
        layout = RowLayout(row) if kind is RowLayout else kind(row, device)
        for sight in CAUSAL if share else [*CAUSAL, *BOTH_WAYS]:
            if kind is not VarlenLayout or varlen_keywords(words, sight, head_size=64) is not None:
                # 8 bits of a bfloat16 sum of values of about 1: 2 ** -8 each, a few of them added.
                assert_attends(layout, row, sight, tolerance=3e-2, head_size=64, dtype=dtype, device=device)


class CausalModule(nn.Module):
    is_causal = True


@pytest.mark.parametrize(
    "wanted",
    [{"softcap": 30.0}, {"s_aux": torch.ones(4)}, {"attention_mask": torch.ones(1, 1, 9, 9)}, {"dropout": 0.1}],
    ids=lambda wanted: next(iter(wanted)),
)
def test_a_layer_that_wants_more_than_rows_have_is_refused(wanted):
    row = row_of(share=True)
    keywords = {"attention_mask": None, "layout": RowLayout(row), **wanted}
    with pytest.raises(ModelError, match=f"CausalModule wants {next(iter(wanted))} in its attention"):
        attend_rows(CausalModule(), *states(row), keywords.pop("attention_mask"), **keywords)


def test_a_layer_without_the_keywords_of_the_forward_is_refused():
    with pytest.raises(ModelError, match="CausalModule does not hand the keywords of a forward to its attention"):
        attend_rows(CausalModule(), *states(row_of(share=True)), None, scaling=0.3)


@pytest.mark.parametrize(("is_causal", "expected"), [(None, True), (True, True), (False, False)])
def test_a_call_decides_about_causality_before_its_module(is_causal, expected):
    row = row_of(share=False)
    tensors = states(row)
    found, weights = attend_rows(
        CausalModule(), *tensors, None, layout=RowLayout(row), sliding_window=5, is_causal=is_causal, softcap=None
    )
    assert weights is None
    torch.testing.assert_close(found.double(), dense(row, *tensors, Sight(expected, 5, None)), rtol=0, atol=2e-6)
