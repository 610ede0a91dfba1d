"""Conversations as text by a model's chat template: whatever that raises, and what it leaves out, is told."""

import hashlib
import threading
from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from encore_ray.errors import DataError, ModelError
from encore_ray.models.spec.conversation import TEMPLATES, Message, Reading, System, Template
from encore_ray.models.text.chat_template import TemplateOverrun, chat_template, sees_clock
from encore_ray.visible import short

_OVERRUNS = 3  # conversations without an end, after which the template is at fault


class Renderer:
    """Renders by one tokenizer's template, or by the one that is asked for.

    Args:
        tokenizer: of transformers.
        reading: what is asked for.

    Raises:
        ModelError: the template asked for is not there.
    """

    def __init__(self, tokenizer: Any, reading: Reading):
        self._tokenizer, self._reading = tokenizer, reading
        self._overruns, self._lock = 0, threading.Lock()
        self.template: Template | None = None
        named, own = reading.template, tokenizer.chat_template
        if reading.source is not None or (isinstance(own, dict) and named in own):
            self.template = "chat"
        elif named in TEMPLATES:
            self.template = named
        elif named is not None:
            others = ", ".join([*TEMPLATES, *(own if isinstance(own, dict) else ())])
            raise ModelError(
                f"score.template: there is no template {named}. Expected a FILE.jinja, or one of {others}."
            )
        if self.template == "chat" and reading.source is None and not own:
            raise ModelError("score.template: chat, but the model's tokenizer has no template. Give a FILE.jinja.")

    @property
    def source(self) -> str:
        """The template's text."""
        if self._reading.source is not None:
            return self._reading.source
        named, own = self._reading.template, self._tokenizer.chat_template
        return self._tokenizer.get_chat_template(named if isinstance(own, dict) and named in own else None)

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.source.encode()).hexdigest()

    @property
    def sees_clock(self) -> bool:
        return sees_clock(self.source)

    def check(self) -> None:
        """Raise ModelError where the template cannot be read."""
        try:
            source = self.source
        except ValueError as error:  # of several, none is the default
            raise ModelError(f"{error} Name one by score.template.") from error
        if not self.is_foreign:
            chat_template(source, self._reading.clock)

    def __call__(self, conversation: Sequence[Message], name: str, to_answer: bool) -> tuple[str, bool]:
        """The text of a conversation, and whether anything of it is dropped or changed.

        Raises:
            DataError: the template refuses the conversation, whatever it raises; `name` is in the message.
            ModelError: it comes to no end for one conversation after the other.
        """
        # Of templates that can do so, an answer comes at once, without thoughts before it.
        options = {"add_generation_prompt": to_answer, **({"enable_thinking": False} if to_answer else {})}
        try:
            text = self._rendered(conversation, options)
        except (DataError, ModelError):
            raise
        except Exception as error:
            if isinstance(error, TemplateOverrun):
                self._count_overrun(error)
            said = str(error) if str(error) else type(error).__name__
            kind = "" if type(error).__module__.startswith("jinja2") else f"{type(error).__name__}: "
            roles = short(", ".join(message["role"] for message in conversation))
            raise DataError(
                f"The model's chat template refuses pair {short(name)} (roles: {roles}): {kind}{said}. Prepare it "
                "without such turns."
            ) from error
        return text, any(message["content"] not in text for message in conversation)

    @property
    def is_foreign(self) -> bool:
        """Whether the tokenizer has a way of its own to render, without a template that we could run."""
        if self._reading.source is not None:
            return False
        return type(self._tokenizer).apply_chat_template is not PreTrainedTokenizerBase.apply_chat_template

    def _rendered(self, conversation: Sequence[Message], options: dict[str, Any]) -> str:
        if self.is_foreign:
            return self._tokenizer.apply_chat_template(list(conversation), tokenize=False, **options)
        variables = {**self._tokenizer.special_tokens_map, **options}
        return chat_template(self.source, self._reading.clock).render(conversation, variables)

    def _count_overrun(self, error: TemplateOverrun) -> None:
        with self._lock:
            self._overruns += 1
            if self._overruns >= _OVERRUNS:
                raise ModelError(
                    f"The model's chat template comes to no end: {error}, for {self._overruns} conversations. Give "
                    "another (score.template)."
                ) from error


def fold_system(turns: Sequence[Message], system: System) -> Sequence[Message]:
    """A conversation whose system turns stay, go before the next turn of the user's, or are left out."""
    if system == "keep" or all(turn["role"] != "system" for turn in turns):
        return turns
    others: list[Message] = []
    waiting: list[str] = []
    for turn in turns:
        if turn["role"] == "system":
            waiting.append(turn["content"])
        elif turn["role"] == "user" and waiting and system == "merge":
            others.append({**turn, "content": "\n\n".join([*waiting, turn["content"]])})
            waiting = []
        else:
            others.append(turn)
    if waiting and system == "merge":  # no turn of the user's follows
        last = max((i for i, turn in enumerate(others) if turn["role"] == "user"), default=None)
        if last is None:
            return [{"role": "user", "content": "\n\n".join(waiting)}, *others]
        others[last] = {**others[last], "content": "\n\n".join([others[last]["content"], *waiting])}
    return others
