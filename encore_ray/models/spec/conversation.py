"""What a model reads: conversations, the template that renders them, and which part of them counts."""

from dataclasses import dataclass
from typing import Literal, get_args

Message = dict[str, str]  # role and content

Template = Literal["chat", "plain-v1", "response-v1", "pair-v1"]
TEMPLATES: tuple[Template, ...] = get_args(Template)

Reads = Literal["conversation", "response"]  # what an embedding is of

# What a template takes the time to be: one that writes today's date gives the same scores at any time. It is the date
# that templates of Llama 3 write where they are told none, and the default of score.clock.
CLOCK = "2024-07-26T00:00:00"

System = Literal["keep", "merge", "drop"]  # what becomes of a system turn
Bos = Literal["template", "tokenizer", "both", "none"]
Ending = Literal["transformers", "whole", "eos"]


@dataclass(frozen=True)
class Reading:
    """How conversations are read, where that is not left to the model's folder.

    Attributes:
        template: one of TEMPLATES, the name of one of several that a tokenizer has, or that of a file; None: as the
            model's folder says.
        source: of the file, in Jinja.
        system: whether system turns stay, go before the first turn of the user's, or are left out.
        clock: what a template takes the time to be, in ISO 8601.
        bos: who writes the first token of a chat: the template alone, as transformers' apply_chat_template; or the
            tokenizer, where the template does not; both, so that there may be two; or none.
        ending: what a classifier of transformers reads where pad tokens end a conversation: up to the last that is
            none, as its own forward does, or the whole. Or what any model reads: up to the tokenizer's EOS, which is
            put behind a conversation that does not end with it.
    """

    template: str | None = None
    source: str | None = None
    system: System = "keep"
    clock: str = CLOCK
    bos: Bos = "template"
    ending: Ending = "transformers"
