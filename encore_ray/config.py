"""The job's configuration: every option once, with its default, its meaning and its checks."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from encore_ray.composition.weigh.schemes import SCHEMES, find_scheme, name_schemes

if TYPE_CHECKING:
    SchemeName = str
else:
    SchemeName = Literal[tuple(scheme.name for scheme in SCHEMES)]


class Section(BaseModel):
    """A group of options; unknown keys are errors, values never change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class InputOptions(Section):
    path: str = Field(
        min_length=1, description="File, folder, glob or URL (s3://, gs://, hf://datasets/owner/name/...)."
    )
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
    strategy: Literal["auto", "tree", "packed", "padded", "one_by_one"] = Field(
        default="auto",
        description="Into which forward passes sequences go. auto: the fastest that is exact for the model.",
    )
    batch_tokens: int | Literal["search"] | None = Field(
        default=None,
        description="Token budget of one forward pass; search: the fastest. Default: 2048 on CPUs, 16384 on GPUs.",
    )
    compile: bool = Field(
        default=False,
        description="Compile the model's body by torch.compile: each actor starts later, then scores faster.",
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
        default=None,
        ge=0,
        description="GPUs held by an actor, which spreads its model over several. Default: 1 where there are any.",
    )
    keep_embeddings: bool = Field(
        default=False,
        description="Also keep the vector that enters the heads, of each response, in embeddings/ (float16).",
    )
    trust_remote_code: bool = Field(default=False, description="Run Python code that comes with the model.")
    allow_pickle: bool = Field(default=False, description="Load weights from pickle files, which can run code.")

    @field_validator("batch_tokens", mode="before")
    @classmethod
    def _check_batch_tokens(cls, value: Any) -> Any:
        if isinstance(value, str) and value.isdecimal():  # of an environment variable
            value = int(value)
        if value in (None, "search") or (isinstance(value, int) and not isinstance(value, bool) and value >= 16):
            return value
        raise ValueError(f"batch_tokens: expected 16 or more, or search; found {value!r}")

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


class RateOptions(Section):
    model: str | None = Field(default=None, description="Model that the judge's API is asked for, by its name there.")
    text_only: bool = Field(
        default=False,
        description="Do not ask for log-probabilities, for an API that has none: a rating is then all or nothing.",
    )
    concurrency: int = Field(default=16, ge=1, le=1024, description="Most requests at a time, over the whole job.")
    requests_per_minute: float | None = Field(default=None, gt=0, description="Most requests a minute. Default: any.")
    timeout_s: float = Field(default=60, gt=0, description="Seconds after which an answer is waited for no more.")
    retries: int = Field(default=6, ge=0, le=100, description="How often a request is tried again when the API fails.")
    backoff_s: float = Field(
        default=1, ge=0, le=60, description="First wait before a retry, doubled each time to a minute, with jitter."
    )
    input_price: float | None = Field(default=None, ge=0, description="Price of a million tokens of requests.")
    output_price: float | None = Field(default=None, ge=0, description="Price of a million tokens of answers.")


