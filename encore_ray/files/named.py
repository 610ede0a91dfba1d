"""Files that a person names: read, and one that is not there is told with the one that was likely meant."""

import difflib
import glob
import os
from pathlib import Path

from encore_ray.errors import ConfigError

_CLOSE = 0.75  # of `difflib`: from there on two names are taken for one that is mistyped
_MOST_NAMES = 10_000  # of a folder that are looked at


def read_named(path: str | Path, *, what: str) -> bytes:
    """The content of a local file.

    Args:
        what: it is to be, as "the rules in", for the message.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise ConfigError(f"Cannot read {what} {path}: no such file.{meant(str(path))}") from None
    except IsADirectoryError:
        raise ConfigError(f"Cannot read {what} {path}: it is a folder. Name the file in it.") from None
    except OSError as error:
        raise ConfigError(f"Cannot read {what} {path}: {error.strerror or error}.") from None


def meant(path: str) -> str:
    """What to say behind a path that is not there: " Did you mean ...?" where one of a close name is; else "".

    A URL, and a pattern of several names, has none.
    """
    found = None if "://" in path or glob.has_magic(path) else _close_path(path)
    return f" Did you mean {found}?" if found else ""


def _close_path(path: str) -> str | None:
    """The path with its first part that is not there replaced by the closest name in its folder, if that is there."""
    parts = path.split("/")
    for number, part in enumerate(parts):
        above = "/".join(parts[:number])
        folder = f"{above}/" if number else ""
        if not part or os.path.lexists(folder + part):
            continue
        try:
            with os.scandir(folder or ".") as entries:
                names = [entry.name for entry, _ in zip(entries, range(_MOST_NAMES), strict=False)]
        except OSError:
            return None
        for name in _close_names(part, names):
            found = "/".join([*parts[:number], name, *parts[number + 1 :]])
            if os.path.exists(found):
                return found
        return None
    return None


def _close_names(name: str, names: list[str]) -> list[str]:
    """Names that this one may be a slip of, closest first: the same ending makes no two of them alike."""
    stem, ending = os.path.splitext(name.lower())

    def likeness(other: str) -> tuple[float, bool]:
        other_stem, other_ending = os.path.splitext(other.lower())
        are_turned = sorted(stem) == sorted(other_stem)  # letters that changed places
        alike = 1.0 if are_turned else difflib.SequenceMatcher(None, stem, other_stem).ratio()
        return (0.0 if ending and not other_ending else alike), ending == other_ending

    found = {other: likeness(other) for other in names if not other.startswith(".")}
    close = [other for other, (alike, _) in found.items() if alike >= _CLOSE]
    return sorted(close, key=lambda other: (found[other], other), reverse=True)
