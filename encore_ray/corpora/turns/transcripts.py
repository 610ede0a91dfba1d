"""Transcripts: one text that holds several turns behind markers, as chat templates and older data sets write them.

Markers and the space around them are no content. A text is a transcript by its beginning, since people also ask about
markers: one that only mentions them is what it is.
"""

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

Turn = tuple[str, str]
SYSTEM, USER, ASSISTANT = "system", "user", "assistant"
TRANSCRIPT_START = "\n\nHuman:"

_SPEAKERS = MappingProxyType(
    {
        "system": SYSTEM,
        "developer": SYSTEM,
        "human": USER,
        "user": USER,
        "assistant": ASSISTANT,
        "ai": ASSISTANT,
        "model": ASSISTANT,
        "gpt": ASSISTANT,
        "prompter": USER,
        "bot": ASSISTANT,
        "chatbot": ASSISTANT,
    }
)


@dataclass(frozen=True, slots=True)
class Transcript:
    """A text taken apart.

    Attributes:
        form: whose way of writing it is, for people.
        turns: with their content; one that the text opens and leaves empty is empty here, too.
        is_sure: whether nobody writes such a beginning who means anything else.
    """

    form: str
    turns: tuple[Turn, ...]
    is_sure: bool = True

    @property
    def is_open(self) -> bool:
        """Whether it ends where an assistant is to go on."""
        role, content = self.turns[-1]
        return role == ASSISTANT and not content.strip()


@dataclass(frozen=True)
class _Marked:
    """A template that opens each turn by a token with the speaker's name, and closes it by another."""

    form: str
    opening: re.Pattern[str]
    closing: re.Pattern[str]


_MARKED = (
    _Marked("ChatML", re.compile(r"<\|im_start\|>[ ]*(\w+)[ ]*(?:<\|im_sep\|>|\n)?"), re.compile(r"<\|im_end\|>\s*\Z")),
    _Marked(
        "Llama 3", re.compile(r"<\|start_header_id\|>(\w+)<\|end_header_id\|>\s*"), re.compile(r"<\|eot_id\|>\s*\Z")
    ),
    _Marked("Llama 4", re.compile(r"<\|header_start\|>(\w+)<\|header_end\|>\s*"), re.compile(r"<\|eot\|>\s*\Z")),
    _Marked(
        "Granite",
        re.compile(r"<\|start_of_role\|>(\w+)<\|end_of_role\|>"),
        re.compile(r"<\|end_of_text\|>\s*\Z"),
    ),
    _Marked(
        "Cohere",
        re.compile(r"<\|START_OF_TURN_TOKEN\|><\|(SYSTEM|USER|CHATBOT)_TOKEN\|>"),
        re.compile(r"<\|END_OF_TURN_TOKEN\|>\s*\Z"),
    ),
    _Marked("[|Human|]", re.compile(r"\[\|(?!endofturn)(\w+)\|\]:?[ ]?"), re.compile(r"\[\|endofturn\|\]\s*\Z")),
    _Marked("OpenChat", re.compile(r"GPT4 Correct (User|Assistant):"), re.compile(r"<\|end_of_turn\|>\s*\Z")),
    _Marked("<human>", re.compile(r"<(human|bot)>:"), re.compile(r"\s*\Z")),
    _Marked("Gemma", re.compile(r"<start_of_turn>(\w+)\n?"), re.compile(r"<end_of_turn>\s*\Z")),
    _Marked(
        "Zephyr",
        re.compile(r"<\|(system|user|prompter|assistant)\|>\s*\n?", re.IGNORECASE),
        re.compile(r"(?:</s>|<\|end(?:oftext)?\|>)\s*\Z"),
    ),
    _Marked("DeepSeek", re.compile(r"<｜(User|Assistant)｜>"), re.compile(r"<｜end▁of▁sentence｜>\s*\Z")),
)
_BEGIN = re.compile(r"(?:\s|<s>|<bos>|<BOS_TOKEN>|\[gMASK\]|<sop>|<\|begin_of_text\|>|<｜begin▁of▁sentence｜>)*")
_HH_ASSISTANT = "\n\nAssistant:"
_HH_MARKERS = (TRANSCRIPT_START, _HH_ASSISTANT)
_HH = re.compile(r"\n\n(Human|Assistant):")
_HH_SPEAKERS = {"Human": USER, "Assistant": ASSISTANT}
# Small and large letters are those of ASCII: without that a long s is an s, and no speaker is called so.
_LINE = re.compile(
    r"(?:(?:\A|\n)[ \t]*(?:###[ ]?|\*\*)?|\s###[ ]?)((?ai:System|Human|User|Prompter|Assistant|AI)):(?:\*\*)?"
)
_LINE_BEGIN = re.compile(r"\s*(?:###[ ]?|\*\*)?(?ai:System|Human|User|Prompter):")
_IN_ONE_LINE = re.compile(r"(?:\A|\s)((?ai:Human|Prompter|Assistant)):")
_VICUNA = re.compile(r"(?:\A|(?<=\s)|(?<=</s>))(USER|ASSISTANT):")
_INSTRUCTION = re.compile(r"(?:<s>)?\s*(\[INST\]|\[/INST\])")
_SYSTEM_INSIDE = re.compile(r"\s*<<SYS>>(.*?)<</SYS>>", re.DOTALL)
_STEERLM = re.compile(r"\n?<extra_id_(?:0|1)>(System|User|Assistant)\n")
ENDS = (
    "</s>",
    "<|im_end|>",
    "<|eot_id|>",
    "<end_of_turn>",
    "<|end|>",
    "<|endoftext|>",
    "<eos>",
    "<｜end▁of▁sentence｜>",
)
_END_TOKENS = re.compile(rf"(?:\s*(?:{'|'.join(map(re.escape, ENDS))}))+\s*\Z")
# What a reply may begin with that is not its own.
SPEAKER = r"\s*(?:###[ ]?|\*\*)?(?:Assistant|ASSISTANT):(?:\*\*)?"
_SPEAKER = re.compile(SPEAKER)
# What is worth taking a text apart for, also as Arrow's regular expressions know it: how it begins, or has inside.
BEGINNING = (
    r"(?i:\s|<s>|<bos>|<BOS_TOKEN>)*(?i:<[|｜s]|<human>|\[/?INST|\[\||\[gMASK|GPT4 Correct |A chat between "
    r"|(?:### ?|\*\*)?(?:System|Human|User|Prompter):)"
)
INSIDE = "<extra_id_1>"
_BEGINNING = re.compile(BEGINNING)
# What stands between angle brackets and the like, as only templates write it.
_MARK = (
    r"(?:<\|[^|<>\s]{1,40}\|>|<｜[^｜<>\s]{1,40}｜>|\[\|\w{1,20}\|\]|\[gMASK\]|<\w{1,24}_TOKEN>|<reserved_\d{1,4}>"
    r"|<(?:system|human|user|prompter|assistant|bot|model|ai)>)"
)
_FOREIGN = re.compile(rf"\s*{_MARK}.*?{_MARK}", re.DOTALL | re.IGNORECASE)
# What an assistant is to go on behind, but for space.
ENDING = (
    r"(?:\n\s*(?:###[ ]?)?(?:Assistant|ASSISTANT|AI):|\sASSISTANT:|\n###[ ]?Response:|\[/INST\]|<\|im_start\|>assistant"
    r"|<\|assistant\|>|<\|start_header_id\|>assistant<\|end_header_id\|>|<start_of_turn>model|<｜Assistant｜>)"
)
_ASKS_ON = re.compile(rf"{ENDING}\s*\Z")


