"""Saved models that transformers 4 reads as transformers 5 does: OpenRLHF, LLaMA-Factory, verl and vLLM images pin it.

Two things that transformers 5 writes say something else to 4.57, or nothing:

- `tokenizer_class: TokenizersBackend` is not known there. PreTrainedTokenizerFast is the same thing in both, for a
  tokenizer.json lies beside. A list of `extra_special_tokens` is called `additional_special_tokens` there.
- `rope_parameters` is not read there: positions are then those of a base of 10,000 without scaling, in silence. The
  older keys are written beside it; both versions take what they know, and both mean the same.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_PLAIN_CLASS = "PreTrainedTokenizerFast"
_NEW_CLASSES = ("TokenizersBackend", "PythonBackend", "SentencePieceBackend", "TokenizersBackendFast")
# Where a model type calls the base of its positions, or the share of a head that they turn, otherwise.
_THETA = {"gpt_neox": "rotary_emb_base"}
_SHARE = {"gpt_neox": "rotary_pct"}
# Base by kind of layer, for models that have two: (of full attention, of sliding attention).
_THETAS = {"modernbert": ("global_rope_theta", "local_rope_theta")}
_TWO_THETAS = ("rope_theta", "rope_local_base_freq")  # of Gemma 3


def make_legible(folder: Path) -> None:
    """Rewrite the configurations of a model that transformers 5 has just saved; weights stay as they are."""
    for name, rewrite in (("tokenizer_config.json", _tokenizer), ("config.json", _model)):
        file = folder / name
        if file.exists():
            content = json.loads(file.read_text(encoding="utf-8"))
            rewritten = rewrite(content, folder)
            if rewritten != content:
                file.write_text(json.dumps(rewritten, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _tokenizer(config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    changed = dict(config)
    if (folder / "tokenizer.json").exists() and config.get("tokenizer_class") in _NEW_CLASSES:
        changed["tokenizer_class"] = _PLAIN_CLASS
    if isinstance(config.get("extra_special_tokens"), list):
        changed["additional_special_tokens"] = changed.pop("extra_special_tokens")
    return changed


def _model(config: Mapping[str, Any], _folder: Path) -> dict[str, Any]:
    changed = {**config, **_older_ropes(config)}
    text = config.get("text_config")
    if isinstance(text, dict):
        changed["text_config"] = {**text, **_older_ropes(text)}
    return changed


def _older_ropes(config: Mapping[str, Any]) -> dict[str, Any]:
    ropes, kind = config.get("rope_parameters"), str(config.get("model_type"))
    if not isinstance(ropes, dict):
        return {}
    if all(isinstance(each, dict) for each in ropes.values()) and ropes:
        names = _THETAS.get(kind, _TWO_THETAS)
        places = ("full_attention", "sliding_attention")
        older = {
            name: ropes[place]["rope_theta"]
            for name, place in zip(names, places, strict=True)
            if "rope_theta" in ropes.get(place, {})
        }
        return {**older, **_scaling(ropes.get("full_attention", {}))}
    older = {} if "rope_theta" not in ropes else {_THETA.get(kind, "rope_theta"): ropes["rope_theta"]}
    if "partial_rotary_factor" in ropes:
        older[_SHARE.get(kind, "partial_rotary_factor")] = ropes["partial_rotary_factor"]
    return {**older, **_scaling(ropes)}


def _scaling(ropes: Mapping[str, Any]) -> dict[str, Any]:
    if ropes.get("rope_type", "default") == "default":
        return {}
    kept = {key: value for key, value in ropes.items() if key not in ("rope_theta", "partial_rotary_factor")}
    return {"rope_scaling": kept}
