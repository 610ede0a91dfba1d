"""Folders that others write beside their data: what in them is data, and what only describes it."""

import json
from collections.abc import Iterable
from typing import Any

from encore_ray.errors import DataError

STATE, INFO, SPLITS = "state.json", "dataset_info.json", "dataset_dict.json"
INFOS = "dataset_infos.json"  # of all configurations of a repository, as the hub had it


def data_files(fs: Any, names: Iterable[str]) -> set[str]:
    """Files of a folder that hold data.

    A folder that `datasets` saved by save_to_disk says in state.json which files hold it: others there are caches.
    A dataset_info.json or dataset_dict.json beside data describes it; LLaMA-Factory's data have one, too.

    Raises:
        DataError: a state.json that cannot be read.
    """
    by_folder: dict[str, set[str]] = {}
    for name in names:
        folder, _, last = name.rpartition("/")
        by_folder.setdefault(folder, set()).add(last)
    kept: set[str] = set()
    for folder, files in by_folder.items():
        if {STATE, INFO} <= files:
            files &= _listed(fs, f"{folder}/{STATE}")
        kept |= {f"{folder}/{last}" for last in files - {INFO, INFOS, SPLITS}}
    return kept


def _listed(fs: Any, name: str) -> set[str]:
    with fs.open(name, "rb") as handle:
        try:
            return {item["filename"] for item in json.load(handle)["_data_files"]}
        except (ValueError, KeyError, TypeError):
            raise DataError(f"Cannot read {name}: it does not say which files hold the data. Save it again.") from None
