"""The border to code that is not ours: transformers, tokenizers, safetensors and models' own code may raise anything.

What it raises becomes a ModelError here, and nowhere else: one sentence with what to do.
"""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import torch
import transformers

from encore_ray.errors import EncoreError, ModelError

_PACKAGES = (
    r"packages that were not found in your environment: ([\w, -]+?)\. Run",  # of a model's own code
    r"[Nn]o module named '?([\w-]+)",
    r"requires (?:the |`)?([\w-]+)`? (?:library|package|to be installed)",
    r"package ([\w-]+) seems to be not installed",
    r"pip install (?:-U |--upgrade )?[`'\"]?([\w-]+)",
)


@contextlib.contextmanager
def foreign(folder: str | Path, what: str) -> Iterator[None]:
    """Run others' code that reads a part of a model.

    Args:
        folder: of the model, for the error.
        what: of it is read: `configuration`, `tokenizer`, `weights`.

    Raises:
        ModelError: instead of whatever is raised, but for our own errors and for memory that runs out.
    """
    try:
        yield
    except (EncoreError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise explain(error, folder, what=what) from error


def explain(error: Exception, folder: str | Path, *, what: str) -> ModelError:
    """An error of others' code, in words of what a user can do about it."""
    text = " ".join(str(error).split())
    if "trust_remote_code" in text:
        return ModelError(
            f"The model in {folder} comes with Python code of its own, which is not run unless you say so. Read the "
            "code, then set trust_remote_code (--trust-remote-code)."
        )
    package = _missing_package(error, text)
    if package:
        return ModelError(
            f"The {what} of the model in {folder} needs the package {package}, which is not installed here: install it "
            "on every node, or score another copy of the model."
        )
    if what == "weights" and not any(Path(folder).glob("*.safetensors")):
        return ModelError(
            f"{folder} holds no *.safetensors weights. Pickled weights can run code when loaded: convert them, or "
            "set allow_pickle (--allow-pickle) if you trust their source."
        )
    if isinstance(error, KeyError):
        text = f"{text} is not known to transformers {transformers.__version__}"
    kind = "" if isinstance(error, OSError | ValueError | KeyError) else f"{type(error).__name__}: "
    return ModelError(
        f"Cannot load the {what} of the model in {folder}: {kind}{text[:600].rstrip('.')}. Fetch or save the model "
        "again, or install the version of transformers that it was made with."
    )


def _missing_package(error: Exception, text: str) -> str | None:
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ImportError):
        cause = cause.__cause__
    if cause is None:
        return None
    if isinstance(cause, ModuleNotFoundError) and cause.name:
        return cause.name.partition(".")[0]
    for pattern in _PACKAGES:
        found = re.search(pattern, f"{text} {cause}")
        if found:
            return found[1].strip()
    return None
