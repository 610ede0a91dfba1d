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
from encore_ray.models.spec.source import ModelSource


def load_model_config(source: ModelSource) -> PretrainedConfig:
    """config.json of a model on this machine; ModelError if it is not there or needs code that is not trusted."""
    try:
        return AutoConfig.from_pretrained(source.path, trust_remote_code=source.trust_remote_code)
    except (OSError, ValueError) as error:
        raise _explain(error, source.path, what="configuration") from error


def load_tokenizer(source: ModelSource) -> Any:
    """The tokenizer of a model on this machine; ModelError if it cannot be loaded."""
    try:
        return AutoTokenizer.from_pretrained(source.path, trust_remote_code=source.trust_remote_code)
    except (OSError, ValueError) as error:
        raise _explain(error, source.path, what="tokenizer") from error


def load_weights(auto_class: Any, source: ModelSource, *, dtype: torch.dtype, split: bool = False) -> PreTrainedModel:
    """Load a model of which every single weight is in the files.

    transformers fills a weight that it does not find with random numbers and a warning; here it is an error.

    Args:
        auto_class: a transformers auto class, as AutoModel.
        source: a folder on this machine; weights that are not safetensors are accepted where it allows pickles.
        dtype: of all weights.
        split: spread it over all GPUs that the process sees, by transformers' device map; else it lies on the CPU.

    Raises:
        ModelError: unreadable, unsafe, or a weight is missing or has another shape (all are named).
    """
    if split and find_spec("accelerate") is None:
        raise ModelError(
            "A model over several GPUs needs the package accelerate: install encore-ray[multi-gpu] on every node."
        )
    try:
        with no_progress_bar():
            model, info = auto_class.from_pretrained(
                source.path,
                dtype=dtype,
                trust_remote_code=source.trust_remote_code,
                use_safetensors=None if source.allow_pickle else True,
                ignore_mismatched_sizes=True,  # so that they come back in `info` with the missing ones
                output_loading_info=True,
                device_map="auto" if split else None,
            )
    except (OSError, ValueError, RuntimeError) as error:
        raise _explain(error, source.path, what="weights") from error
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
        shown = "; ".join(problems[:8]) + (f"; and {len(problems) - 8} more" if len(problems) > 8 else "")
        raise ModelError(
            f"{source.path} does not hold all weights of {type(model).__name__}: {shown}. transformers would have made "
            "them up. Give a checkpoint with trained heads, not a base model."
        )
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


def _explain(error: Exception, folder: str | Path, *, what: str) -> ModelError:
    text = str(error)
    if "trust_remote_code" in text:
        return ModelError(
            f"The model in {folder} comes with Python code of its own, which is not run unless you say so. Read the "
            "code, then set trust_remote_code (--trust-remote-code)."
        )
    if what == "weights" and not any(Path(folder).glob("*.safetensors")):
        return ModelError(
            f"{folder} holds no *.safetensors weights. Pickled weights can run code when loaded: convert them, or "
            "set allow_pickle (--allow-pickle) if you trust their source."
        )
    return ModelError(f"Cannot load the {what} of the model in {folder}: {text.strip()}")
