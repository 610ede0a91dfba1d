"""transformers' loaders, with nothing missing, nothing unsafe, and errors that say what to do."""

import contextlib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoTokenizer, PretrainedConfig, PreTrainedModel
from transformers.utils import logging as transformers_logging

from encore_ray.errors import ModelError
from encore_ray.models.files.foreign import foreign
from encore_ray.models.files.ledger import SHOWN, shown
from encore_ray.models.spec.files import ADAPTER_FILE
from encore_ray.models.spec.source import ModelSource


def load_model_config(source: ModelSource) -> PretrainedConfig:
    """config.json of a model on this machine; ModelError if it is not there or needs code that is not trusted."""
    _refuse_outer(Path(source.path))
    with foreign(source.path, "configuration"):
        return AutoConfig.from_pretrained(source.path, trust_remote_code=source.trust_remote_code)


def _refuse_outer(folder: Path) -> None:
    """ModelError for a folder that holds no model, but others that do."""
    if not folder.is_dir() or (folder / "config.json").exists():
        return
    inner = sorted({file.parent.name for kind in ("config.json", ADAPTER_FILE) for file in folder.glob(f"*/{kind}")})
    if inner:
        raise ModelError(f"{folder} has no config.json. Models lie in its folders {shown(inner)}: name one of them.")


def load_tokenizer(source: ModelSource) -> Any:
    """The tokenizer of a model on this machine; ModelError if it cannot be loaded."""
    with foreign(source.path, "tokenizer"):
        return AutoTokenizer.from_pretrained(source.path, trust_remote_code=source.trust_remote_code)


def load_weights(
    auto_class: Any, source: ModelSource, *, dtype: torch.dtype, split: bool = False, num_labels: int | None = None
) -> PreTrainedModel:
    """Load a model of which every single weight is in the files.

    transformers fills a weight that it does not find with random numbers and a warning; here it is an error.

    Args:
        auto_class: a transformers auto class, as AutoModel.
        source: a folder on this machine; weights that are not safetensors are accepted where it allows pickles.
        dtype: of all weights.
        split: spread it over all GPUs that the process sees, by transformers' device map; else it lies on the CPU.
        num_labels: of a classifier whose config.json does not say.

    Raises:
        ModelError: unreadable, unsafe, or a weight is missing or has another shape (all are named).
    """
    if split and find_spec("accelerate") is None:
        raise ModelError(
            "A model over several GPUs needs the package accelerate: install encore-ray[multi-gpu] on every node."
        )
    with foreign(source.path, "weights"), no_progress_bar():
        model, info = auto_class.from_pretrained(
            source.path,
            dtype=dtype,
            trust_remote_code=source.trust_remote_code,
            use_safetensors=None if source.allow_pickle else True,
            ignore_mismatched_sizes=True,  # so that they come back in `info` with the missing ones
            output_loading_info=True,
            device_map="auto" if split else None,
            **({} if num_labels is None else {"num_labels": num_labels}),
        )
    offloaded = {"cpu", "disk"} & set(map(str, getattr(model, "hf_device_map", {}).values()))
    if split and offloaded and torch.cuda.is_available():
        raise ModelError(
            f"{source.path} does not fit into the memory of {torch.cuda.device_count()} GPUs: parts of it would lie on "
            f"{' and '.join(sorted(offloaded))}, a hundred times slower. Give each actor more (--gpus-per-actor)."
        )
    problems = [f"{key} is missing" for key in sorted(info["missing_keys"])]
    problems += [
        f"{key} has the shape {list(found)}, not {list(expected)}"
        for key, found, expected in sorted(info["mismatched_keys"])
    ]
    if problems:
        raise refuse_missing(source.path, type(model).__name__, problems)
    for config in {
        id(part.config): part.config for part in model.modules() if isinstance(part, PreTrainedModel)
    }.values():
        # Of a training: tuples instead of named outputs, and states of every layer, which take memory.
        config.return_dict, config.output_hidden_states = True, False
    return model


@contextlib.contextmanager
def no_progress_bar() -> Iterator[None]:
    """Without transformers' progress bars, of which every actor would print one into the job's log."""
    was_on = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_on:
            transformers_logging.enable_progress_bar()


def refuse_missing(
    folder: str | Path, class_name: str, problems: list[str], advice: str | None = None, *, of_another: bool = False
) -> ModelError:
    """For weights that a class has and the files lack, or have in another shape: then often `of_another` model."""
    default = (
        "config.json and the weight files are not of the same model: fetch or save it again."
        if of_another
        else "Give a checkpoint with trained heads, not a base model."
    )
    listed = "; ".join(problems[:SHOWN]) + (f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else "")
    return ModelError(
        f"{folder} does not hold all weights of {class_name}: {listed}. transformers would have made them up. "
        f"{advice or default}"
    )


# What each way of quantising needs; the others come with transformers, or say themselves what is missing.
_QUANTISERS = {
    "aqlm": "aqlm",
    "auto-round": "auto_round",
    "awq": "gptqmodel",
    "bitsandbytes": "bitsandbytes",
    "compressed-tensors": "compressed_tensors",
    "eetq": "eetq",
    "fbgemm_fp8": "fbgemm_gpu",
    "gptq": "gptqmodel",
    "higgs": "flute",
    "hqq": "hqq",
    "quark": "quark",
    "torchao": "torchao",
    "vptq": "vptq",
}


def is_quantised(config: PretrainedConfig, folder: str | Path) -> bool:
    """Whether weights are not stored as numbers; ModelError where the package that reads them is not there."""
    stated = getattr(config, "quantization_config", None)
    if not stated:
        return False
    method = stated.get("quant_method") if isinstance(stated, dict) else getattr(stated, "quant_method", None)
    name = str(getattr(method, "value", method))
    package = _QUANTISERS.get(name)
    if package and find_spec(package) is None:
        raise ModelError(
            f"The weights of the model in {folder} are quantised ({name}), which needs the package {package}: install "
            "it on every node, or score another copy of the model."
        )
    return True
