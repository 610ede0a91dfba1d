"""What a job is refused for before a run folder is held: `run` stops at the first of it, `check` names all."""

from encore_ray.composition.scales.score_range import check_ranges
from encore_ray.config import JobConfig
from encore_ray.corpora.files.sources import SourceFile, list_files
from encore_ray.corpora.inputs import input_specs
from encore_ray.errors import ConfigError
from encore_ray.passes.scorers.choose import require_named_files
from encore_ray.passes.scorers.scorer import Scorer


def refuse_early(config: JobConfig) -> list[SourceFile]:
    """The files of a job, which nothing keeps from being started so far.

    Raises:
        ConfigError, DataError: as of the functions below, and `require_named_files`.
    """
    files = list_inputs(config)
    require_named_files(config)
    return files


def list_inputs(config: JobConfig) -> list[SourceFile]:
    """All files of a job's corpora, in their order.

    Raises:
        ConfigError, DataError: an input that is not there, or cannot be listed; one that lies in the run folder.
    """
    files = list_files(input_specs(config.inputs))
    inside = [file.uri for file in files if file.uri.startswith(config.run.rstrip("/") + "/")]
    if inside:
        raise ConfigError(
            f"The run folder {config.run} holds the input {inside[0]}: use a folder of its own for the run."
        )
    return files


def refuse_ranges(config: JobConfig, scorer: Scorer) -> None:
    """Raise DataError where scores of a scorer that knows its rules could not be added up, before any is made."""
    if config.model is not None or config.judge is not None or config.rules is not None:
        check_ranges(scorer.rules, score_range=config.weigh.score_range)
