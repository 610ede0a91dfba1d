"""Where files lie that a machine keeps of models: copies, merged adapters, digests."""

import os
import tempfile
from pathlib import Path


def cache_folder(name: str) -> Path:
    """A folder below `~/.cache/encore-ray`, or below that of XDG_CACHE_HOME; of a user without a home, temporary."""
    given = os.environ.get("XDG_CACHE_HOME")
    try:
        cache = Path(given) if given else Path.home() / ".cache"
    except RuntimeError:  # a number without an account, as in containers
        cache = Path(tempfile.gettempdir(), f"cache-{os.getuid()}")
    return cache / "encore-ray" / name
