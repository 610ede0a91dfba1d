"""The tokens that go into a model are compared with those of transformers itself, from the messages on."""

import pytest
from transformers import PreTrainedTokenizerFast

from encore_ray.errors import ModelError
from encore_ray.models.spec.conversation import Reading
from encore_ray.models.text.conversations import ConversationTokenizer
from encore_ray.models.text.reference import check_tokens
from tests.models import tiny

TURNS = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "How do I get rid of an old gas bottle?"},
    {"role": "assistant", "content": "Please ask your local recycling centre."},
]
FORGED = [*TURNS[:2], {"role": "assistant", "content": "ok<|im_end|>"}]
CLOCK = "{{ strftime_now('%d %b %Y') }}" + tiny.TEMPLATE


class Odd(PreTrainedTokenizerFast):
    """Writes one text, and makes tokens of another, as wrappers of foreign tokenizers may."""

    def apply_chat_template(self, conversation, **options):  # pyright: ignore[reportIncompatibleMethodOverride]
        found = super().apply_chat_template(conversation, **{**options, "return_dict": False})
        return [*found, self.eos_token_id] if options.get("tokenize", True) else found


class Broken(PreTrainedTokenizerFast):
    def apply_chat_template(self, conversation, **options):  # pyright: ignore[reportIncompatibleMethodOverride]
        if options.get("tokenize", True):
            raise NotImplementedError("only text")
        return super().apply_chat_template(conversation, **options)


class Plain(PreTrainedTokenizerFast):
    """Knows no options but the most common, and takes no template."""

    def apply_chat_template(self, conversation, tokenize=True, add_generation_prompt=False, enable_thinking=True):  # pyright: ignore[reportIncompatibleMethodOverride]
        text = "".join(f"{turn['role']}: {turn['content']}" for turn in conversation)
        return self(text, add_special_tokens=False)["input_ids"] if tokenize else text


def made_of(kind):
    known = tiny.tokenizer(chat=True)
    tok = kind(tokenizer_object=known.backend_tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>")
    tok.chat_template = tiny.TEMPLATE
    return tok


def reads(tok, **options):
    return ConversationTokenizer(tok, tiny.config("llama", vocab_size=len(tok)), **options)


@pytest.mark.parametrize("system", ["keep", "merge", "drop"])
@pytest.mark.parametrize("bos", ["template", "tokenizer", "both", "none"])
@pytest.mark.parametrize("template", [tiny.TEMPLATE, tiny.TEMPLATE.removeprefix("{{ bos_token }}")])
def test_a_tokenizer_of_transformers_makes_the_same_tokens(template, bos, system):
    tok = tiny.tokenizer(chat=True)
    tok.chat_template = template
    conversations = reads(tok, reading=Reading(system=system), bos=bos)
    assert check_tokens(conversations, [TURNS, TURNS[1:]], ["a", "b"]) == 2


def test_a_template_that_is_given_is_compared_with_itself():
    tok = tiny.tokenizer(chat=False)
    conversations = reads(tok, reading=Reading(template="own", source=tiny.TEMPLATE))
    assert check_tokens(conversations, [TURNS], ["a"]) == 1


def test_what_differs_on_purpose_is_not_compared():
    tok = tiny.tokenizer(chat=True)
    assert check_tokens(reads(tok), [FORGED, TURNS], ["a", "b"]) == 1
    tok.chat_template = CLOCK
    assert check_tokens(reads(tok), [TURNS], ["a"]) == 0
    assert check_tokens(reads(tiny.tokenizer()), [TURNS], ["a"]) == 0  # no chat template: ours


@pytest.mark.parametrize(
    ("kind", "said"),
    [(Odd, r"Of pair a the model would read other tokens.*\(Odd\).*begins the end, not '</s>'"), (Broken, "only text")],
)
def test_a_tokenizer_that_makes_other_tokens_of_messages_than_of_its_text_is_refused(kind, said):
    with pytest.raises(ModelError, match=said):
        check_tokens(reads(made_of(kind)), [TURNS], ["a"])


def test_a_tokenizer_with_a_way_of_its_own_is_compared_by_it_and_a_template_that_is_given_without() -> None:
    assert check_tokens(reads(made_of(Plain)), [TURNS], ["a"]) == 1
    for kind in (Plain, Odd):
        given = reads(made_of(kind), reading=Reading(template="own", source=tiny.TEMPLATE))
        assert check_tokens(given, [TURNS], ["a"]) == 1


def test_a_question_of_a_judge_is_compared_with_the_turn_that_it_opens() -> None:
    tok = tiny.tokenizer(chat=True)
    tok.chat_template = (
        tiny.TEMPLATE + "{% if add_generation_prompt %}<|im_start|>assistant\n"
        "{% if not enable_thinking %}</s>{% endif %}{% endif %}"
    )
    assert check_tokens(reads(tok), [TURNS[:2]], ["a"], to_answer=True) == 1
