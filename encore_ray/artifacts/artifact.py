"""What every contract file has in common: its name, the command that makes it, reading, checking and writing."""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, PrivateAttr, ValidationError, field_validator

from encore_ray.errors import DataError
from encore_ray.schema import SCHEMA_VERSION
from encore_ray.storage import Folder, to_json

MOST_NAMED = 20  # missing keys in one error


class Part(BaseModel):
    """An object within a contract file: immutable, of exactly the declared types, tolerant of further keys."""

    # A schema is built when the first file of its kind is read, so that a command pays for what it reads only.
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", defer_build=True, protected_namespaces=())


class Artifact(Part):
    """The content of one contract file.

    The attributes are the typed view of what readers rely on. `content` is the whole as it was made or read: it is what
    is written, so that a file comes back the same to the byte, with keys of other versions in their places.

    Attributes:
        FILE: its path in a run folder, or in the folder of a model. MADE_BY: the command that makes it.
        schema_version: see `encore_ray.schema`.
    """

    FILE: ClassVar[str]
    MADE_BY: ClassVar[str]

    schema_version: int
    _content: Mapping[str, Any] = PrivateAttr()

    @field_validator("schema_version")
    @classmethod
    def _is_of_this_version(cls, version: int) -> int:
        if version != SCHEMA_VERSION:
            raise ValueError(f"expected {SCHEMA_VERSION}, found {version}")
        return version

    @classmethod
    def of(cls, content: Any, *, where: str | None = None) -> Self:
        """Check what a file of this kind holds.

        Args:
            content: a JSON object.
            where: what to call the file in errors; None for its name.

        Raises:
            DataError: a key is missing or of a wrong type; it names the file, the place in it and the remedy.
        """
        try:
            artifact = cls.model_validate(content)
        except ValidationError as error:
            raise DataError(
                f"{where or cls.FILE} {_what_is_wrong(error)}: it is damaged, or of another version. Make it again "
                f"with `encore-ray {cls.MADE_BY}`."
            ) from None
        artifact._content = content
        return artifact

    @classmethod
    def read(cls, folder: Folder, name: str | None = None) -> Self:
        """Read it from a folder, under its own name or another; DataError where it is missing, damaged or not whole."""
        name = name or cls.FILE
        return cls.of(folder.read_json(name), where=folder.path(name))

    def write(self, folder: Folder) -> None:
        folder.write_atomic(self.FILE, self.to_json())

    def to_json(self) -> bytes:
        """The bytes of the file."""
        return to_json(self._content)

    @property
    def content(self) -> Mapping[str, Any]:
        """The whole JSON object, not to be changed."""
        return self._content


def _what_is_wrong(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    places = [".".join(map(str, each["loc"])) for each in found]
    missing = [place for place, each in zip(places, found, strict=True) if each["type"] == "missing"]
    if missing:
        more = f" and {len(missing) - MOST_NAMED} more" if len(missing) > MOST_NAMED else ""
        return f"lacks {', '.join(missing[:MOST_NAMED])}{more}"
    place = f"{places[0]}: " if places[0] else ""
    said = "not a JSON object" if found[0]["type"] == "model_type" else found[0]["msg"].removeprefix("Value error, ")
    return f"cannot be read ({place}{said})"
