"""Options of what is learnt: all weights of a model, heads on frozen embeddings, and energies."""

from typing import Annotated, Literal

from pydantic import Field

from encore_ray.config.section import Section


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
    heldout_rows: int = Field(default=1024, ge=16, description="About how many held-out rows are evaluated each time.")
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
    negatives: int = Field(
        default=768, gt=0, description="Of fit: negatives for each response. More than 64 are drawn as 64 strata."
    )
    sigma: float = Field(
        default=3.5,
        gt=0,
        description="Of fit: spread of the negatives, in standard deviations of the reward; 0.875 is that of the "
        "official code.",
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
