"""LoRA adapters as the models that they make: merged into their base once a machine, and read like any other folder.

An adapter is a folder with `adapter_config.json`: low-rank matrices, and whole weights for what was trained beside
them (`modules_to_save`, as the head for scores). W becomes W + scaling * B A, added up in float32. transformers takes
the base alone where peft is not installed; here peft is not needed, and what is not plain LoRA is refused.

Source: LoRA, arXiv 2106.09685; rank-stabilised scaling, arXiv 2312.03732; github.com/huggingface/peft.
"""

import hashlib
import json
import math
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from encore_ray.errors import ModelError
from encore_ray.models.files.cache import cache_folder, made_once
from encore_ray.models.files.digests import file_digest
from encore_ray.models.files.foreign import foreign
from encore_ray.models.files.stores import HEADS, Stored, list_tensors, refuse_empty
from encore_ray.models.spec.files import ADAPTER_FILE, FORM_FILE, RULES_FILE

WEIGHTS, PICKLED = "adapter_model.safetensors", "adapter_model.bin"

_OWN_FILES = (ADAPTER_FILE, WEIGHTS, PICKLED, "README.md")
_WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".gguf")
_HEADS_OF_BASE = (RULES_FILE, FORM_FILE)  # of heads that the adapter may have replaced
_TOKENIZER = re.compile(r"(token|vocab|merges|special|added|chat_)")
_MERGED_BY = b"5"  # another one for another way of merging: what was made by this one is not found
_SHARD_BYTES = 4_000_000_000
# How matrices were begun: any other way takes from the base's weights what it puts into the matrices.
_BEGINNINGS = (None, True, False, "gaussian", "eva", "orthogonal")
# Settings under which an adapter is more than low-rank matrices beside whole weights.
_BEYOND = (
    "use_dora",
    "lora_bias",
    "alora_invocation_tokens",
    "layer_replication",
    "megatron_config",
    "target_parameters",
    "trainable_token_indices",
    "use_qalora",
    "use_bdlora",
)
_SOME_LAYERS = ("layers_to_transform", "layers_pattern", "exclude_modules")
_MATRIX = re.compile(r"^(?P<module>.+)\.lora_(?P<side>A|B)(\.\w+)?(\.weight)?$")
_EMBEDDING = re.compile(r"^(?P<module>.+)\.lora_embedding_(?P<side>A|B)(\.\w+)?$")
_EMBEDDINGS = re.compile(r"(^|\.)(embed_tokens|wte|word_embeddings|embed_in)\.weight$")
# What stands before a weight's own name: of peft, also twice, and of what a trainer puts around a model.
_WRAPPERS = re.compile(r"^((base_model\.model|module|_orig_mod)\.)+")
_REPLACED = re.compile(r"\.original_module(\.\w+)?\.")  # the base's own, beside what was trained in its place


def merged_folder(folder: Path, *, fetch: Callable[[str, str | None], Path], allow_pickle: bool) -> Path:
    """The folder of the model that an adapter makes: its base with the adapter merged, made once and kept.

    Merged models lie in `~/.cache/encore-ray/merged` (XDG_CACHE_HOME), one for each state of the files; actors that
    start together on a node merge once, under a lock. Nothing deletes them.

    Args:
        folder: with adapter_config.json.
        fetch: the local folder of a base, by its name and revision.
        allow_pickle: read weights stored as pickles.

    Raises:
        ModelError: no plain LoRA, a base that is not to be had, or a tensor that has no place in it.
    """
    config = _config(folder)
    base = _base(folder, config, fetch)
    place = cache_folder("merged") / _state(folder, base)
    return made_once(place, lambda into: _merge(folder, base, config, into, allow_pickle=allow_pickle))


def _refusal(folder: Path, base: object, reason: str) -> ModelError:
    return ModelError(
        f"{folder} is a PEFT adapter of {base}: {reason}. Merge it with peft (merge_and_unload), save the whole model "
        "with its tokenizer, and score that."
    )


def _config(folder: Path) -> Mapping[str, Any]:
    try:
        config = json.loads((folder / ADAPTER_FILE).read_text(encoding="utf-8"))
        base, kind = config.get("base_model_name_or_path"), config.get("peft_type")
    except (ValueError, AttributeError) as error:
        raise ModelError(f"{folder / ADAPTER_FILE} is damaged: {error}. Fetch or save the adapter again.") from error
    if not base:
        raise _refusal(folder, "a base that it does not name", "base_model_name_or_path is empty")
    if kind != "LORA":
        raise _refusal(folder, base, f"it is of the kind {kind}, and LORA alone is known here")
    beginning = config.get("init_lora_weights")
    if beginning not in _BEGINNINGS:
        raise _refusal(folder, base, f"init_lora_weights is {beginning!r}, which changes the base's own weights, too")
    more = [key for key in _BEYOND if config.get(key)]
    if config.get("bias", "none") != "none":
        more.append("bias")
    if more:
        raise _refusal(folder, base, f"it is more than plain LoRA ({', '.join(more)})")
    return config


