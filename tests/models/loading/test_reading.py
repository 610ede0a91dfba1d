"""What a model reads of conversations is what its own library reads, from the messages on; and it is told before."""

import hashlib
import json
from functools import partial

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from encore_ray.errors import ModelError
from encore_ray.models.forward.scorer import PairScorer
from encore_ray.models.judge.questions import ask_rating
from encore_ray.models.loading.checkpoint import load_models
from encore_ray.models.loading.look_ahead import look_ahead
from encore_ray.models.loading.reading import plan_judge_readings, plan_readings
from encore_ray.models.spec.conversation import Reading
from encore_ray.models.spec.load_options import LoadOptions
from encore_ray.models.spec.source import ModelSource
from tests.models import tiny

CPU = LoadOptions(device="cpu")


def reads(**reading):
    return LoadOptions(device="cpu", reading=Reading(**reading))


CONVERSATIONS = [
    [{"role": "user", "content": f"How do I get rid of {what}?"}, {"role": "assistant", "content": answer}]
    for what, answer in [("a gas bottle", "Ask the centre."), ("it", "No."), ("an old dog", "Please never do that.")]
]
ENDS_WITH_PAD = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}</s>{% endfor %}"
NO_BOS = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
TEMPLATES = {
    "writes the bos": (tiny.TEMPLATE, {}),
    "leaves the bos to the tokenizer": (NO_BOS, {}),
    "ends with eos, which is pad": (ENDS_WITH_PAD, {"pad": "</s>", "pad_token_id": 1}),
    "ends with eos and two pads": (ENDS_WITH_PAD + "</s></s>", {"pad": "</s>", "pad_token_id": 1}),
}


def save(folder, case, family="llama"):
    template, settings = TEMPLATES[case]
    tok = tiny.tokenizer(chat=True, pad=settings.get("pad", "<pad>"))
    tok.chat_template = template
    config = tiny.config(family, vocab_size=len(tok), pad_token_id=settings.get("pad_token_id"))
    return tiny.save_classifier(folder, config, tok=tok)


