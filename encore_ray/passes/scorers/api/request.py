"""How a judge is asked: the fields of a request besides its messages, and how they adapt to what a service refuses.

What was agreed on at the first question is kept for the job: it is part of the facts of its scores.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from encore_ray.passes.scorers.api.refusals import Refusal

MOST_LIKELY = 20  # first tokens whose log-probabilities are asked for: the most that endpoints give

_NUMBER = re.compile(r"\d+")
_FORMATS = ("json_schema", "json_object", "text")
_TOKEN_NAMES = ("max_tokens", "max_completion_tokens", "none")


@dataclass(frozen=True)
class Agreement:
    """What a job and its judge have agreed on; the defaults are what is tried first.

    Attributes:
        tokens_name: the field that limits the answer; "none" where the service knows no such field.
        temperature: 0, or None where the service takes its own only.
        top_logprobs: of how many first tokens log-probabilities are asked for.
        response_format: of structured answers.
        logprobs: "given" or "absent"; None while that is not known.
        context_chars: most characters of a request's messages; None: any number.
        context_tokens: what that was made from, as far as it is known.
    """

    tokens_name: str = "max_tokens"
    temperature: int | None = 0
    top_logprobs: int = MOST_LIKELY
    response_format: str = "json_schema"
    logprobs: str | None = None
    context_chars: int | None = None
    context_tokens: int | None = None

    @property
    def facts(self) -> dict[str, Any]:
        """What differs from the first try, as JSON values."""
        usual = Agreement()
        return {name: value for name, value in vars(self).items() if value != getattr(usual, name)}

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any]) -> "Agreement":
        """What the facts of a table say."""
        return cls(**{name: facts[name] for name in vars(cls()) if name in facts})

    def fields(self, *, max_tokens: int, asks_logprobs: bool) -> dict[str, Any]:
        """The fields of a request."""
        fields: dict[str, Any] = {} if self.tokens_name == "none" else {self.tokens_name: max_tokens}
        if self.temperature is not None:
            fields["temperature"] = self.temperature
        return {**fields, "logprobs": True, "top_logprobs": self.top_logprobs} if asks_logprobs else fields

    def adapted(self, refusal: Refusal, body: Mapping[str, Any], own: Mapping[str, Any]) -> "Agreement | None":
        """What to try after a refusal; None where it is about nothing that could be asked for otherwise.

        Args:
            body: that was refused.
            own: the fields that the user has set: they stay.
        """
        parameter = refusal.parameter([name for name in body if name not in (*own, "model", "messages")])
        if parameter in _TOKEN_NAMES:
            return replace(self, tokens_name=_TOKEN_NAMES[_TOKEN_NAMES.index(parameter) + 1])
        if parameter == "temperature":
            return replace(self, temperature=None)
        if parameter == "top_logprobs" and self.top_logprobs > 1:
            return replace(self, top_logprobs=_fewer(refusal.text, self.top_logprobs))
        if parameter == "response_format" and self.response_format != _FORMATS[-1]:
            return replace(self, response_format=_FORMATS[_FORMATS.index(self.response_format) + 1])
        return None

    def said(self, *, text_only: bool, structured: bool) -> list[str]:
        """Sentences about what is not as it was to be."""
        usual, said = Agreement(), []
        if self.tokens_name != usual.tokens_name:
            instead = "leaves the length of answers open" if self.tokens_name == "none" else f"takes {self.tokens_name}"
            said.append(f"it {instead} instead of max_tokens")
        if self.temperature is None:
            said.append("it takes no temperature: asked again, it may answer otherwise")
        if self.top_logprobs != usual.top_logprobs and not (text_only or structured):
            said.append(f"it gives the log-probabilities of {self.top_logprobs} tokens, not of {usual.top_logprobs}")
        if structured and self.response_format != usual.response_format:
            said.append(f"it takes no JSON schema; answers are asked for as {self.response_format}")
        if self.logprobs == "absent":
            said.append(
                "it gives NO log-probabilities of its answers: ratings are all or nothing, so that entropies tell how "
                "often it says what, not how sure it is; of such ratings is the whole table"
            )
        elif text_only or structured:
            said.append("ratings are all or nothing, as asked for")
        return said


def _fewer(text: str, now: int) -> int:
    """The largest number below that a refusal names, else half as many."""
    named = [int(number) for number in _NUMBER.findall(text)]
    return max((number for number in named if 0 < number < now), default=now // 2)