def _base(folder: Path, config: Mapping[str, Any], fetch: Callable[[str, str | None], Path]) -> Path:
    name = str(config["base_model_name_or_path"])
    for place in (Path(name).expanduser(), folder / name):
        if place.is_dir() and place.resolve() != folder.resolve():
            base = place.resolve()
            break
    else:
        try:
            base = fetch(name, config.get("revision"))
        except ModelError as error:
            reason = f"its base is not to be had ({error})"
            beside = " What lies beside it as weights may be the base or the merged model: nothing says which."
            raise _refusal(folder, name, reason + (beside if any(folder.glob("model*.safetensors")) else "")) from error
    if (base / ADAPTER_FILE).exists():
        raise _refusal(folder, name, "its base is an adapter itself")
    return base


def _state(folder: Path, base: Path) -> str:
    """A name for an adapter and its base as they are now."""
    sha = hashlib.sha256(_MERGED_BY)
    for file in (file for part in (folder, base) for file in sorted(part.iterdir()) if file.is_file()):
        sha.update(f"{file.parent == base} {file.name} {file_digest(file)[0]}\n".encode())
    return sha.hexdigest()[:32]


@dataclass
class _Update:
    """What an adapter does to one weight of its base."""

    a: Tensor | None = None
    b: Tensor | None = None
    is_embedding: bool = False


