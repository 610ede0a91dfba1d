"""Options of what makes scores: corpora, models, judges, and the cluster that they run on."""

import re
from datetime import date, datetime
from typing import Any, Literal

import yaml
from pydantic import Field, field_validator, model_validator

from encore_ray.config.section import Section
from encore_ray.redaction import redact

CLOCK = "2024-07-26T00:00:00"  # the date that templates of Llama 3 write where they are told none


class InputOptions(Section):
    path: str = Field(
        min_length=1, description="File, folder, glob or URL (s3://, gs://, hf://datasets/owner/name/...)."
    )
    subset: str | None = Field(default=None, description="Subset name given to every pair of this input.")
    format: str = Field(default="auto", description="Layout of the rows; auto detects it.")
    columns: dict[str, str] | None = Field(
        default=None,
        description="Instead of a layout, which column (or path in one, as a.b[0]) holds what: prompt, chosen, "
        "rejected, response, messages, winner, system, history, subset, id.",
    )
    chosen_if: bool | int | float | str | list[bool | int | float | str] | dict[Any, str] | None = Field(
        default=None,
        description="Values of columns.winner under which the response in columns.chosen is the chosen one, or each "
        "value with its side: chosen, rejected or tie.",
    )


class PrepareOptions(Section):
    format: str = Field(default="auto", description="Layout of the rows, where an input does not name its own.")
    ids: Literal["auto", "row"] = Field(
        default="auto", description="auto: the data's ids where there are any; row: ours."
    )
    columns: list[str] | None = Field(default=None, description="Further columns to carry through. Default: all.")
    ignore: list[str] | None = Field(
        default=None,
        description="Columns that are no part of the conversation, although they are called as one: system, history, "
        "images, tools, context and the like; prompt_id, to tell prompts apart by their text; ratings of rules that do "
        "not count.",
    )
    unreadable: Literal["stop", "leave_out"] = Field(
        default="stop", description="What to do with a file that cannot be read or recognised; leave_out counts it."
    )
    unit_pairs: int = Field(default=1024, ge=1, le=1_000_000, description="Most pairs in a unit of work.")
    max_bad_fraction: float = Field(default=0.01, ge=0, le=1, description="Share of bad rows past which the job fails.")
    max_field_bytes: int = Field(default=1 << 20, ge=1, description="Longest text field; longer ones make a row bad.")
    max_row_bytes: int = Field(
        default=16 << 20, ge=1, description="Longest row; a longer one is bad, and is never held in memory as a whole."
    )


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
    template: str | None = Field(
        default=None,
        description="How conversations are written: chat, plain-v1, pair-v1 (prompt and response as two texts, for "
        "encoders trained on them), response-v1, the name of one of a tokenizer's several templates, or FILE.jinja. "
        "Default: as the model was saved, with its chat template where it has one.",
    )
    system: Literal["keep", "merge", "drop"] = Field(
        default="keep",
        description="System turns: keep, merge into the user's next turn, or drop, for templates that refuse them.",
    )
    clock: str = Field(
        default=CLOCK,
        description="What a template that writes the date takes the time to be, so that scores are the same at any "
        "time.",
    )
    bos: Literal["template", "tokenizer", "both", "none"] = Field(
        default="template",
        description="Whose first token a chat has. template: as transformers' apply_chat_template makes it; tokenizer: "
        "its own too, where the template writes none; both, as of models trained on a template's text that was "
        "tokenised with its special tokens; or none.",
    )
    ending: Literal["transformers", "whole", "eos"] = Field(
        default="transformers",
        description="What a classifier reads where pad tokens end a conversation. transformers: up to the last other "
        "token, as its own forward; whole: all. Of any model, eos: up to the tokenizer's EOS, which is put behind what "
        "does not end with it, as OpenRLHF and, of plain texts, TRL train.",
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

    @field_validator("template")
    @classmethod
    def _name_template(cls, value: str | None) -> str | None:
        return {"auto": None, "plain": "plain-v1", "pair": "pair-v1"}.get(value, value) if value else None

    @field_validator("clock", mode="before")
    @classmethod
    def _check_clock(cls, value: Any) -> Any:
        try:  # YAML knows dates by itself
            return datetime.fromisoformat(value.isoformat() if isinstance(value, date) else value).isoformat()
        except (TypeError, ValueError):
            raise ValueError(f"clock: expected a time as 2024-07-26T12:00:00, found {value!r}") from None

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
    structured: bool = Field(
        default=False,
        description="Ask for the ratings under all rules in one request, as JSON: one bill a response instead of one a "
        "rule. A rating is then all or nothing.",
    )
    context_tokens: int | None = Field(
        default=None,
        ge=16,
        description="Tokens that the judge takes, question and answer included; longer conversations lose their "
        "beginning. Default: what its refusals say.",
    )
    body: dict[str, Any] | None = Field(
        default=None,
        description="Further fields of every request, as {reasoning_effort: none} or {chat_template_kwargs: "
        "{enable_thinking: false}}; null leaves one of ours out.",
    )
    headers: dict[str, str] | None = Field(
        default=None,
        description="Further headers of every request, each with the environment variable that holds it, as "
        "{api-key: JUDGE_KEY}.",
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

    @field_validator("body", "headers", mode="before")
    @classmethod
    def _read_mapping(cls, value: Any) -> Any:
        try:
            return yaml.safe_load(value) if isinstance(value, str) else value  # of a flag
        except yaml.YAMLError:
            return value

    @field_validator("body")
    @classmethod
    def _check_body(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        ours = sorted({"model", "messages", "stream", "n", "response_format"} & set(value or ()))
        if ours:
            raise ValueError(f"body: {', '.join(ours)} is set by the job itself")
        secret = [key for key in value or () if redact(f"{key}=abcdefgh") != f"{key}=abcdefgh"]
        if secret:
            raise ValueError(f"body: {secret[0]} looks as a credential; rate.headers takes one from the environment")
        return value

    @field_validator("headers")
    @classmethod
    def _check_headers(cls, value: dict[str, str] | None) -> dict[str, str] | None:
        wrong = [name for name, variable in (value or {}).items() if not re.fullmatch(r"[A-Za-z_]\w*", variable)]
        if wrong:
            raise ValueError(f"headers: {wrong[0]} names no environment variable; a header's value stands in one")
        return value

    @property
    def is_all_or_nothing(self) -> bool:
        """Whether ratings come of texts alone."""
        return self.text_only or self.structured


class ClusterOptions(Section):
    engine: Literal["auto", "local", "ray"] = Field(
        default="auto",
        description="Who does the work. auto: this process for passes without a model over small tables and for a "
        "judge behind an API, else Ray.",
    )
    address: str | None = Field(default=None, description="Ray cluster to join. Default: RAY_ADDRESS, else local.")
    autoscaling: bool = Field(
        default=False, description="Nodes come on demand: score.actors are accepted before there is room for them."
    )
    unit_timeout_s: float | None = Field(
        default=None,
        gt=0,
        description="A worker in which no unit finishes for this many seconds is taken to hang, and ended; its unit is "
        "tried again by itself. In the command's own process (engine: local) the command is ended. Default: half of "
        "no_progress_timeout_s.",
    )
    no_progress_timeout_s: float = Field(
        default=3600, gt=0, description="Stop the job when no unit finishes anywhere for this many seconds."
    )
    lock_timeout_s: float = Field(
        default=0,
        ge=0,
        description="How many seconds to wait for another command that works on the run folder, before this one is "
        "refused. 0: not at all.",
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
