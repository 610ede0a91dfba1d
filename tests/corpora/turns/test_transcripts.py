"""A text of several turns is read into turns, whoever's markers it has; markers and space around are no content."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encore_ray.corpora.turns.transcripts import read_transcript
from tests.corpora.prepared import assistant, prepare, system, user, write_jsonl

QUESTION, ANSWER, MORE, REPLY = "Are green potatoes safe?", "Cut it away.", "And a whole one?", "Better not."
TURNS = [user(QUESTION), assistant(ANSWER), user(MORE)]

FORMS = {
    "HH-RLHF": f"\n\nHuman: {QUESTION}\n\nAssistant: {ANSWER}\n\nHuman: {MORE}\n\nAssistant:",
    "HH-RLHF, a space at the end": f"\n\nHuman: {QUESTION}\n\nAssistant: {ANSWER}\n\nHuman: {MORE}\n\nAssistant: ",
    "HH-RLHF, without an assistant": f"\n\nHuman: {QUESTION}\n\nAssistant: {ANSWER}\n\nHuman: {MORE}",
    "lines": f"Human: {QUESTION}\nAssistant: {ANSWER}\nHuman: {MORE}\nAssistant:",
    "blank lines": f"Human: {QUESTION}\n\nAssistant: {ANSWER}\n\nHuman: {MORE}\n\nAssistant:",
    "headings": f"### Human: {QUESTION}\n### Assistant: {ANSWER}\n### Human: {MORE}\n### Assistant:",
    "User": f"User: {QUESTION}\n\nAssistant: {ANSWER}\n\nUser: {MORE}\n\nAssistant:",
    "AI": f"Human: {QUESTION}\nAI: {ANSWER}\nHuman: {MORE}\nAI:",
    "[INST]": f"<s>[INST] {QUESTION} [/INST] {ANSWER} </s><s>[INST] {MORE} [/INST]",
    "Vicuna": f"USER: {QUESTION} ASSISTANT: {ANSWER}</s>USER: {MORE} ASSISTANT:",
    "ChatML": f"<|im_start|>user\n{QUESTION}<|im_end|>\n<|im_start|>assistant\n{ANSWER}<|im_end|>\n"
    f"<|im_start|>user\n{MORE}<|im_end|>\n<|im_start|>assistant\n",
    "Llama 3": f"<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n{QUESTION}<|eot_id|>"
    f"<|start_header_id|>assistant<|end_header_id|>\n\n{ANSWER}<|eot_id|>"
    f"<|start_header_id|>user<|end_header_id|>\n\n{MORE}<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
    "Gemma": f"<bos><start_of_turn>user\n{QUESTION}<end_of_turn>\n<start_of_turn>model\n{ANSWER}<end_of_turn>\n"
    f"<start_of_turn>user\n{MORE}<end_of_turn>\n<start_of_turn>model\n",
    "Zephyr": f"<|user|>\n{QUESTION}</s>\n<|assistant|>\n{ANSWER}</s>\n<|user|>\n{MORE}</s>\n<|assistant|>\n",
    "DeepSeek": f"<｜begin▁of▁sentence｜><｜User｜>{QUESTION}<｜Assistant｜>{ANSWER}<｜end▁of▁sentence｜><｜User｜>"
    f"{MORE}<｜Assistant｜>",
    "small letters": f"user: {QUESTION}\nassistant: {ANSWER}\nuser: {MORE}\nassistant:",
    "OASST's pairs": f"prompter: {QUESTION} assistant: {ANSWER} prompter: {MORE} assistant:",
    "one line": f"Human: {QUESTION} Assistant: {ANSWER} Human: {MORE} Assistant:",
    "headings in one line": f"###Human: {QUESTION} ###Assistant: {ANSWER} ###Human: {MORE} ###Assistant:",
    "bold": f"**User:** {QUESTION}\n\n**Assistant:** {ANSWER}\n\n**User:** {MORE}\n\n**Assistant:**",
    "OASST": f"<|prompter|>{QUESTION}<|endoftext|><|assistant|>{ANSWER}<|endoftext|><|prompter|>{MORE}<|endoftext|>"
    "<|assistant|>",
    "Phi 4": f"<|im_start|>user<|im_sep|>{QUESTION}<|im_end|><|im_start|>assistant<|im_sep|>{ANSWER}<|im_end|>"
    f"<|im_start|>user<|im_sep|>{MORE}<|im_end|><|im_start|>assistant<|im_sep|>",
    "GLM": f"[gMASK]<sop><|user|>\n{QUESTION}<|assistant|>\n{ANSWER}<|user|>\n{MORE}<|assistant|>",
    "Llama 4": f"<|begin_of_text|><|header_start|>user<|header_end|>\n\n{QUESTION}<|eot|><|header_start|>assistant"
    f"<|header_end|>\n\n{ANSWER}<|eot|><|header_start|>user<|header_end|>\n\n{MORE}<|eot|>"
    "<|header_start|>assistant<|header_end|>\n\n",
    "Granite": f"<|start_of_role|>user<|end_of_role|>{QUESTION}<|end_of_text|>\n<|start_of_role|>assistant"
    f"<|end_of_role|>{ANSWER}<|end_of_text|>\n<|start_of_role|>user<|end_of_role|>{MORE}<|end_of_text|>\n"
    "<|start_of_role|>assistant<|end_of_role|>",
    "Cohere": f"<BOS_TOKEN><|START_OF_TURN_TOKEN|><|USER_TOKEN|>{QUESTION}<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|>"
    f"<|CHATBOT_TOKEN|>{ANSWER}<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|USER_TOKEN|>{MORE}<|END_OF_TURN_TOKEN|>"
    "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
    "EXAONE": f"[|user|]{QUESTION}[|endofturn|]\n[|assistant|]{ANSWER}[|endofturn|]\n[|user|]{MORE}\n[|assistant|]",
    "Moss": f"[|Human|]: {QUESTION} [|AI|]: {ANSWER} [|Human|]: {MORE} [|AI|]:",
    "OpenChat": f"GPT4 Correct User: {QUESTION}<|end_of_turn|>GPT4 Correct Assistant: {ANSWER}<|end_of_turn|>"
    f"GPT4 Correct User: {MORE}<|end_of_turn|>GPT4 Correct Assistant:",
    "human and bot": f"<human>: {QUESTION}\n<bot>: {ANSWER}\n<human>: {MORE}\n<bot>:",
    "SteerLM": f"{QUESTION}\n<extra_id_1>Assistant\n{ANSWER}\n<extra_id_1>User\n{MORE}",
}
WITH_SYSTEM = {
    "[INST]": "[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi. [/INST]",
    "ChatML": "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi.<|im_end|>\n<|im_start|>assistant\n",
    "lines": "System: Be brief.\n\nHuman: Hi.\n\nAssistant:",
    "Vicuna": "Be brief. USER: Hi. ASSISTANT:",
}


@pytest.mark.parametrize(
    "text", ["uſer: Hi.\nAssistant: Yes?", "User: Hi.\nAſſiſtant: Yes?", "Human: Hi. aſſistant: Yes?"]
)
def test_a_letter_that_only_looks_like_a_speakers_is_content(text: str):
    found = read_transcript(text)
    assert found is None or all(role == "user" for role, _ in found.turns)


@pytest.mark.parametrize("reply", [REPLY, f" {REPLY}", f"\n{REPLY}</s>", f" {REPLY}<|im_end|>"])
@pytest.mark.parametrize("form", FORMS)
def test_a_transcript_in_the_prompt_is_read_into_turns(tmp_path: Path, form: str, reply: str):
    path = write_jsonl(tmp_path / "a.jsonl", [{"prompt": FORMS[form], "chosen": reply, "rejected": " Enjoy."}])
    [pair] = prepare(path).pairs
    assert pair["prompt"] == TURNS
    assert (pair["chosen"], pair["rejected"]) == ([assistant(REPLY)], [assistant("Enjoy.")])


@pytest.mark.parametrize("form", FORMS)
def test_so_is_one_before_a_single_response_or_in_a_message(tmp_path: Path, form: str):
    rows = [{"prompt": FORMS[form], "response": f" {REPLY}"}]
    assert prepare(write_jsonl(tmp_path / "a.jsonl", rows)).pairs[0]["prompt"] == TURNS
    rows = [{"prompt": [user(FORMS[form])], "chosen": [assistant(REPLY)], "rejected": [assistant("Enjoy.")]}]
    assert prepare(write_jsonl(tmp_path / "b.jsonl", rows)).pairs[0]["prompt"] == TURNS


@pytest.mark.parametrize("form", WITH_SYSTEM)
def test_the_system_text_of_a_transcript_is_a_system_turn(tmp_path: Path, form: str):
    path = write_jsonl(tmp_path / "a.jsonl", [{"prompt": WITH_SYSTEM[form], "chosen": "Yes.", "rejected": "No."}])
    assert prepare(path).pairs[0]["prompt"] == [system("Be brief."), user("Hi.")]


@pytest.mark.parametrize("form", [name for name in FORMS if name != "HH-RLHF, without an assistant"])
def test_two_whole_transcripts_are_two_conversations(tmp_path: Path, form: str):
    start = FORMS[form] if form != "SteerLM" else f"{FORMS[form]}\n<extra_id_1>Assistant\n"
    if form == "SteerLM":  # begins without a marker: it is known as a prompt only
        return
    path = write_jsonl(tmp_path / "a.jsonl", [{"chosen": f"{start}{REPLY}", "rejected": f"{start}Enjoy."}])
    [pair] = prepare(path).pairs
    assert pair["prompt"] == TURNS
    assert [pair[side][0]["content"].strip() for side in ("chosen", "rejected")] == [REPLY, "Enjoy."]


@pytest.mark.parametrize(
    "text",
    [
        "What does 'Human: hi' mean?",
        "What is <|im_start|>user in a template?",
        "Write a dialogue.\n\nHuman: hi\n\nAssistant: hello",
        "User: bob cannot log in. Why?",
        "Explain [INST] and [/INST] to me.",
        "System: a definition of the word.",
        "<|endoftext|> is what?",
        "user: bob cannot log in. Why?",
        "Q: What is 2 + 2?\nA: 4\nQ: What is 3 + 3?\nA:",
        "<user> is which tag?",
    ],
)
def test_a_text_that_only_mentions_markers_is_one_user_turn(tmp_path: Path, text: str):
    path = write_jsonl(tmp_path / "a.jsonl", [{"prompt": text, "chosen": " Yes.", "rejected": "No."}])
    [pair] = prepare(path).pairs
    assert (pair["prompt"], pair["chosen"]) == ([user(text)], [assistant(" Yes.")])


@pytest.mark.parametrize(
    "text",
    [
        "Below is an instruction.\n\n### Instruction:\nSay hi.\n\n### Response:\n",
        "Some words before.\n\nHuman: hi\n\nAssistant:",
        "Human: hi\nAssistant: hello",
        "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nhello<|im_end|>",
        "Hi <|assistant|>",
        "<|start|>user<|message|>hi<|end|><|start|>assistant<|channel|>final<|message|>",
        "<|im_user|>user<|im_middle|>hi<|im_end|>",
        "<|im_start|>userhi<|im_end|>",
        "<reserved_106>hi<reserved_107>",
        "<user>hi</user><assistant>yes</assistant><user>why?</user>",
        "[SYSTEM_PROMPT]Be brief.[/SYSTEM_PROMPT][INST]hi[/INST]",
    ],
)
def test_what_cannot_be_read_into_turns_is_refused_by_a_reason_of_its_own(tmp_path: Path, text: str):
    path = write_jsonl(tmp_path / "a.jsonl", [{"prompt": text, "chosen": "Yes.", "rejected": "No."}])
    done = prepare(path)
    assert (done.pairs, done.reasons) == ([], {"unread_transcript": 1})


@pytest.mark.parametrize("form", FORMS)
def test_a_response_may_repeat_the_prompt(tmp_path: Path, form: str):
    if form in ("HH-RLHF, without an assistant", "SteerLM"):
        return
    row = {"prompt": FORMS[form], "chosen": f"{FORMS[form]} {REPLY}", "rejected": f"{FORMS[form]} Enjoy."}
    [pair] = prepare(write_jsonl(tmp_path / "a.jsonl", [row, row]), settings=None).pairs[:1]
    assert pair["prompt"] == TURNS


WORDS = st.text(st.sampled_from("ab é:\n#<|>[]INSThumanASSISTANT_/"), max_size=30)


@given(
    text=st.lists(st.sampled_from([*FORMS.values(), "Human:", "[INST]", "<|im_start|>", "a\n"]) | WORDS).map("".join)
)
def test_no_text_is_too_strange_to_be_looked_at(text: str):
    found = read_transcript(text)
    if found is not None:
        assert found.turns
        assert {role for role, _ in found.turns} <= {"system", "user", "assistant"}
