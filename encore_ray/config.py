"""The job's configuration: every option once, with its default, its meaning and its checks.

Precedence: command line flag > environment > YAML file > default. A YAML key `weigh: {temperature: 1}` is the flag
`--temperature 1` of `encore-ray weigh` and the variable `ENCORE_RAY_WEIGH_TEMPERATURE=1`.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from encore_ray.errors import ConfigError
from encore_ray.storage import absolute, is_remote

ENV_PREFIX = "ENCORE_RAY_"
STANDARD_ENV = {"RAY_ADDRESS": ("cluster", "address"), "MLFLOW_TRACKING_URI": ("tracking", "uri")}


class Section(BaseModel):
    """A group of options; unknown keys are errors, values never change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class InputOptions(Section):
    path: str = Field(description="File, folder, glob or URL (s3://, gs://, hf://datasets/owner/name/...).")
    subset: str | None = Field(default=None, description="Subset name given to every pair of this input.")
    format: str = Field(default="auto", description="Layout of the rows; auto detects it.")


class PrepareOptions(Section):
    format: str = Field(default="auto", description="Layout of the rows, where an input does not name its own.")
    ids: Literal["auto", "row"] = Field(
        default="auto", description="auto: the data's ids where there are any; row: ours."
    )
    columns: list[str] | None = Field(default=None, description="Further columns to carry through. Default: all.")
    unit_pairs: int = Field(default=1024, ge=1, le=1_000_000, description="Most pairs in a unit of work.")
    max_bad_fraction: float = Field(default=0.01, ge=0, le=1, description="Share of bad rows past which the job fails.")
    max_field_bytes: int = Field(default=1 << 20, ge=1, description="Longest text field; longer ones make a row bad.")


class ScoreOptions(Section):
    revision: str | None = Field(default=None, description="Branch, tag or commit of a model on the hub.")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto",
        description="Type of the model's body. auto: float32 on CPUs, bfloat16 on GPUs.",
    )
    batch_tokens: int | None = Field(
        default=None, ge=16, description="Token budget of one forward pass. Default: 2048 on CPUs, 16384 on GPUs."
    )
    max_tokens: int | None = Field(
        default=None,
        ge=16,
        description="Longer conversations lose their beginning. Default: the model's limit.",
    )
    actors: str | None = Field(
        default=None,
        pattern=r"^\d+(,\d+)?$",
        description="N, or MIN,MAX. Default: one a GPU, else one a CPU.",
    )
    cpus_per_actor: float | None = Field(
        default=None, gt=0, description="CPUs an actor holds. Default: .9; 2 with a GPU."
    )
    gpus_per_actor: float | None = Field(
        default=None, ge=0, description="GPUs held by an actor. Default: 1 where there are any."
    )
    trust_remote_code: bool = Field(default=False, description="Run Python code that comes with the model.")
    allow_pickle: bool = Field(default=False, description="Load weights from pickle files, which can run code.")

    @field_validator("actors", mode="before")
    @classmethod
    def _actors_as_text(cls, value: Any) -> Any:
        if isinstance(value, list | tuple):
            return ",".join(map(str, value))
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

    @property
    def actor_range(self) -> tuple[int, int] | None:
        """(min, max) number of actors, or None to choose from the cluster."""
        if self.actors is None:
            return None
        low, _, high = self.actors.partition(",")
        return int(low), int(high or low)

    @model_validator(mode="after")
    def _check_actor_range(self) -> "ScoreOptions":
        if self.actor_range and not 1 <= self.actor_range[0] <= self.actor_range[1]:
            raise ValueError(f"actors: expected 1 <= MIN <= MAX, found {self.actors}")
        return self


class WeighOptions(Section):
    scheme: Literal["encore", "one_minus_entropy", "uniform"] = Field(
        default="encore", description="From entropies to weights."
    )
    temperature: float = Field(default=2.0, gt=0, description="ENCORE's tau: w ~ exp(-H / tau).")
    num_bins: int | None = Field(
        default=None, ge=2, le=256, description="Equal bins on each scale. Default: declared levels, else 20 bins."
    )
    levels: bool = Field(default=False, description="Insist on rating levels: a rule without them is an error.")
    edges: Literal["declared", "observed", "quantile"] = Field(
        default="declared",
        description="Ends of the bins. observed: the extreme scores, strays included; quantile is refused.",
    )
    log_base: Literal["e", "2"] = Field(default="e", description="Base of the logarithm in the entropies.")
    estimator: Literal["plugin", "miller_madow"] = Field(default="plugin", description="Entropy estimator.")
    min_active: float | None = Field(
        default=None, ge=0, le=1, description="Drop rules whose two scores differ in less than this share of pairs."
    )
    clip: bool = Field(default=False, description="Clip and count scores outside their scale, for every rule.")
    score_range: Literal["declared", "unit", "raw"] = Field(
        default="declared",
        description="Rules of different range: declared refuses, unit maps to [0, 1], raw mixes.",
    )

    @model_validator(mode="after")
    def _check_bins(self) -> "WeighOptions":
        if self.edges == "quantile":
            raise ValueError(
                "edges: quantile bins hold the same number of scores each, so every rule's entropy is log(num_bins) "
                "and no rule differs from another; use declared or observed"
            )
        if self.levels and self.num_bins is not None:
            raise ValueError("levels and num_bins exclude each other: levels are their own bins")
        if self.levels and self.edges == "observed":
            raise ValueError("levels and edges: observed exclude each other: levels are declared")
        return self


