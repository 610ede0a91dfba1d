"""The configuration of a whole job: its sections together."""

from collections.abc import Collection, Mapping
from typing import Any

import yaml
from pydantic import Field, field_validator, model_validator

from encore_ray.config.scoring import ClusterOptions, InputOptions, PrepareOptions, RateOptions, ScoreOptions
from encore_ray.config.section import Section
from encore_ray.config.training import FitHeadsOptions, RefineOptions, TrainOptions
from encore_ray.config.weighing import SelectOptions, WeighOptions


class TrackingOptions(Section):
    enabled: bool = Field(default=True, description="Track runs in MLflow.")
    uri: str | None = Field(
        default=None, description="MLflow store; default: MLFLOW_TRACKING_URI, else mlflow.db beside the run folder."
    )
    experiment: str = Field(
        default="encore-ray",
        description="MLflow experiment by name, or by id as id:12. Before the file come MLFLOW_EXPERIMENT_NAME and "
        "MLFLOW_EXPERIMENT_ID, the name first.",
    )
    run_name: str | None = Field(
        default=None,
        description="Name of the MLflow run. Default: the end of the run folder's path, and how it weighs.",
    )


class JobConfig(Section):
    """One job: corpora in, a run folder out."""

    inputs: list[InputOptions] = Field(min_length=1, description="Preference corpora.")
    run: str = Field(min_length=1, description="Run folder, local or remote: everything the job makes.")
    model: str | None = Field(
        default=None,
        min_length=1,
        description="Multi-head reward model: folder, hub id or URL (s3://...). None: the data carries ratings.",
    )
    judge: str | None = Field(
        default=None,
        min_length=1,
        description="Instead of a model: causal language model (folder, hub id or URL), or the URL of an "
        "OpenAI-compatible API (https://.../v1), that rates every response under each rule.",
    )
    rules: str | None = Field(
        default=None,
        min_length=1,
        description="rules.yaml; default: the one that comes with the model, for a judge `encore-ray rules`.",
    )
    cost_per_hour: float | None = Field(default=None, gt=0, description="Price of the cluster an hour, for estimates.")
    prepare: PrepareOptions = PrepareOptions()
    score: ScoreOptions = ScoreOptions()
    rate: RateOptions = RateOptions()
    train: TrainOptions = TrainOptions()
    weigh: WeighOptions = WeighOptions()
    fit_heads: FitHeadsOptions = FitHeadsOptions()
    select: SelectOptions = SelectOptions()
    refine: RefineOptions = RefineOptions()
    cluster: ClusterOptions = ClusterOptions()
    tracking: TrackingOptions = TrackingOptions()

    @field_validator("inputs", mode="before")
    @classmethod
    def _inputs_as_list(cls, value: Any) -> Any:
        items = value if isinstance(value, list) else [value]
        return [{"path": item} if isinstance(item, str) else item for item in items]

    @model_validator(mode="after")
    def _check_judge(self) -> "JobConfig":
        if self.model is not None and self.judge is not None:
            raise ValueError("model and judge exclude each other: either makes the scores")
        return self

    def to_yaml(self) -> str:
        """The resolved configuration, loadable again."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=100)


SECTIONS: dict[str, type[Section]] = {
    name: field.annotation
    for name, field in JobConfig.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
}


def options_that_ran(config: Mapping[str, Any], *, also: Collection[str] = ()) -> dict[str, Any]:
    """A configuration without the sections of commands that did not run, and without what is not set.

    Args:
        config: of a job, as `to_yaml` writes it.
        also: sections of single commands that ran beside the job.
    """
    judge = config.get("judge")
    by_api = isinstance(judge, str) and judge.startswith(("http://", "https://"))
    scored_by = "rate" if by_api else "score" if judge or config.get("model") else None
    ran = {"prepare", "weigh", scored_by, *also}
    kept = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            value = {option: inner for option, inner in value.items() if inner is not None}
        if value is not None and (name not in SECTIONS or name in ran or name in ("cluster", "tracking")):
            kept[name] = value
    return kept
