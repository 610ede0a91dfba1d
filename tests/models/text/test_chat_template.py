"""Chat templates: rendered as transformers does, with a pinned clock and an end; what they refuse or drop is told."""

from typing import Any

import pytest

from encore_ray.config import ScoreOptions
from encore_ray.errors import DataError, ModelError
from encore_ray.models.spec.conversation import CLOCK, Message, Reading, System
from encore_ray.models.text import chat_template as module
from encore_ray.models.text.chat_template import ChatTemplate, TemplateOverrun, sees_clock
from encore_ray.models.text.conversations import ConversationTokenizer
from encore_ray.models.text.rendering import fold_system
from tests.models import tiny

TURNS: list[Message] = [
    {"role": "system", "content": "Be kind. "},
    {"role": "user", "content": " Hi <b>&amp; you\n"},
    {"role": "assistant", "content": "Hello."},
]
LLAMA_LIKE = (
    "{{- bos_token }}{%- if messages[0]['role'] == 'system' %}{%- set system = messages[0]['content']|trim %}"
    "{%- set messages = messages[1:] %}{%- else %}{%- set system = '' %}{%- endif %}{{ system + '\\n' }}"
    "{%- for m in messages %}{{- '<' + m['role'] + '>' + m.content | trim + loop.index|string }}"
    "{%- if loop.last %}{{- '!' ~ loop.length ~ loop.revindex }}{% endif %}{%- endfor %}"
)
SOURCES = [
    tiny.TEMPLATE,
    LLAMA_LIKE,
    "{% for m in messages %}{% if m.role == 'system' %}{% continue %}{% endif %}{{ m | tojson }}{% endfor %}",
    "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{{ ns.n * 2 }}{% endfor %}",
    "{% for m in messages if m.role != 'user' %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}",
    "{% macro one(m) %}[{{ m.content }}]{% endmacro %}{% for m in messages | reverse %}{{ one(m) }}{% endfor %}",
    "{% for key, value in messages[0].items() %}{{ key }}={{ '%s' % value }};{% endfor %}{{ add_generation_prompt }}",
    "{% for i in range(3) %}{{ loop.cycle('a', 'b') ~ i }}{% else %}x{% endfor %}"
    "{% for i in [] %}{% else %}y{% endfor %}",
    "{% if tools is none and documents is not defined %}a{% else %}b{% endif %}"
    "{{ 'x' * 3 + 'y' }}{{ 7 % 4 }}{{ 2 ** 5 }}",
]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("to_answer", [False, True])
def test_a_template_renders_as_transformers_renders_it(source: str, to_answer: bool) -> None:
    tokenizer = tiny.tokenizer(chat=True)
    tokenizer.chat_template = source
    expected = tokenizer.apply_chat_template(TURNS, tokenize=False, add_generation_prompt=to_answer)
    variables = {**tokenizer.special_tokens_map, "add_generation_prompt": to_answer}
    assert ChatTemplate(source, CLOCK).render(TURNS, variables) == expected


def test_a_template_that_writes_the_date_writes_the_same_one_at_any_time() -> None:
    source = "{{ strftime_now('%d %b %Y %H:%M:%S') }}"
    assert sees_clock(source)
    assert ScoreOptions().clock == CLOCK
    assert ChatTemplate(source, CLOCK).render(TURNS, {}) == "26 Jul 2024 00:00:00"
    assert ChatTemplate(source, "2031-02-03T04:05:06").render(TURNS, {}) == "03 Feb 2031 04:05:06"


@pytest.mark.parametrize(
    "source",
    [
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{% set r = range(9999) | list %}{% for a in r %}{% for b in r %}{% for c in r %}"
        "{% endfor %}{% endfor %}{% endfor %}",
        "{% for i in range(99999) %}{% for j in range(99999) %}xxxxxxxxxxxxxxxx{% endfor %}{% endfor %}",
        "{{ 'x' * 10 ** 12 }}",
        "{{ '%9999999999d' % 1 }}",
        "{{ 9 ** 99999999 }}",
        "{% set ns = namespace(x='ab') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
        "{% set ns = namespace(x='ab') %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
        "{% macro again(n) %}{{ again(n) }}{% endmacro %}{{ again(1) }}",
    ],
)
def test_a_template_without_an_end_ends(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_SECONDS", 0.2)
    with pytest.raises((TemplateOverrun, RecursionError)):
        ChatTemplate(source, CLOCK).render(TURNS, {})


def reads(source: str, /, max_length: int | None = None, **reading: Any) -> ConversationTokenizer:
    tokenizer = tiny.tokenizer(chat=True)
    tokenizer.chat_template = source
    config = tiny.config("llama", vocab_size=len(tokenizer))
    return ConversationTokenizer(tokenizer, config, reading=Reading(**reading), max_length=max_length)


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{ raise_exception('no system') }}", "no system"),
        ("{{ 'a' + 1 }}", "TypeError"),
        ("{{ messages[9].content.x.y }}", "has no element 9"),
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
        ("{{ messages.append(1) }}", "unsafe|not safely|SecurityError|not allowed"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}", "RecursionError"),
    ],
)
def test_whatever_a_template_raises_refuses_the_pair_by_name(template: str, words: str) -> None:
    with pytest.raises(DataError, match=rf"(?s)template refuses pair p7.*({words})"):
        reads(template).encode([TURNS], ["p7"])


