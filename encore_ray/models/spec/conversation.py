"""What a model reads: conversations, the template that renders them, and which part of them counts."""

from typing import Literal, get_args

Message = dict[str, str]  # role and content

Template = Literal["chat", "plain-v1", "response-v1", "pair-v1"]
TEMPLATES: tuple[Template, ...] = get_args(Template)

Reads = Literal["conversation", "response"]  # what an embedding is of