class ClusterOptions(Section):
    address: str | None = Field(default=None, description="Ray cluster to join. Default: RAY_ADDRESS, else local.")
    no_progress_timeout_s: float = Field(
        default=1800, gt=0, description="Stop the job when no unit finishes for this many seconds."
    )


class TrackingOptions(Section):
    enabled: bool = Field(default=True, description="Track runs in MLflow.")
    uri: str | None = Field(
        default=None, description="MLflow store; default: MLFLOW_TRACKING_URI, else mlflow.db beside the run folder."
    )
    experiment: str = Field(default="encore-ray", description="MLflow experiment.")
    run_name: str | None = Field(default=None, description="Name of the MLflow run. Default: the run folder's name.")


class JobConfig(Section):
    """One job: corpora in, a run folder out."""

    inputs: list[InputOptions] = Field(min_length=1, description="Preference corpora.")
    run: str = Field(description="Run folder, local or remote: everything the job makes.")
    model: str | None = Field(
        default=None, description="Multi-head reward model: folder or hub id. None: the data carries ratings."
    )
    rules: str | None = Field(default=None, description="rules.yaml; default: the one that comes with the model.")
    cost_per_hour: float | None = Field(default=None, gt=0, description="Price of the cluster an hour, for estimates.")
    prepare: PrepareOptions = PrepareOptions()
    score: ScoreOptions = ScoreOptions()
    weigh: WeighOptions = WeighOptions()
    cluster: ClusterOptions = ClusterOptions()
    tracking: TrackingOptions = TrackingOptions()

    @field_validator("inputs", mode="before")
    @classmethod
    def _inputs_as_list(cls, value: Any) -> Any:
        items = value if isinstance(value, list) else [value]
        return [{"path": item} if isinstance(item, str) else item for item in items]

    def to_yaml(self) -> str:
        """The resolved configuration, loadable again."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=100)


SECTIONS: dict[str, type[Section]] = {
    name: field.annotation
    for name, field in JobConfig.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
}

Options = TypeVar("Options", bound=Section)


def load_config(
    path: str | Path, *, flags: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None
) -> JobConfig:
    """Read a job's YAML, put environment and flags over it, and check everything at once.

    Args:
        path: YAML file; relative paths in it are taken from its folder.
        flags: values that win over all others; keys as in the YAML, sections as nested mappings.
        environ: defaults to the process's environment.

    Raises:
        ConfigError: listing every problem found.
    """
    try:
        value = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"Cannot read the configuration {path}: {error}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: expected a mapping with the keys {', '.join(JobConfig.model_fields)}.")
    # A section whose options are all commented out reads as null.
    value = {key: {} if item is None and key in SECTIONS else item for key, item in value.items()}
    from_yaml = _resolve_paths(value, base=str(Path(path).resolve().parent))
    outside = _merge(environment_values(environ), flags or {})
    return _validate(JobConfig, _merge(from_yaml, _resolve_paths(outside, base=os.getcwd())), where=str(path))


def make_config(values: Mapping[str, Any]) -> JobConfig:
    """A configuration from Python values instead of a YAML file; the environment is put over defaults only."""
    return _validate(JobConfig, _resolve_paths(_merge(environment_values(), values), base=os.getcwd()), where="job")


def make_section(section: type[Options], values: Mapping[str, Any], *, where: str) -> Options:
    """A section from its options; `where` they come from is named in errors."""
    return _validate(section, values, where=where)


def section_defaults(section: type[Options], *, environ: Mapping[str, str] | None = None) -> Options:
    """A section's defaults with the environment put over them: what a command starts from."""
    name = next(key for key, kind in SECTIONS.items() if kind is section)
    return make_section(section, environment_values(environ).get(name, {}), where=f"environment, section {name}")


