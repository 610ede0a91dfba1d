"""How a model is run once it is known which: the type, device, length and budget of its forward passes."""

from dataclasses import dataclass, field
from typing import Literal

from encore_ray.models.spec.conversation import Reading

Device = Literal["auto", "cpu", "cuda"]
Dtype = Literal["auto", "float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class LoadOptions:
    """How a model is loaded and fed.

    Attributes:
        dtype: of the body; `auto` is bfloat16 on CUDA and float32 elsewhere. Heads are float32 always.
        device: `auto` is CUDA where there is one.
        max_length: longest conversation in tokens; None: what the model allows, at most 8192.
        batch_tokens: token budget of a forward pass; None: the default of the device.
        compile: compile the body by torch.compile, at its first forward pass.
        split: spread the body over all GPUs that this process sees; needs accelerate.
        gpu_share: of one GPU's memory, where several actors share it.
        reading: how conversations are read.
    """

    dtype: Dtype = "auto"
    device: Device = "auto"
    max_length: int | None = None
    batch_tokens: int | None = None
    compile: bool = False
    split: bool = False
    gpu_share: float = 1.0
    reading: Reading = field(default_factory=Reading)