def read_transcript(text: str) -> Transcript | None:
    """The turns of a text that is a transcript from its beginning on; None for any other text."""
    if text.startswith(TRANSCRIPT_START):
        return Transcript("HH-RLHF", _hh_turns(text))
    if not (_BEGINNING.match(text) or INSIDE in text):
        return _vicuna(text) if text.rstrip().endswith("ASSISTANT:") else None
    begin = _BEGIN.match(text)
    rest = text[begin.end() :] if begin else text
    for marked in _MARKED:
        if marked.opening.match(rest):
            return _marked(rest, marked)
    if rest.startswith("[INST]"):
        return _instructions(rest)
    if INSIDE in text:
        return _steerlm(text)
    return (_vicuna(text) if rest.startswith("USER:") else None) or _lines(text) or _vicuna(text)


def is_foreign(text: str) -> bool:
    """Whether a text that is no known transcript is one all the same.

    Then it ends with the marker behind which an assistant is to speak, or begins with a token of a template and has
    another one.
    """
    return _asks_on(text) or bool(_FOREIGN.match(text))


def _asks_on(text: str) -> bool:
    return bool(_ASKS_ON.search(text[-200:]))


def spoken(text: str) -> str:
    """A turn of a transcript without what is its marking: space in front, tokens that end it."""
    return _END_TOKENS.sub("", text).lstrip()


def replied(text: str) -> str:
    """A reply to a transcript, in whose form it may name its speaker once more, without its marking."""
    return spoken(text[found.end() :] if (found := _SPEAKER.match(text)) else text)


def is_marked(text: str) -> bool:
    """Whether a reply begins with a speaker, or ends with a token that ends a turn."""
    return bool(_SPEAKER.match(text)) or text.rstrip().endswith(ENDS)