@torch.inference_mode()
def by_transformers(folder):
    """Scores [N, K] from the messages on, by nothing but transformers."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    rows = []
    for messages in CONVERSATIONS:
        ids = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=True, return_tensors="pt")["input_ids"]
        rows.append(model(input_ids=ids).logits[0].numpy())
    return np.stack(rows)


def by_us(folder, options=CPU):
    (model,) = load_models(ModelSource(folder), options)
    pairs = model.conversations.tokenize_pairs(
        [turns[:1] for turns in CONVERSATIONS],
        chosen=[turns[1:] for turns in CONVERSATIONS],
        rejected=[None] * len(CONVERSATIONS),
    )
    return PairScorer(model).score(pairs)[:, 0]


@pytest.mark.parametrize("family", ["llama", "qwen2", "gpt2"])
@pytest.mark.parametrize("case", TEMPLATES)
def test_scores_are_those_of_transformers_from_the_messages_on(tmp_path, case, family):
    folder = save(tmp_path, case, family)
    expected = by_transformers(folder)
    np.testing.assert_allclose(by_us(folder), expected, atol=1e-5 * expected.std(), rtol=1e-5)


@pytest.mark.parametrize(
    ("case", "options", "facts"),
    [
        ("writes the bos", CPU, {}),
        ("leaves the bos to the tokenizer", CPU, {"bos": "template"}),
        ("leaves the bos to the tokenizer", reads(bos="tokenizer"), {"bos": "tokenizer"}),
        ("writes the bos", reads(bos="both"), {"bos": "both"}),
        ("writes the bos", reads(bos="none"), {"bos": "none"}),
        ("ends with eos, which is pad", CPU, {"bos": "template", "ending": "transformers"}),
        (
            "ends with eos, which is pad",
            reads(ending="whole"),
            {"bos": "template", "ending": "whole"},
        ),
        ("writes the bos", reads(ending="eos"), {"ending": "eos"}),
    ],
)
def test_an_option_that_decides_scores_is_recorded_and_told_and_no_other(tmp_path, case, options, facts):
    folder = save(tmp_path, case)
    (reading,) = plan_readings(ModelSource(folder), options)
    assert reading.facts == facts
    assert len(reading.notes) == 1 + len(facts)
    differs = np.abs(by_us(folder, options) - by_us(folder)).max() > 1e-3
    assert differs == (options != CPU)


@pytest.mark.parametrize("case", ["writes the bos", "leaves the bos to the tokenizer"])
def test_a_second_bos_that_is_not_read_is_told(tmp_path, case):
    (reading,) = plan_readings(ModelSource(save(tmp_path, case)), CPU)
    assert ("the BOS that it writes is the only one" in reading.notes[0]) == (case == "writes the bos")


BEHIND = {  # what a template writes behind a reply, and what is read of it when conversations end with EOS
    "nothing": ("", "</s>"),
    "the end of a turn": ("<|im_end|>", "<|im_end|></s>"),
    "that and a newline": ("<|im_end|>\n", "<|im_end|></s>"),
    "EOS": ("</s>", "</s>"),
    "EOS and a newline": ("</s>\n", "</s>"),
}


@pytest.mark.parametrize("case", BEHIND)
def test_conversations_end_with_eos_where_that_is_asked_for(tmp_path, case):
    written, expected = BEHIND[case]
    folder = save(tmp_path, "writes the bos")
    source = "{% for m in messages %}{{ m.role }}: {{ m.content }}" + written + "{% endfor %}"
    turns = CONVERSATIONS[0]

    def read(ending):
        (found,) = plan_readings(ModelSource(folder), reads(template="file", source=source, ending=ending))
        pairs = found.conversations.tokenize_pairs([turns[:1]], chosen=[turns[1:]], rejected=[None])
        return found.conversations.tokenizer.decode(pairs.chosen_ids[0]).split(turns[1]["content"])[1], found

    (as_written, usual), (closed, asked) = read("transformers"), read("eos")
    assert (as_written, closed) == (written, expected)
    assert asked.facts.get("ending") == (None if written == expected else "eos")
    assert ("do not end with the tokenizer's EOS" in usual.notes[0]) == ("EOS" not in case)


def edit(folder, name, **changes):
    file = folder / name
    file.write_text(json.dumps({**(json.loads(file.read_text()) if file.exists() else {}), **changes}))


def test_what_a_folder_has_and_nobody_reads_is_told(tmp_path):
    folder = save(tmp_path, "writes the bos")
    edit(folder, "config.json", auto_map={"AutoModelForSequenceClassification": "modeling_x.Mine"})
    edit(folder, "tokenizer_config.json", bos_token=None)
    (reading,) = plan_readings(ModelSource(folder), CPU)
    assert "it writes bos_token, which the tokenizer does not have: nothing stands there" in reading.notes[0]
    assert "its own code (modeling_x.Mine) is not run" in reading.notes[1]


def test_a_template_in_a_file_of_a_processor_is_the_models(tmp_path):
    folder = save(tmp_path, "writes the bos")
    expected = by_us(folder)
    (folder / "chat_template.jinja").unlink()
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": tiny.TEMPLATE}))
    assert by_us(folder).tolist() == expected.tolist()
    (folder / "chat_template.json").write_text("{}")
    with pytest.raises(ModelError, match=r"chat_template\.json is damaged"):
        plan_readings(ModelSource(folder), CPU)


@pytest.mark.parametrize(
    ("stated", "told"),
    [
        ({"sentence_transformers": {"activation_fn": "torch.nn.modules.activation.Sigmoid"}}, "a sigmoid behind"),
        ({"sbert_ce_default_activation_function": "torch.nn.modules.activation.Sigmoid"}, "link: sigmoid in rules"),
        (
            {"problem_type": "single_label_classification"},
            "a softmax behind its outputs: scores are the outputs before",
        ),
        ({"problem_type": "multi_label_classification"}, "a sigmoid behind"),
        ({"sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"}}, None),
        ({"problem_type": "regression"}, None),
    ],
)
def test_what_others_put_behind_the_outputs_of_a_classifier_is_told(tmp_path, stated, told):
    folder = save(tmp_path, "writes the bos")
    edit(folder, "config.json", **stated)
    (reading,) = plan_readings(ModelSource(folder), CPU)
    found = [note for note in reading.notes if "its configuration puts a" in note]
    assert [told in note for note in found] == [True] if told else not found


def test_a_cross_encoder_says_what_is_behind_its_outputs_in_a_file_of_its_own(tmp_path):
    folder = save(tmp_path, "writes the bos")
    edit(folder, "config_sentence_transformers.json", activation_fn="torch.nn.modules.activation.Sigmoid")
    (reading,) = plan_readings(ModelSource(folder), CPU)
    assert any("puts a sigmoid behind its outputs" in note for note in reading.notes)


def test_our_own_form_reads_as_its_heads_were_made(tmp_path):
    tok = tiny.tokenizer(chat=True)
    tok.chat_template = NO_BOS
    folder = tiny.save_own_form(tmp_path, "llama", pooling="last", tok=tok)
    (reading,) = plan_readings(ModelSource(folder), CPU)
    pairs = reading.conversations.tokenize_pairs([CONVERSATIONS[0][:1]], chosen=[CONVERSATIONS[0][1:]], rejected=[None])
    assert pairs.chosen_ids[0][0] == tok.bos_token_id
    assert reading.facts == {}


def asks(prompt, answer):
    return ask_rating([*prompt, *answer], tiny.RULES[0])


def sample(text, num_pairs=2):
    prompt = [{"role": "user", "content": "Hi."}]
    answer = [{"role": "assistant", "content": text}]
    ids = [f"p{i}" for i in range(num_pairs)]
    return [([prompt] * num_pairs, [answer] * num_pairs, [answer, None][:num_pairs], ids)]


def test_what_will_be_cut_is_told_with_the_limit_and_the_option(tmp_path):
    folder = save(tmp_path, "writes the bos")  # 128 positions
    readings = plan_readings(ModelSource(folder), LoadOptions(device="cpu", max_length=32))
    told = look_ahead(readings, sample("word " * 50), is_whole=True)
    assert told[-1] == (
        "32 tokens at most (of the model's 128): 3 of 3 conversations will lose their beginning; score.max_tokens "
        "raises it"
    )
    told = look_ahead(readings, sample("No."), is_whole=False)
    assert told[-1] == "32 tokens at most (of the model's 128): none of the 3 looked at conversations is longer"
    told = look_ahead(plan_readings(ModelSource(folder), CPU), sample("No."), is_whole=True)
    assert told[-1] == "128 tokens at most (the model's own limit): none of 3 conversations is longer"


def test_a_tokenizer_to_which_half_of_a_text_is_unknown_is_refused(tmp_path):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = "abcdefghijklmnopqrstuvwxyzHI0123456789,.?: "
    vocab = {token: i for i, token in enumerate(["<unk>", "<pad>", *letters])}
    backend = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    backend.decoder = decoders.Fuse()
    tok = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", pad_token="<pad>")
    folder = tiny.save_classifier(tmp_path, "gpt2", tok=tok)
    readings = plan_readings(ModelSource(folder), CPU)
    look_ahead(readings, sample("all of it is known"), is_whole=True)
    assert any(
        "are unknown to" in note
        for note in look_ahead(readings, sample("known, \u03b1\u03b2\u03b3\u03b4"), is_whole=True)
    )
    with pytest.raises(ModelError, match="of the first pairs are unknown to the model's tokenizer"):
        look_ahead(readings, sample("\u03b1\u03b2\u03b3" * 60), is_whole=True)


def test_an_encoder_that_was_trained_on_pairs_reads_two_texts(tmp_path):
    tok = tiny.tokenizer(cls=True)
    folder = tiny.save_classifier(tmp_path, "roberta", tok=tok)
    (reading,) = plan_readings(ModelSource(folder), reads(template="pair-v1"))
    prompt, answer = CONVERSATIONS[0][:1], CONVERSATIONS[0][1:]
    pairs = reading.conversations.tokenize_pairs([prompt], chosen=[answer], rejected=[None])
    expected = AutoTokenizer.from_pretrained(folder)(prompt[0]["content"], answer[0]["content"])["input_ids"]
    assert pairs.chosen_ids[0].tolist() == expected
    assert reading.facts == {}
    assert reading.template == "pair-v1"


def test_pairs_are_refused_for_a_model_that_tells_texts_apart_by_their_type(tmp_path):
    folder = tiny.save_classifier(tmp_path, "bert")
    with pytest.raises(ModelError, match="by token types"):
        plan_readings(ModelSource(folder), reads(template="pair-v1"))


def test_what_a_template_refuses_drops_and_makes_equal_is_told_by_pair(tmp_path):
    folder = save(tmp_path, "writes the bos")
    source = (
        "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        "{{ m.content.split('</think>')[-1] | trim }}\n{% endfor %}"
    )
    hi, asked = {"role": "user", "content": "Hi"}, {"role": "system", "content": "Be kind."}
    answers = [[{"role": "assistant", "content": text}] for text in ("fine", "<think>no</think>fine", "other")]
    part = ([[hi], [asked, hi], [hi]], answers[:1] * 3, [answers[1], answers[2], answers[2]], ["a", "b", "c"])

    def told(**reading):
        readings = plan_readings(ModelSource(folder), reads(template="file", source=source, **reading))
        return look_ahead(readings, [part], is_whole=True)

    first, bos, refused, altered, equal, length = told()
    assert bos.startswith("its chats begin as the template writes them")
    assert first.startswith("conversations are written by the chat template ")
    assert " (score.template)" in first
    assert "they do not end with the tokenizer's EOS" in first
    assert refused.startswith(
        "the template refuses 1 of 3 pairs: The model's chat template refuses pair b (roles: system"
    )
    assert altered.startswith("the template drops or changes text of 1 of 3 pairs")
    assert equal == "the template, or cutting, makes both responses the same in 1 of 3 pairs"
    assert length.endswith("none of 4 conversations is longer")  # 2 of each pair that is not refused
    merged = told(system="merge")
    assert "; system turns go before the user's next words (score.system)" in merged[0]
    assert not any("refuses" in note for note in merged)
    assert merged[-1].endswith("none of 6 conversations is longer")


def test_a_template_that_asks_for_the_time_is_named_with_its_digest_and_what_it_is_told(tmp_path):
    folder = save(tmp_path, "writes the bos")
    source = "{{ strftime_now('%Y') }}" + NO_BOS
    options = reads(template="file", source=source, clock="2031-02-03T00:00:00")
    for plan in (plan_readings, partial(plan_judge_readings, asks=asks)):
        (reading,) = plan(ModelSource(folder), options)
        assert reading.template == f"chat {hashlib.sha256(source.encode()).hexdigest()[:12]}"
        assert "it is told that it is 2031-02-03T00:00:00, at any time" in reading.notes[0]


def test_of_a_judge_the_question_counts(tmp_path):
    folder = save(tmp_path, "writes the bos")
    (reading,) = plan_judge_readings(ModelSource(folder), CPU, asks=asks)
    told = look_ahead([reading], sample("word " * 40), is_whole=True)
    assert told == [
        reading.notes[0],
        "128 tokens at most with the longest question (the model's own limit): 3 of 3 conversations will lose their "
        "beginning",
    ]
    (reading,) = plan_judge_readings(ModelSource(folder), CPU, asks=lambda prompt, answer: [*prompt, *answer])
    assert look_ahead([reading], sample("No."), is_whole=True)[1].endswith("none of 3 conversations is longer")


def test_of_a_judge_the_turns_that_it_reads_are_compared(tmp_path):
    folder = save(tmp_path, "writes the bos")
    refuses = "{% if messages[-1].role != 'user' %}{{ raise_exception('a question comes last') }}{% endif %}"
    options = reads(template="file", source=refuses + tiny.TEMPLATE)
    (reading,) = plan_judge_readings(ModelSource(folder), options, asks=asks)
    assert not any("refuses" in note for note in look_ahead([reading], sample("No."), is_whole=True))


def test_one_of_several_templates_is_read_by_its_name_and_needs_one(tmp_path):
    folder = save(tmp_path, "writes the bos")
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    stated = json.loads((folder / "tokenizer_config.json").read_text())
    several = [{"name": "rm", "template": NO_BOS}, {"name": "rag", "template": tiny.TEMPLATE}]
    (folder / "tokenizer_config.json").write_text(json.dumps({**stated, "chat_template": several}))
    with pytest.raises(ModelError, match=r"Name one by score\.template"):
        plan_readings(ModelSource(folder), CPU)
    (reading,) = plan_readings(ModelSource(folder), reads(template="rm"))
    assert reading.template == f"chat {hashlib.sha256(NO_BOS.encode()).hexdigest()[:12]}"
