"""Writes of a training, which are large: one that fails is the user's to mend."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from encore_ray.errors import ConfigError

# A state has a weight and two moments in float32, the best weights one more; both are there twice when they change.
PEAK_BYTES = 2 * (3 * 4 + 4)


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """Raise ConfigError that names the place where a write in it fails: no room, no right."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise ConfigError(
            f"Cannot write {place}: {error}. A training needs about {PEAK_BYTES} bytes of disk a trained weight at its "
            "peak. Make room there: the same command resumes."
        ) from error