def test_a_template_that_cannot_be_read_or_is_not_there_is_told_before_any_pair() -> None:
    with pytest.raises(ModelError, match=r"cannot be read: TemplateSyntaxError.*score\.template"):
        reads("{% for %}")
    with pytest.raises(ModelError, match=r"no template tool_use. Expected a FILE\.jinja, or one of chat"):
        reads(tiny.TEMPLATE, template="tool_use")


def test_a_template_without_an_end_for_one_pair_after_the_other_is_the_models_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MOST_SECONDS", 0.05)
    conversations = reads("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}")
    for _ in range(2):
        with pytest.raises(DataError, match=r"it runs for more than 0.05 s"):
            conversations.encode([TURNS], ["p"])
    with pytest.raises(ModelError, match="comes to no end"):
        conversations.encode([TURNS], ["p"])


def test_another_template_and_another_use_of_system_turns_are_read_as_asked_for() -> None:
    text = "{% for m in messages %}[{{ m.role }}:{{ m.content }}]{% endfor %}"
    plain = reads(tiny.TEMPLATE, template="file", source=text)
    (ids,) = plain.encode([TURNS[1:]], ["p"])
    assert plain.tokenizer.decode(ids, skip_special_tokens=True).replace(" ", "").startswith("[user")
    assert plain.digest != reads(tiny.TEMPLATE).digest
    assert reads(tiny.TEMPLATE, template="plain-v1").template == "plain-v1"
    refusing = "{% if messages[0].role == 'system' %}{{ raise_exception('no') }}{% endif %}" + text
    systems: tuple[System, ...] = ("merge", "drop")
    for system in systems:
        assert reads(refusing, system=system).encode([TURNS], ["p"]) == plain.encode(
            [fold_system(TURNS, system)], ["p"]
        )


@pytest.mark.parametrize(
    ("system", "folded"),
    [
        ("keep", [("system", "a"), ("user", "b"), ("system", "c"), ("assistant", "d")]),
        ("drop", [("user", "b"), ("assistant", "d")]),
        ("merge", [("user", "a\n\nb\n\nc"), ("assistant", "d")]),  # none of the user's follows c
    ],
)
def test_system_turns_stay_go_or_join_the_users(system: Any, folded: list[tuple[str, str]]) -> None:
    turns: list[Message] = [
        {"role": role, "content": text}
        for role, text in (("system", "a"), ("user", "b"), ("system", "c"), ("assistant", "d"))
    ]
    assert [(turn["role"], turn["content"]) for turn in fold_system(turns, system)] == folded


def test_text_that_a_template_drops_and_replies_that_it_makes_equal_are_counted() -> None:
    thoughtless = "{% for m in messages %}{{ m.role }}: {{ m.content.split('</think>')[-1] | trim }}\n{% endfor %}"
    replies = ["fine", "<think>no</think>fine", " fine ", "other"]
    answers = [[{"role": "assistant", "content": text}] for text in replies]
    prompt = [{"role": "user", "content": "Hi"}]
    pairs = reads(thoughtless).tokenize_pairs([prompt] * 4, chosen=[answers[0]] * 4, rejected=[*answers[1:], None])
    assert pairs.altered.tolist() == [True, True, False, False]
    assert pairs.made_equal.tolist() == [True, True, False, False]
    same = reads(thoughtless).tokenize_pairs([prompt], chosen=[answers[0]], rejected=[answers[0]])
    assert same.made_equal.tolist() == [False]  # the corpus did so


def test_replies_that_differ_in_nothing_but_what_is_cut_are_counted_as_equal() -> None:
    tail = " a" * 30
    answers = [[{"role": "assistant", "content": text + tail}] for text in ("yes", "no", "no")]
    plain = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    prompt = [{"role": "user", "content": "Hi"}]
    for limit, equal in ((20, True), (None, False)):
        pairs = reads(plain, max_length=limit).tokenize_pairs([prompt], chosen=answers[:1], rejected=answers[1:2])
        assert (pairs.made_equal.tolist(), pairs.chosen_truncated.tolist()) == ([equal], [equal])