class TrainOptions(Section):
    objective: Literal["regression", "bradley-terry", "multihead-bradley-terry", "multilabel"] = Field(
        default="regression",
        description="What the heads learn: ratings, the better of two responses, that under each rule, or a pair's "
        "selected rules.",
    )
    pooling: Literal["last", "mean", "cls", "unit_mean"] = Field(
        default="last", description="Which tokens the heads read."
    )
    epochs: int = Field(default=1, ge=1, description="How often each row is seen, if the training does not end early.")
    batch_rows: int = Field(default=32, ge=1, description="Rows (pairs) a step, over all workers.")
    learning_rate: float = Field(default=2e-5, gt=0, description="The highest: it rises, then falls along a cosine.")
    warmup: float = Field(default=0.03, ge=0, lt=1, description="Share of the steps in which the learning rate rises.")
    weight_decay: float = Field(default=0.01, ge=0, description="Of AdamW, for matrices.")
    max_grad_norm: float = Field(default=1.0, gt=0, description="Longer gradients are shortened to this length.")
    dtype: Literal["float32", "bfloat16"] = Field(
        default="float32", description="Type that is computed in; weights stay in float32 while they are trained."
    )
    max_tokens: int | None = Field(
        default=None, ge=16, description="Longer conversations lose their beginning. Default: the model's limit."
    )
    batch_tokens: int | None = Field(
        default=None,
        ge=16,
        description="Tokens a forward pass; a step has as many as it needs. Default: 2048 on CPUs, 16384 on GPUs.",
    )
    lora_rank: int | None = Field(
        default=None, ge=1, description="Train adapters of this rank instead of all weights; needs peft."
    )
    lora_alpha: float = Field(default=16.0, gt=0, description="Adapters are scaled by lora_alpha / lora_rank.")
    gradient_checkpointing: bool = Field(
        default=False, description="Compute layers twice instead of keeping what they made: less memory, more time."
    )
    evaluate_every: int = Field(
        default=100, ge=1, description="Steps between evaluations; each keeps what a resume needs."
    )
    heldout_rows: int = Field(default=1024, ge=16, description="About how many held-out rows are judged each time.")
    patience: int = Field(default=3, ge=1, description="Evaluations without a better one that end the training.")
    seed: int = Field(default=0, ge=0, description="Of the order of rows, and of the adapters' first weights.")
    workers: int | None = Field(
        default=None, ge=1, description="Workers that share the model (FSDP). Default: one a GPU, else one."
    )
    cpus_per_worker: float | None = Field(
        default=None, gt=0, description="CPUs a worker holds. Default: its share of a node's; 2 with a GPU."
    )
    retries: int = Field(default=3, ge=0, description="How often a training whose worker dies goes on by itself.")
    revision: str | None = Field(default=None, description="Branch, tag or commit of a base model on the hub.")
    trust_remote_code: bool = Field(default=False, description="Run Python code that comes with the base model.")
    allow_pickle: bool = Field(default=False, description="Load weights from pickle files, which can run code.")


def _that_take(option: str) -> str:
    return name_schemes(scheme for scheme in SCHEMES if option in scheme.takes)


class WeighOptions(Section):
    scheme: SchemeName = Field(
        default="encore",
        description=f"How rules are weighed. {name_schemes(scheme for scheme in SCHEMES if scheme.lesson)} learn from "
        f"labels; {name_schemes(scheme for scheme in SCHEMES if scheme.why_no_reward)} give margins only, in compare.",
    )
    temperature: float = Field(default=2.0, gt=0, description="ENCORE's tau: w ~ exp(-H / tau).")
    num_rules: int | None = Field(
        default=None, ge=1, description="How many rules lowest_entropy keeps, with equal weights. Default: 5."
    )
    rule: str | None = Field(default=None, description="The rule that has all the weight under single.")
    seed: int = Field(default=0, ge=0, description="Seed of the random weights.")
    by_group: bool = Field(
        default=False,
        description="Weigh each subset by its own entropies and compose its pairs with them; others by those of all.",
    )
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
    def _check_scheme(self) -> "WeighOptions":
        scheme = find_scheme(self.scheme)
        if scheme.why_no_reward:
            raise ValueError(f"scheme: {self.scheme} {scheme.why_no_reward}")
        if ("rule" in scheme.takes) != (self.rule is not None):
            raise ValueError(
                f"rule: scheme {_that_take('rule')} needs the name of its rule, and no other scheme has one"
            )
        if self.num_rules is not None and "num_rules" not in scheme.takes:
            raise ValueError(
                f"num_rules belongs to scheme {_that_take('num_rules')}; {self.scheme} would weigh all rules"
            )
        if self.by_group and not scheme.weighs_by_entropy:
            by_entropy = ", ".join(other.name for other in SCHEMES if other.weighs_by_entropy)
            raise ValueError(
                f"by_group needs a scheme that weighs by entropy ({by_entropy}): "
                f"a subset keeps its histograms, and {self.scheme} does not look at them"
            )
        return self

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


class SelectOptions(Section):
    num_rules: int = Field(
        default=5, ge=1, description="Rules a pair: just so many are selected, equal ones by rule order."
    )
    by: Literal["auto", "scores"] = Field(
        default="auto",
        description="What chooses without an adapter: auto counts a judge's relevance where there is one, scores "
        "leaves it out.",
    )
    score_range: Literal["declared", "unit", "raw"] = Field(
        default="declared",
        description="Rules of different range: declared refuses, unit maps to [0, 1], raw mixes.",
    )


