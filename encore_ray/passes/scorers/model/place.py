"""Where models lie: copied from an object store once a node, whole or not at all; written to a folder of their own."""

import fnmatch
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from encore_ray.errors import ConfigError, ModelError
from encore_ray.files.remote import describe, file_stamp, file_system, is_trouble
from encore_ray.models.files.cache import cache_folder, made_once
from encore_ray.models.loading.fetch import wanted_files
from encore_ray.models.spec.source import ModelSource
from encore_ray.storage import Folder, fingerprint, is_remote


def local_model(source: ModelSource) -> ModelSource:
    """What `encore_ray.models` reads a model from: a folder or hub id as it is, of a URL the copy on this machine.

    Copies lie in `~/.cache/encore-ray/models` (XDG_CACHE_HOME), one for each state of the files; actors that start
    together on a node copy once, under a lock. Nothing deletes them.

    Weights stored as pickles (*.bin) are copied where the source allows them.

    Raises:
        ModelError: the URL holds no model, cannot be read, or the copy cannot be written.
    """
    path = str(source.path)
    if not is_remote(path):
        return source
    with _copying(path):
        fs, inner = file_system(path)
        files = _model_files(fs, inner, path, allow_pickle=source.allow_pickle)
        place = cache_folder("models") / fingerprint([path, files])[:32]
        made_once(place, lambda into: _copy(fs, inner, files, into))
    return source.at(str(place))


def require_output(output: str, *, source: str, ours: Sequence[str]) -> None:
    """Make sure that a model can be written: to a local folder that is empty, or holds one that we made.

    Args:
        output: the folder.
        source: the model that it is made from.
        ours: names in the folder, of which one tells that it is ours.

    Raises:
        ConfigError: it is remote, a file, the source's own, or holds something else.
    """
    if is_remote(output):
        raise ConfigError(f"--output {output}: a model is written to a local folder. Name one, and copy it from there.")
    if Path(output).resolve() == Path(source).resolve():
        raise ConfigError(
            f"--output {output} is the folder of the model itself. Name another one for what is made of it."
        )
    if Path(output).is_file():
        raise ConfigError(f"--output {output} is a file. Name a folder for the model.")
    folder = Folder(output)
    if folder.names() and not any(map(folder.exists, ours)):
        raise ConfigError(f"{output} is not empty, and holds no model that this command made. Name another folder.")


def model_paths(model: str) -> list[str]:
    """What every node must see of a model: its folder or URL; a hub's name is each node's own affair."""
    return [model] if is_remote(model) or model.startswith("/") else []


def make_output(output: str) -> None:
    """Make the folder of a model; ConfigError where that cannot be."""
    try:
        os.makedirs(output, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"--output {output}: cannot make this folder: {error.strerror}. Name one below a folder that can be "
            "written to."
        ) from error


def _model_files(fs: Any, inner: str, path: str, *, allow_pickle: bool) -> dict[str, str]:
    """Names of the model's files relative to its folder, in order, with what tells that a file has changed."""
    patterns = wanted_files(allow_pickle=allow_pickle)
    found = fs.find(inner, detail=True)
    names = {name: name[len(inner) :].lstrip("/") for name, info in sorted(found.items()) if info["type"] == "file"}
    outside = [name for name in names.values() if ".." in PurePosixPath(name).parts]
    if outside:
        raise ModelError(f"{path} holds {outside[0]}, which would be written outside of the model's folder.")
    wanted = {name for name in names if any(fnmatch.fnmatch(name.rsplit("/", 1)[-1], each) for each in patterns)}
    if not wanted:
        raise ModelError(f"{path} holds no file of a model. Name the folder that holds config.json and *.safetensors.")
    return {relative: file_stamp(name, found[name]) for name, relative in names.items() if name in wanted}


def _copy(fs: Any, inner: str, files: dict[str, str], into: Path) -> None:
    for name in files:
        target = into / name
        target.parent.mkdir(parents=True, exist_ok=True)
        fs.get_file(f"{inner.rstrip('/')}/{name}", str(target))


@contextmanager
def _copying(path: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if is_trouble(error):
            raise ModelError(f"Cannot copy the model {path} to this machine: {describe(error)}") from error
        raise
