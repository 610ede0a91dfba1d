"""Which device a model is loaded to, and in which type."""

import torch

from encore_ray.errors import ModelError
from encore_ray.models.spec.load_options import Device, Dtype, LoadOptions


def find_device(device: Device) -> torch.device:
    """The device of that name; auto: the GPU that this process sees, else the CPU.

    Raises:
        ModelError: cuda is asked for where there is none.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise ModelError("device is cuda, but this process sees no CUDA device. Use device auto or cpu.")
    return torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")


def take_device(options: LoadOptions) -> torch.device:
    """The device of a model that is about to be loaded; of a GPU's memory no more than its share from now on."""
    device = find_device(options.device)
    if options.gpu_share < 1 and device.type == "cuda":
        torch.cuda.set_per_process_memory_fraction(options.gpu_share)
    return device


def find_dtype(dtype: Dtype, device: torch.device) -> torch.dtype:
    """The type of that name; auto: bfloat16 on a GPU, else float32."""
    if dtype == "auto":
        dtype = "bfloat16" if device.type == "cuda" else "float32"
    return getattr(torch, dtype)