def _hh_turns(text: str) -> tuple[Turn, ...]:
    """Turns behind the markers of HH-RLHF; the one space after each is no content."""
    asked, answered = text.rfind(TRANSCRIPT_START), text.rfind(_HH_ASSISTANT)
    if asked > answered:
        return (*_hh_before(text[:asked]), (USER, _behind(text, asked + len(TRANSCRIPT_START))))
    return (*_hh_before(text[:answered]), (ASSISTANT, _behind(text, answered + len(_HH_ASSISTANT))))


def last_replies(one: str, other: str) -> tuple[tuple[Turn, ...], str, str] | None:
    """Of two transcripts of HH-RLHF that differ in their last turn alone: those before it, and what it says in either.

    None of any other two texts.
    """
    answered = one.rfind(_HH_ASSISTANT)
    start = answered + len(_HH_ASSISTANT)
    if answered < 0 or not one.startswith(TRANSCRIPT_START) or not other.startswith(one[:start]):
        return None
    if one.rfind(TRANSCRIPT_START) > answered or max([other.find(marker, start) for marker in _HH_MARKERS]) >= 0:
        return None
    return _hh_split(one[:answered]), _behind(one, start), _behind(other, start)


def _hh_split(text: str) -> tuple[Turn, ...]:
    parts = _HH.split(text)
    contents = [content[1:] if content.startswith(" ") else content for content in parts[2::2]]
    return tuple(zip([_HH_SPEAKERS[name] for name in parts[1::2]], contents, strict=True))


_hh_before = functools.lru_cache(maxsize=2)(_hh_split)  # of the last turn: mostly, both sides of a pair have the same


def _behind(text: str, start: int) -> str:
    return text[start + text.startswith(" ", start) :]


def _turns(parts: list[str], *, speakers: Mapping[str, str] = _SPEAKERS) -> tuple[Turn, ...]:
    """Turns of a split text, whose first part comes before any marker."""
    contents = (spoken(content).rstrip() for content in parts[2::2])
    return tuple((speakers[name.lower()], content) for name, content in zip(parts[1::2], contents, strict=True))


def _marked(text: str, marked: _Marked) -> Transcript | None:
    parts = marked.opening.split(text)
    if any(name.lower() not in _SPEAKERS for name in parts[1::2]):
        return None
    parts[2::2] = (marked.closing.sub("", content) for content in parts[2::2])
    return Transcript(marked.form, _turns(parts))


def _instructions(text: str) -> Transcript | None:
    parts = _INSTRUCTION.split(text)
    names = parts[1::2]
    if names != ["[INST]", "[/INST]"] * (len(names) // 2) + ["[INST]"] * (len(names) % 2):
        return None
    turns = list(_turns(parts, speakers={"[inst]": USER, "[/inst]": ASSISTANT}))
    system = _SYSTEM_INSIDE.match(turns[0][1])
    if system:
        turns[:1] = [(SYSTEM, system[1].strip()), (USER, turns[0][1][system.end() :].strip())]
    return Transcript("[INST]", tuple(turns))


def _steerlm(text: str) -> Transcript | None:
    """As HelpSteer2 writes prompts of several turns: the first one without a marker."""
    parts = _STEERLM.split(text)
    if len(parts) == 1:
        return None
    first = parts[0].strip()
    return Transcript("SteerLM", (*([(USER, first)] if first else []), *_turns(parts)))


def _lines(text: str) -> Transcript | None:
    """Lines that begin with Human: or User: and Assistant:; a person could have written them."""
    if not _LINE_BEGIN.match(text):
        return None
    parts = _LINE.split(text.lstrip())
    if len(parts) == 3:
        parts = _in_one_line(text.lstrip()) or parts
    turns = _turns(parts)
    if any(role == ASSISTANT for role, _ in turns):
        return Transcript("Human: and Assistant:", turns, is_sure=False)
    if len(turns) == 1 and parts[1] in ("Human", "prompter"):
        return Transcript("Human:", turns, is_sure=False)
    return None


def _in_one_line(text: str) -> list[str] | None:
    """The parts of a text whose speakers take turns behind any space, from a person on."""
    parts = _IN_ONE_LINE.split(text)
    roles = [_SPEAKERS[name.lower()] for name in parts[1::2]]
    return parts if len(roles) > 1 and roles == [(USER, ASSISTANT)[place % 2] for place in range(len(roles))] else None


def _vicuna(text: str) -> Transcript | None:
    parts = _VICUNA.split(text)
    if "ASSISTANT" not in parts[1::2] or not (_asks_on(text) or not parts[0].strip()):
        return None
    system = parts[0].strip()
    return Transcript("USER: and ASSISTANT:", (*([(SYSTEM, system)] if system else []), *_turns(parts)), is_sure=False)
