"""Tiny random checkpoints built as those of known families, and each family's own forward in plain words.

The references follow the official forwards line by line, on one sequence at a time and in float32, and know nothing
of the code under test: name, shape and place of every tensor are written down here a second time.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoModel, Gemma2Config, PretrainedConfig, PreTrainedTokenizerFast

from encore_ray.rules import Rule, RuleSet, Scale
from tests.models import tiny

Reference = Callable[[Tensor], Tensor]  # the hidden state [D] of the last token to what the official model returns


def save(
    folder: Path,
    family: str,
    tensors: dict[str, Tensor],
    *,
    architecture: str,
    tok: PreTrainedTokenizerFast | None = None,
    prefix: str = "model.",
    shards: int = 1,
    **settings: Any,
) -> Path:
    """A body of `family` with head tensors beside it; `settings` go into config.json."""
    tok = tok or tiny.tokenizer(chat=True)
    config = body_config(family, vocab_size=len(tok))
    torch.manual_seed(11)
    body = AutoModel.from_config(config)
    tiny.spread(body)
    folder.mkdir(parents=True, exist_ok=True)
    config.architectures = [architecture]
    for key, value in settings.items():
        setattr(config, key, value)
    config.save_pretrained(folder)
    tok.save_pretrained(folder)
    everything = {f"{prefix}{name}": tensor for name, tensor in body.state_dict().items()} | tensors
    names = sorted(everything)
    if shards == 1:
        save_file(everything, folder / "model.safetensors", metadata={"format": "pt"})
        return folder
    files = {name: f"model-{i % shards}.safetensors" for i, name in enumerate(names)}
    for file in set(files.values()):
        part = {name: everything[name] for name in names if files[name] == file}
        save_file(part, folder / file, metadata={"format": "pt"})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": files}))
    return folder


def body_config(family: str, *, vocab_size: int) -> PretrainedConfig:
    if family == "gemma2":
        return Gemma2Config(
            vocab_size=vocab_size, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
            head_dim=8, intermediate_size=48, query_pre_attn_scalar=8, sliding_window=512, max_position_embeddings=128,
            pad_token_id=2, bos_token_id=0, eos_token_id=1,
        )  # fmt: skip
    return tiny.config(family, vocab_size=vocab_size)


def rules(num_rules: int, prefix: str = "r") -> RuleSet:
    return RuleSet(Rule(f"{prefix}{k}", "", "better", Scale(-99.0, 99.0)) for k in range(num_rules))


def save_armorm(folder: Path, **options: Any) -> tuple[Path, Reference]:
    """ArmoRM: 19 objectives without bias; `rewards` is taken before the transform."""
    torch.manual_seed(1)
    weight = torch.randn(19, 32)
    tensors = {
        "regression_layer.weight": weight,
        "reward_transform_matrix": torch.eye(19) - 0.1 * torch.rand(19, 19),
        "gating.logit_scale": torch.ones(1),
    }
    for i, (out, width) in enumerate([(24, 32), (24, 24), (24, 24), (19, 24)]):
        tensors |= {f"gating.layers.{i}.weight": torch.randn(out, width), f"gating.layers.{i}.bias": torch.randn(out)}
    settings = {"architecture": "LlamaForRewardModelWithGating", "num_objectives": 19, **options}
    return save(folder, "llama", tensors, **settings), lambda hidden_D: weight @ hidden_D


def save_qrm(folder: Path, family: str = "llama", *, transform: bool = True, **options: Any) -> tuple[Path, Reference]:
    """QRM: 5 objectives of 4 quantiles each; `rewards` is their mean, after the transform where there is one."""
    torch.manual_seed(2)
    weight = torch.randn(5 * 4, 32)
    matrix = torch.eye(5) - 0.3 * torch.rand(5, 5)
    tensors = {"regression_layer.weight": weight, "gating.logit_scale": torch.ones(1)}
    if transform:
        tensors["reward_transform_matrix"] = matrix
    for i in (0, 4, 8):  # between them ReLU, batch norm and dropout
        tensors[f"gating.layers.{i}.weight"] = torch.randn(24, 32 if i == 0 else 24)
        tensors[f"gating.layers.{i + 2}.weight"] = torch.ones(24)
        tensors[f"gating.layers.{i + 2}.num_batches_tracked"] = torch.tensor(3)
    tensors |= {"gating.layers.11.weight": torch.randn(5, 24), "gating.layers.11.bias": torch.randn(5)}

    def rewards(hidden_D: Tensor) -> Tensor:
        expected = (weight @ hidden_D).reshape(1, 5, 4).mean(dim=2)
        return (expected @ matrix if transform else expected)[0]

    settings = {"architecture": "LlamaForRewardModelWithGating31", "num_objectives": 5, "num_quantiles": 4, **options}
    return save(folder, family, tensors, **settings), rewards


def save_urm(folder: Path, num_attributes: int = 5, **options: Any) -> tuple[Path, Reference]:
    """URM: a mean and a spread for each attribute; the reference returns the means and, last, the mixed reward."""
    torch.manual_seed(4)
    weight = torch.randn(num_attributes * 2, 32)
    mixture = torch.nn.Sequential(
        torch.nn.Linear(32, 32), torch.nn.SELU(), torch.nn.Linear(32, 32), torch.nn.SELU(),
        torch.nn.Linear(32, num_attributes),
    )  # fmt: skip
    tensors = {"score.weight": weight} | {f"weights.fc.{name}": value for name, value in mixture.state_dict().items()}

    @torch.no_grad()
    def official(hidden_D: Tensor) -> Tensor:
        rewards = (weight @ hidden_D).view(-1, num_attributes, 2)[:, :, 0].view(-1, num_attributes)
        return torch.cat([rewards[0], (rewards * mixture(hidden_D.unsqueeze(0))).sum(dim=-1)])

    labels = {k: f"LABEL_{k}" for k in range(2 * num_attributes)}
    settings = {
        "architecture": "LlamaForSequenceClassificationWithNormal_Weights",
        "id2label": labels,
        "label2id": {label: k for k, label in labels.items()},
        **options,
    }
    return save(folder, "llama", tensors, **settings), official


def save_ldl(folder: Path, **options: Any) -> tuple[Path, Reference]:
    """LDL: 3 objectives of ten levels; the reference returns their expected levels and, last, the gated score."""
    torch.manual_seed(3)
    network = torch.nn.Sequential(
        torch.nn.Linear(32, 24), torch.nn.LeakyReLU(), torch.nn.Linear(24, 24), torch.nn.LeakyReLU(),
        torch.nn.Linear(24, 30),
    )  # fmt: skip
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)  # larger ones make every distribution a single level
    settings = {"architecture": "Gemma2Model", "num_objectives": 30, "prefix": "", **options}
    folder = save(folder, "gemma2", {}, **settings)
    torch.save(
        {f"network.{name}": tensor for name, tensor in network.state_dict().items()}, folder / "regression_layer.pt"
    )
    gate = torch.tensor([[0.5, -1.0, 2.0]])

    @torch.no_grad()
    def official(hidden_D: Tensor) -> Tensor:
        distribution = torch.softmax(network(hidden_D.unsqueeze(0)).view(1, -1, 10), dim=-1)
        levels = torch.linspace(0, 1, 10)
        total = torch.bmm(gate.unsqueeze(1), distribution).squeeze(1)
        score = (total * levels).sum(-1)
        return torch.cat([(distribution[0] * levels).sum(-1), score])

    return folder, official


def save_beaver(folder: Path, *, bias: bool = True, normaliser: bool = False, **options: Any) -> tuple[Path, Reference]:
    """Safe RLHF: one output with a bias; the reference returns `end_scores` before any normalising."""
    torch.manual_seed(4)
    weight, shift = torch.randn(1, 32), torch.tensor([0.7])
    tensors = {"score_head.weight": weight}
    if bias:
        tensors["score_head.bias"] = shift
    if normaliser:
        tensors |= {"normalizer.mean": torch.tensor([2.0]), "normalizer.var": torch.tensor([9.0])}
        tensors["normalizer.count"] = torch.tensor([5])
    settings = {"architecture": "LlamaModelForScore", "score_dim": 1, "score_type": "reward", **options}
    settings.setdefault("tok", tiny.tokenizer())
    return save(folder, "llama", tensors, **settings), lambda hidden_D: weight @ hidden_D + (shift if bias else 0.0)
