"""A pass with its options, as an object, and what MLflow keeps of it: what `Run.do` does."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from encore_ray.folder.spec import Pass

if TYPE_CHECKING:
    from encore_ray.run import Run

Made = TypeVar("Made")


@dataclass(frozen=True)
class Dataset:
    """A file that the job read: its place, the SHA-256 of its content, its rows."""

    uri: str
    digest: str
    num_rows: int


@dataclass(frozen=True)
class Record:
    """What MLflow keeps of a pass that has ended.

    Attributes:
        params, metrics, artifacts: of its own nested run; metrics at `step`.
        job_metrics, job_artifacts, job_tags: of the run of the whole job. job_curves: metrics of several steps, as
            (step, value).
        inputs: datasets that the job read.
        composer: content of a weights.json, to be logged as a model.
    """

    params: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    step: int = 0
    artifacts: Mapping[str, bytes] = field(default_factory=dict)
    job_metrics: Mapping[str, float | None] = field(default_factory=dict)
    job_curves: Mapping[str, Sequence[tuple[int, float]]] = field(default_factory=dict)
    job_artifacts: Mapping[str, bytes] = field(default_factory=dict)
    job_tags: Mapping[str, Any] = field(default_factory=dict)
    inputs: Sequence[Dataset] = ()
    composer: Mapping[str, Any] | None = None


class Step(ABC, Generic[Made]):
    """A pass with its options: what `Run.do` does.

    Attributes:
        spec: its row of `PASSES`.
        asked: facts by which results of before are refused. Where only others differ, which follow from an earlier
            pass, it is done anew without being asked; a table refuses by itself.
    """

    spec: ClassVar[Pass]
    asked: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def __call__(self, run: "Run") -> Made:
        """Do it, or find it done."""

    @property
    def called(self) -> str:
        """What the terminal calls it."""
        return self.spec.name

    def facts(self, run: "Run") -> Mapping[str, Any] | None:
        """What it would be made from, as JSON values that are known before any work.

        None for a step that looks for itself at what stands; the methods below are then not called.
        """
        return None

    def made_files(self, run: "Run") -> Sequence[str]:
        """Files of the run without which its results do not stand."""
        return self.spec.end_files

    def kept(self, made: Made) -> Any:
        """What of the result no file holds, as a JSON value."""
        return None

    def standing(self, run: "Run", kept: Any) -> Made:
        """The result as an earlier command made it."""
        raise NotImplementedError

    def numbers(self, run: "Run") -> int | None:
        """About how many numbers it reads; None for a pass with a model."""
        return None

    @property
    def paths(self) -> Sequence[str]:
        """What its workers must see, beside the run folder."""
        return ()

    def record(self, made: Made) -> Record:
        """What is kept of the result."""
        return Record()
