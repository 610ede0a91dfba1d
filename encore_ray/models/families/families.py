"""Which family a checkpoint is of: known by its tensors or files, not by what its class is called.

| family           | known by                                | its heads                                           |
|------------------|-----------------------------------------|-----------------------------------------------------|
| our own form     | encore.json                             | heads.safetensors, one linear output a rule or level |
| ArmoRM, QRM      | the tensor regression_layer.weight      | linear objectives, means over quantiles             |
| LDL              | the file regression_layer.pt            | expected levels                                     |
| Safe RLHF        | the tensor score_head.weight            | linear, normalised where its configuration says so  |
| any other        |                                         | AutoModelForSequenceClassification                  |
"""

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import nn
from transformers import PreTrainedModel

from encore_ray.errors import ModelError
from encore_ray.models.families import label_distribution, regression_layer, score_head
from encore_ray.models.families.classification import open_classifier
from encore_ray.models.families.form import OwnForm, read_form
from encore_ray.models.families.model_folder import Head, ModelFolder, Opened
from encore_ray.models.forward.heads import LinearHeads, PooledHeads
from encore_ray.models.spec.files import HEADS_FILE

# Where the tensors cannot be listed (a pickle that may not be read): its error comes from the right family.
_ARCHITECTURES = {
    "LlamaForRewardModelWithGating": regression_layer.open_regression_layer,
    "Gemma2ForQuantileSequenceClassification": regression_layer.open_regression_layer,
    "LlamaModelForScore": score_head.open_score_head,
    "LlamaForScore": score_head.open_score_head,
}
_TENSORS = {
    regression_layer.WEIGHT: regression_layer.open_regression_layer,
    score_head.WEIGHT: score_head.open_score_head,
}


def open_model(folder: ModelFolder) -> Opened:
    """What a model's heads are, and how to load it; its weights stay where they are.

    Raises:
        ModelError: of a known family, but not built as its models are.
    """
    form = read_form(folder.path)
    if form is not None:
        assert isinstance(form, OwnForm), folder.path  # members are opened one by one
        return _open_own_form(folder, form)
    if (folder.path / label_distribution.FILE).exists():
        return label_distribution.open_label_distribution(folder)
    for name, opener in _TENSORS.items():
        if name in folder.tensors:
            return opener(folder)
    for name in folder.config.architectures or ():
        if name in _ARCHITECTURES:
            return _ARCHITECTURES[name](folder)
    return open_classifier(folder)


def _open_own_form(folder: ModelFolder, form: OwnForm) -> Opened:
    file = folder.path / HEADS_FILE
    num_heads = _num_heads(file, folder.hidden_size)
    heads = tuple(Head(f"head_{o + 1}") for o in range(num_heads))

    def load(dtype: torch.dtype) -> tuple[PreTrainedModel, nn.Module]:
        return folder.load_body(dtype), PooledHeads(LinearHeads(**load_file(file)), pooling=form.pooling)

    return Opened(heads, load, template=form.template)


def _num_heads(file: Path, hidden_size: int) -> int:
    try:
        with safe_open(file, framework="pt") as tensors:
            shapes = {key: tuple(tensors.get_slice(key).get_shape()) for key in tensors.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise ModelError(f"Cannot read the heads in {file}: {error}. Save the model again.") from error
    num_heads = shapes.get("bias", (0,))[0]
    if shapes != {"weight": (num_heads, hidden_size), "bias": (num_heads,)}:
        raise ModelError(
            f"{file}: expected weight [O, {hidden_size}] and bias [O] on a backbone of hidden size {hidden_size}; "
            f"found {shapes or 'nothing'}. Save heads and backbone together."
        )
    return num_heads
