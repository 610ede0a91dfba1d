"""Next-token probabilities as a rating: a causal model's own vocabulary head on a question's last hidden state.

Logits are taken at one position a question only. The code behind the body is the model's own (a scale or a soft cap of
its logits counts), run on hidden states that are already there.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.modeling_outputs import MoeModelOutputWithPast

from encore_ray.errors import ModelError
from encore_ray.models.families.model_folder import ModelFolder
from encore_ray.models.judge.questions import AnswerForm, spellings

_POSITIONS = 64  # at a time: the logits of each are as many as the vocabulary has tokens
# Root mean square difference of logits in their standard deviations, where body and head are run apart: a part that
# is left out makes one of about 1, rounding the logits to the body's type one far below these.
_TOLERANCE_SD = {torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.05}


class AnswerHeads(nn.Module):
    """Hidden states [S, D] to the rating of each form of answer [S, F], float32.

    A rating of Yes and No is P(Yes) - P(No), one of levels the expected level.

    Attributes:
        vocabulary: hidden states to logits.
        ids: for each form, for each of its answers, the tokens that spell it.
    """

    def __init__(self, vocabulary: "Vocabulary", *, forms: Sequence[AnswerForm], tokenizer: Any):
        super().__init__()
        self.vocabulary, self._forms = vocabulary, tuple(forms)
        self.ids = [answer_ids(tokenizer, form) for form in forms]

    def forward(self, hidden_SD: Tensor) -> Tensor:
        return torch.cat([self._rate(part_SD) for part_SD in hidden_SD.split(_POSITIONS)])

    def _rate(self, hidden_SD: Tensor) -> Tensor:
        log_SV = self.vocabulary(hidden_SD).log_softmax(dim=1)
        columns = [_rating(form, ids, log_SV) for form, ids in zip(self._forms, self.ids, strict=True)]
        return torch.stack(columns, dim=1)


def _rating(form: AnswerForm, ids: list[list[int]], log_SV: Tensor) -> Tensor:
    log_SA = torch.stack([log_SV[:, tokens].logsumexp(dim=1) for tokens in ids], dim=1)
    if form.levels is None:
        probability_SA = log_SA.exp()
        return probability_SA[:, 0] - probability_SA[:, 1]
    level_A = torch.tensor(form.levels, dtype=torch.float32, device=log_SA.device)
    # A product and a sum, not a matrix product: TF32 may be on.
    return (log_SA.softmax(dim=1) * level_A).sum(dim=1)


class Vocabulary(nn.Module):
    """All of a causal model but its body: hidden states [S, D] to logits [S, V] of the next token, float32."""

    def __init__(self, model: PreTrainedModel):
        super().__init__()
        self._given = _GivenLastHidden()
        body = model.base_model
        inside = {id(parameter) for parameter in body.parameters()}
        head: Any = model.get_output_embeddings()
        if head.weight.dtype != torch.float32:  # its own copy: the body's embeddings may be the same tensor
            head.weight = nn.Parameter(head.weight.float(), requires_grad=False)
        setattr(model, model.base_model_prefix, self._given)
        for parameter in model.parameters():
            if id(parameter) not in inside:
                parameter.data = parameter.data.float()
        self.model = model

    def forward(self, hidden_SD: Tensor) -> Tensor:
        self._given.hidden_S1D = hidden_SD.unsqueeze(1)
        ids_S1 = torch.zeros(len(hidden_SD), 1, dtype=torch.long, device=hidden_SD.device)  # of no use but their shape
        return self.model(input_ids=ids_S1, use_cache=False).logits[:, 0].float()


class _GivenLastHidden(nn.Module):
    """In a body's place: answers with hidden states that are there."""

    hidden_S1D: Tensor

    @property
    def decoder(self) -> "_GivenLastHidden":
        return self  # OPT calls that of its body

    def forward(self, *_args: Any, **_kwargs: Any) -> "_Outputs":
        return _Outputs(last_hidden_state=self.hidden_S1D)  # type: ignore[arg-type]


class _Outputs(MoeModelOutputWithPast):
    """A body's outputs; those of which it has none, as of routers or of attention across, are None."""

    def __getattr__(self, _name: str) -> None:
        return None


def load_causal(folder: ModelFolder, dtype: torch.dtype) -> tuple[PreTrainedModel, Vocabulary]:
    """Body and vocabulary head of a causal language model, every weight from its files.

    Raises:
        ModelError: no causal model, or one whose logits are not made of its body's last hidden state alone.
    """
    kinds = folder.config.architectures or []
    if any("Classification" in kind for kind in kinds):
        raise ModelError(
            f"{folder.path} is a {', '.join(kinds)}, which has scores and no answers: `encore-ray score` takes it. A "
            "judge is a causal language model."
        )
    model = folder.load(AutoModelForCausalLM, dtype).eval()
    body = model.base_model
    if body is model or not isinstance(body, PreTrainedModel) or model.get_output_embeddings() is None:
        raise ModelError(f"{folder.path}: {type(model).__name__} has no body apart from its vocabulary head.")
    body.config.use_cache = False
    return body, _checked(folder, model, body, dtype)


@torch.inference_mode()
def _checked(folder: ModelFolder, model: PreTrainedModel, body: PreTrainedModel, dtype: torch.dtype) -> Vocabulary:
    """The vocabulary head, once it gives what the whole model gives."""
    ids_1T = torch.arange(2, 10).unsqueeze(0)
    expected_V = model(input_ids=ids_1T, use_cache=False).logits[0, -1].float()
    hidden_1TD = body(input_ids=ids_1T).last_hidden_state
    name = type(model).__name__
    vocabulary = Vocabulary(model)
    try:
        found_V = vocabulary(hidden_1TD[:, -1].float())[0]
    except (AttributeError, TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"{folder.path}: {name} does not answer from its body's hidden states: {error}") from error
    difference = float((found_V - expected_V).square().mean().sqrt() / expected_V.std())
    if not difference <= _TOLERANCE_SD[dtype]:
        raise ModelError(
            f"{folder.path}: {name} makes its logits of more than its body's last hidden states (they differ by "
            f"{difference:.2g} standard deviations), so that it cannot judge here."
        )
    return vocabulary


def answer_ids(tokenizer: Any, form: AnswerForm) -> list[list[int]]:
    """For each answer of a form the tokens that spell it: every spelling that is a single token counts.

    Raises:
        ModelError: an answer has none, or two answers begin with the same.
    """
    found: list[list[int]] = []
    for answer in form.answers:
        encoded = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in spellings(answer)]
        single = {ids[0] for ids in encoded if len(ids) == 1 and ids[0] != tokenizer.unk_token_id}
        if not single:
            raise ModelError(
                f"The judge's tokenizer has no single token for the answer {answer}, in none of the spellings "
                f"{', '.join(map(repr, spellings(answer)))}. Use levels of one digit, a scale {{lo, hi}} (answered by "
                "Yes and No), or another judge."
            )
        found.append(sorted(single))
    if len(set().union(*found)) < sum(map(len, found)):
        raise ModelError(f"The judge's tokenizer cannot tell the answers {', '.join(form.answers)} apart by one token.")
    return found