class FitHeadsOptions(Section):
    pooling: Literal["last", "mean", "cls", "unit_mean"] = Field(
        default="mean",
        description="Which tokens make an embedding; unit_mean: their mean at length 1, as sentence encoders are made "
        "for.",
    )
    reads: Literal["conversation", "response"] = Field(
        default="conversation",
        description="What the heads see: the whole conversation, or the response alone.",
    )


class RefineOptions(Section):
    negatives: int = Field(default=768, gt=0, description="Of fit: negatives for each response. Time grows with them.")
    sigma: float = Field(
        default=3.5, gt=0, description="Of fit: spread of the negatives, in standard deviations of the reward."
    )
    beta: float = Field(default=0.1, gt=0, description="Of fit: spread of the positive, as a share of sigma.")
    learning_rate: float = Field(default=9e-5, gt=0, description="Of fit: of AdamW.")
    batch_responses: int = Field(default=256, ge=2, description="Of fit: responses a step.")
    epochs: int = Field(
        default=5, gt=0, description="Of fit: at most; two epochs without a lower held-out loss end it."
    )
    seed: int = Field(default=0, ge=0, lt=2**63, description="Of fit: weights, order, noise.")
    noise: list[Annotated[float, Field(gt=0, lt=0.5)]] = Field(
        default=[],
        description="Of fit: also report the controls with this share of the labels turned round. May be repeated.",
    )
    cpus: float | None = Field(
        default=None, gt=0, description="Of fit: CPUs that its worker holds. Default: all of a node; 2 with a GPU."
    )
    gpus: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Of fit: GPUs that its worker holds: 0, a share, or 1. Default: 1 where there are any.",
    )


class ClusterOptions(Section):
    engine: Literal["auto", "local", "ray"] = Field(
        default="auto",
        description="Who does the work. auto: this process for passes without a model over small tables, else Ray.",
    )
    address: str | None = Field(default=None, description="Ray cluster to join. Default: RAY_ADDRESS, else local.")
    autoscaling: bool = Field(
        default=False, description="Nodes come on demand: score.actors are accepted before there is room for them."
    )
    unit_timeout_s: float | None = Field(
        default=None,
        gt=0,
        description="A worker in which no unit finishes for this many seconds is taken to hang, and ended; its unit is "
        "tried again by itself. Default: half of no_progress_timeout_s.",
    )
    no_progress_timeout_s: float = Field(
        default=3600, gt=0, description="Stop the job when no unit finishes anywhere for this many seconds."
    )

    @property
    def unit_timeout(self) -> float:
        """Seconds after which a worker is taken to hang."""
        return self.no_progress_timeout_s / 2 if self.unit_timeout_s is None else self.unit_timeout_s

    @model_validator(mode="after")
    def _check_timeouts(self) -> "ClusterOptions":
        if self.unit_timeout >= self.no_progress_timeout_s:
            raise ValueError(
                f"unit_timeout_s: expected less than no_progress_timeout_s ({self.no_progress_timeout_s:g}), so that a "
                f"hanging worker is ended before the job is; found {self.unit_timeout:g}"
            )
        return self


class TrackingOptions(Section):
    enabled: bool = Field(default=True, description="Track runs in MLflow.")
    uri: str | None = Field(
        default=None, description="MLflow store; default: MLFLOW_TRACKING_URI, else mlflow.db beside the run folder."
    )
    experiment: str = Field(default="encore-ray", description="MLflow experiment.")
    run_name: str | None = Field(default=None, description="Name of the MLflow run. Default: the run folder's path.")


class JobConfig(Section):
    """One job: corpora in, a run folder out."""

    inputs: list[InputOptions] = Field(min_length=1, description="Preference corpora.")
    run: str = Field(min_length=1, description="Run folder, local or remote: everything the job makes.")
    model: str | None = Field(
        default=None,
        description="Multi-head reward model: folder, hub id or URL (s3://...). None: the data carries ratings.",
    )
    judge: str | None = Field(
        default=None,
        description="Instead of a model: causal language model (folder, hub id or URL), or the URL of an "
        "OpenAI-compatible API (https://.../v1), that rates every response under each rule.",
    )
    rules: str | None = Field(
        default=None,
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