def assigned_values(assignments: Iterable[str]) -> dict[str, Any]:
    """Nested values from texts like "weigh.temperature=1"; values are YAML, except those of text options."""
    values: dict[str, Any] = {}
    for assignment in assignments:
        key, separator, text = assignment.partition("=")
        section, dot, option = key.strip().rpartition(".")
        kind = SECTIONS.get(section) if dot else JobConfig
        if not separator or kind is None:
            raise ConfigError(
                f"{assignment}: expected OPTION=VALUE or SECTION.OPTION=VALUE, as in weigh.temperature=1; sections "
                f"are {', '.join(SECTIONS)}."
            )
        target = values.setdefault(section, {}) if dot else values
        if option in SECTIONS and not dot:
            raise ConfigError(f"{assignment}: {option} is a section; set its options, as in {option}.OPTION=VALUE.")
        if option not in kind.model_fields:
            raise ConfigError(f"{assignment}: unknown option (known: {', '.join(kind.model_fields)}).")
        target[option] = _parse(text, kind, option, where=assignment)
    return values


def environment_values(environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Options set by ENCORE_RAY_* variables (values are YAML), RAY_ADDRESS and MLFLOW_TRACKING_URI."""
    environ = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    for variable, (section, option) in STANDARD_ENV.items():
        if environ.get(variable):
            values.setdefault(section, {})[option] = environ[variable]
    for section, kind in SECTIONS.items():
        prefix = f"{ENV_PREFIX}{section}_".upper()
        options = {f"{prefix}{option}".upper(): option for option in kind.model_fields}
        for variable in sorted(name for name in environ if name.startswith(prefix)):
            if variable not in options:
                raise ConfigError(f"The variable {variable} sets no option (known: {', '.join(options)}).")
            text = environ[variable]
            values.setdefault(section, {})[options[variable]] = _parse(text, kind, options[variable], where=variable)
    for option in JobConfig.model_fields.keys() - SECTIONS.keys():
        variable = f"{ENV_PREFIX}{option}".upper()
        if variable in environ:
            values[option] = _parse(environ[variable], JobConfig, option, where=variable)
    return values


def resolve_model(model: str, *, base: str | None = None) -> str:
    """A model folder's absolute path when it is one (or looks like one), else the hub id unchanged."""
    candidate = absolute(model, base=base)
    looks_local = model.startswith((".", "/", "~")) or model.count("/") > 1
    return candidate if looks_local or (not is_remote(model) and os.path.isdir(candidate)) else model


def _parse(text: str, kind: type[Section], option: str, *, where: str) -> Any:
    if kind.model_fields[option].annotation in (str, str | None):
        return text
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"{where}: {text!r} is not a YAML value.") from None


def _merge(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(low)
    for key, value in high.items():
        under = merged.get(key)
        merged[key] = _merge(under, value) if isinstance(under, Mapping) and isinstance(value, Mapping) else value
    return merged


def _resolve_paths(values: Mapping[str, Any], *, base: str) -> dict[str, Any]:
    resolved = dict(values)
    for key in ("run", "rules"):
        if isinstance(resolved.get(key), str):
            resolved[key] = absolute(resolved[key], base=base)
    if isinstance(resolved.get("model"), str):
        resolved["model"] = resolve_model(resolved["model"], base=base)
    if "inputs" in resolved:
        items = resolved["inputs"] if isinstance(resolved["inputs"], list) else [resolved["inputs"]]
        resolved["inputs"] = [_resolve_input(item, base) for item in items]
    return resolved


def _resolve_input(item: Any, base: str) -> Any:
    if isinstance(item, str):
        return absolute(item, base=base)
    if isinstance(item, dict) and isinstance(item.get("path"), str):
        return {**item, "path": absolute(item["path"], base=base)}
    return item


Model = TypeVar("Model", bound=BaseModel)


def _validate(kind: type[Model], values: Mapping[str, Any], *, where: str) -> Model:
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        problems = [_describe(kind, problem) for problem in error.errors()]
        raise ConfigError(f"{where}: " + "; ".join(problems) + ".") from None


def _describe(kind: type[BaseModel], problem: Any) -> str:
    location = [str(part) for part in problem["loc"]]
    name = ".".join(location) or "job"
    if problem["type"] == "extra_forbidden":
        owner = SECTIONS.get(location[0], kind) if len(location) > 1 else kind
        owner = InputOptions if location[0] == "inputs" and len(location) > 1 else owner
        return f"{name}: unknown key (known: {', '.join(owner.model_fields)})"
    if problem["type"] == "missing":
        return f"{name}: missing"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "value_error":
        return f"{name}: {message}" if not message.startswith(name.rsplit(".", 1)[-1]) else message
    return f"{name}: {message[0].lower()}{message[1:]}, found {problem['input']!r}"