def _merge(folder: Path, base: Path, config: Mapping[str, Any], place: Path, *, allow_pickle: bool) -> None:
    def read_pickle(file: Path) -> dict[str, Tensor]:
        if not allow_pickle:
            raise ModelError(
                f"{file} is a pickle, which can run code when loaded. Set allow_pickle (--allow-pickle) if you trust "
                "its source."
            )
        with foreign(file.parent, f"weights ({file.name})"):
            return torch.load(file, map_location="cpu", weights_only=True)

    stored = list_tensors(base, read_pickle=read_pickle, allow_pickle=allow_pickle)
    if not stored:
        raise _refusal(folder, base, "its base holds no *.safetensors weights")
    tensors = _adapter_tensors(folder, read_pickle)
    updates, whole = _sorted_out(folder, base, tensors, stored)
    _check_effect(folder, base, config, updates, whole, stored)
    written: dict[str, str] = {}
    shard: dict[str, Tensor] = {}

    def flush() -> None:
        name = f"model-{len(set(written.values())) + 1:05}.safetensors"
        save_file({key: tensor.contiguous().clone() for key, tensor in shard.items()}, place / name, {"format": "pt"})
        written.update(dict.fromkeys(shard, name))
        shard.clear()

    for name in sorted(set(stored) | set(whole)):
        weight = whole[name] if name in whole else _read(stored[name].file, name, read_pickle)
        if name in updates:
            weight = _updated(folder, base, name, weight, updates[name], config)
        shard[name] = weight
        if sum(each.numel() * each.element_size() for each in shard.values()) > _SHARD_BYTES:
            flush()
    flush()
    index = {"metadata": {}, "weight_map": written}
    (place / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    _copy_others(folder, base, place)
    _state_vocabulary(place, stored, whole)


def _state_vocabulary(place: Path, stored: Mapping[str, Stored], whole: Mapping[str, Tensor]) -> None:
    """Write how many tokens a merged model has, where its adapter brings embeddings of another number of them."""
    file = place / "config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    part = config if "vocab_size" in config else config.get("text_config", config)
    for name, tensor in whole.items():
        shape = stored[name].shape if name in stored else None
        if shape and _EMBEDDINGS.search(name) and shape[0] == part.get("vocab_size") and shape[1:] == tensor.shape[1:]:
            part["vocab_size"] = len(tensor)
            file.write_text(json.dumps(config), encoding="utf-8")
            return


def _read(file: Path, name: str, read_pickle: Callable[[Path], Mapping[str, Tensor]]) -> Tensor:
    if file.suffix != ".safetensors":
        return read_pickle(file)[name]
    with foreign(file.parent, f"tensor {name}"), safe_open(file, framework="pt") as tensors:
        return tensors.get_tensor(name)


def _adapter_tensors(folder: Path, read_pickle: Callable[[Path], Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
    if (folder / WEIGHTS).exists():
        with foreign(folder, f"weights ({WEIGHTS})"):
            tensors: Mapping[str, Tensor] = load_file(folder / WEIGHTS)
    elif (folder / PICKLED).exists():
        tensors = read_pickle(folder / PICKLED)
    else:
        raise ModelError(
            f"{folder} is a PEFT adapter without its weights: {WEIGHTS} is missing. Fetch or save it again."
        )
    for name in HEADS:  # of LLaMA-Factory
        if (folder / name).exists():
            with foreign(folder, f"weights ({name})"):
                is_safe = name.endswith(".safetensors")
                heads = load_file(folder / name) if is_safe else read_pickle(folder / name)
            tensors = {**heads, **tensors}
            break
    refuse_empty(folder, {name: tuple(tensor.shape) for name, tensor in tensors.items()})
    return tensors


def _sorted_out(
    folder: Path, base: Path, tensors: Mapping[str, Tensor], stored: Mapping[str, Stored]
) -> tuple[dict[str, _Update], dict[str, Tensor]]:
    """The adapter's tensors by the weight of the base that they change, and those that stand for a whole weight."""
    updates: dict[str, _Update] = {}
    whole: dict[str, Tensor] = {}
    lost: list[str] = []
    for name, tensor in tensors.items():
        if _REPLACED.search(name):
            continue
        plain = _WRAPPERS.sub("", name)
        found = _MATRIX.match(plain) or _EMBEDDING.match(plain)
        if not found:
            plain = re.sub(r"\.modules_to_save(\.default)?\.", ".", plain).replace(".base_layer.", ".")
            whole[_in_base(plain, stored) or plain] = tensor
            continue
        target = _in_base(f"{found['module']}.weight", stored)
        if target is None:
            lost.append(name)
            continue
        update = updates.setdefault(target, _Update())
        update.is_embedding = "lora_embedding" in plain
        setattr(update, found["side"].lower(), tensor)
    lost += [name for name, update in updates.items() if update.a is None or update.b is None]
    if lost:
        raise _refusal(folder, base, f"{len(lost)} of its tensors have no place in it ({', '.join(lost[:5])})")
    return updates, whole


def _check_effect(
    folder: Path,
    base: Path,
    config: Mapping[str, Any],
    updates: Mapping[str, _Update],
    whole: Mapping[str, Tensor],
    stored: Mapping[str, Stored],
) -> None:
    """Refuse an adapter that would leave the base, or what was trained beside its matrices, as they were."""
    problems = []
    if not updates and not whole:
        problems.append("its weights file holds no tensor")
    if updates and not any(bool(update.b.any()) for update in updates.values() if update.b is not None):
        problems.append("all of its B matrices are 0, as before training")
    targets = config.get("target_modules")
    if isinstance(targets, list) and not any(config.get(key) for key in _SOME_LAYERS):
        ends = tuple(f".{target}.weight" for target in targets)
        meant = [name for name in stored if f".{name}".endswith(ends) and name not in whole]
        if lost := [name for name in meant if name not in updates]:
            problems.append(f"{len(lost)} of {len(meant)} weights that it was trained for have no matrices in its file")
    for module in config.get("modules_to_save") or ():
        within = re.compile(rf"(^|\.){re.escape(module)}\.")
        if any(map(within.search, stored)) and not any(map(within.search, whole)):
            problems.append(f"{module}, which was trained beside its matrices (modules_to_save), is not in its file")
    if problems:
        raise ModelError(
            f"{folder} is a PEFT adapter of {base} that was not saved as it was trained: {'; '.join(problems)}. Scores "
            "would be the base's. Save it again from the training, or score the base by its own name."
        )


def _in_base(name: str, stored: Mapping[str, Stored]) -> str | None:
    """The name that a weight has in the base's files, with or without the prefix of its body."""
    tail = name.partition(".")[2]
    heads = sorted({each.partition(".")[0] for each in stored})
    return next((each for each in (name, tail, *(f"{head}.{name}" for head in heads)) if each in stored), None)


def _updated(folder: Path, base: Path, name: str, weight: Tensor, update: _Update, config: Mapping[str, Any]) -> Tensor:
    assert update.a is not None and update.b is not None, name
    delta = update.b.float() @ update.a.float()
    if update.is_embedding or config.get("fan_in_fan_out"):
        delta = delta.T
    if delta.shape != weight.shape:
        raise _refusal(folder, base, f"{name} has the shape {list(weight.shape)} there and {list(delta.shape)} here")
    module = name.removesuffix(".weight")
    rank = _by_pattern(config.get("rank_pattern"), module, config["r"])
    alpha = _by_pattern(config.get("alpha_pattern"), module, config["lora_alpha"])
    if rank != len(update.a):
        raise _refusal(folder, base, f"{name} has the rank {len(update.a)}, its configuration says {rank}")
    scaling = alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank
    return (weight.float() + scaling * delta).to(weight.dtype)


def _by_pattern(patterns: Mapping[str, Any] | None, module: str, default: Any) -> Any:
    """As peft finds a module's own rank: by the end of its name, dots as they are."""
    for pattern, value in (patterns or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", module):
            return value
    return default


def _copy_others(folder: Path, base: Path, place: Path) -> None:
    """Configuration, tokenizer and rules: the adapter's own where it has them, else the base's."""
    has_tokenizer = (folder / "tokenizer_config.json").exists()
    for source in (base, folder):
        for file in sorted(source.iterdir()):
            name = file.name
            is_weights = file.suffix in _WEIGHT_SUFFIXES or name.endswith(".index.json")
            stays = name in _HEADS_OF_BASE or (has_tokenizer and _TOKENIZER.match(name)) if source == base else False
            if file.is_file() and not is_weights and not stays and name not in _OWN_FILES:
                shutil.copyfile(file, place / name)
