"""Layouts whose columns say which response is the chosen one."""

from functools import partial
from typing import Any

from encore_ray.corpora.layouts.layout import Row
from encore_ray.corpora.layouts.parts import Opening, continued, object_of, opening, responses_of, turns_of
from encore_ray.corpora.pairing.pairs import Candidate
from encore_ray.corpora.rows import BadRow
from encore_ray.corpora.turns.messages import text_of, transcript_turns
from encore_ray.corpora.turns.standard import is_empty
from encore_ray.corpora.turns.transcripts import ASSISTANT, USER, Turn
from encore_ray.schema import CHOSEN, PROMPT, REJECTED, Reason

OUTPUTS_LEFT_OUT = "outputs_left_out"


def transcripts(row: Row) -> list[Candidate]:
    chosen = transcript_turns(row.get(CHOSEN), where=CHOSEN)
    return [Candidate(chosen, transcript_turns(row.get(REJECTED), where=REJECTED))]


def named(row: Row, *, prompt: str = PROMPT, chosen: str = CHOSEN, rejected: str = REJECTED) -> list[Candidate]:
    """A prompt and two responses, under these columns."""
    begin = opening(row.get(prompt), where=prompt)
    better = continued(begin, row.get(chosen), chosen)
    return [Candidate(better, continued(begin, row.get(rejected), rejected))]


explicit = named
question = partial(named, prompt="question")
asked = partial(named, prompt="input")
medical = partial(named, prompt="question", chosen="response_chosen", rejected="response_rejected")
argilla = partial(named, prompt="instruction", chosen="chosen_response", rejected="rejected_response")


def implicit(row: Row) -> list[Candidate]:
    return [Candidate(turns_of(row.get(CHOSEN), where=CHOSEN), turns_of(row.get(REJECTED), where=REJECTED))]


def whole_with_prompt(row: Row) -> list[Candidate]:
    begin = opening(row.get(PROMPT))
    prompt = begin.turns[-1][1]

    def whole(side: str) -> list[Turn]:
        turns = turns_of(row.get(side), where=side)
        if turns[0][0] == ASSISTANT:
            return [*begin.turns, *turns]
        if not any(role == USER and content.strip() == prompt.strip() for role, content in turns):
            raise BadRow(Reason.NO_COMMON_PROMPT, f"{side} does not hold the prompt as a user turn")
        return turns

    return [Candidate(whole(CHOSEN), whole(REJECTED))]


def several(row: Row) -> list[Candidate]:
    """Every response at least once: pair i takes chosen i and rejected i, the shorter list starting over."""
    return pairings(opening(row.get(PROMPT)), row.get(CHOSEN), row.get(REJECTED))


def pairings(begin: Opening, chosen: Any, rejected: Any) -> list[Candidate]:
    chosens, rejecteds = responses_of(chosen, CHOSEN), responses_of(rejected, REJECTED)
    size = max(len(chosens), len(rejecteds))
    return [_pairing(begin, chosens, rejecteds, index % len(chosens), index % len(rejecteds)) for index in range(size)]


def rm_bench(row: Row) -> list[Candidate]:
    """All nine pairs of three styles; response `c0` is the shortest chosen one, `r2` the rejected one with markup."""
    begin = opening(row.get(PROMPT))
    chosens, rejecteds = responses_of(row.get(CHOSEN), CHOSEN), responses_of(row.get(REJECTED), REJECTED)
    if len(chosens) != 3 or len(rejecteds) != 3:
        found = f"{len(chosens)} and {len(rejecteds)}"
        raise BadRow(Reason.WRONG_TYPE, f"chosen and rejected: expected three responses each, found {found}")
    return [_pairing(begin, chosens, rejecteds, c, r) for c in range(3) for r in range(3)]


def _pairing(begin: Opening, chosens: list[Any], rejecteds: list[Any], c: int, r: int) -> Candidate:
    chosen = continued(begin, chosens[c], f"{CHOSEN} {c + 1}")
    rejected = continued(begin, rejecteds[r], f"{REJECTED} {r + 1}")
    return Candidate(chosen, rejected, f"c{c}", f"r{r}")


def rmb(row: Row) -> list[Candidate]:
    begin = opening(row.get("conversation_input"), where="conversation_input")
    chosen, rejected = (object_of(row.get(side), side).get("answer") for side in (CHOSEN, "reject"))
    return [Candidate(continued(begin, chosen, "chosen.answer"), continued(begin, rejected, "reject.answer"))]


def alpaca(row: Row) -> list[Candidate]:
    """LLaMA-Factory's Alpaca form."""
    return [_pair(_instructed(row), row)]


def alpaca_outputs(row: Row) -> list[Candidate]:
    """Its older form: `output` lists the better response, then the other one. Its trainer reads no third."""
    outputs = responses_of(row.get("output"), "output")
    if len(outputs) < 2:
        raise BadRow(Reason.MISSING_FIELD, "output: expected two responses, the better one first; found one")
    begin = _instructed(row)
    better, worse = (continued(begin, response, f"output {place}") for place, response in enumerate(outputs[:2], 1))
    return [Candidate(better, worse, notes=(OUTPUTS_LEFT_OUT,) * (len(outputs) - 2))]


def _instructed(row: Row) -> Opening:
    """Instruction and input as one user turn, as LLaMA-Factory joins them."""
    instruction = text_of(row.get("instruction"), where="instruction")
    begin = opening(instruction, where="instruction")
    extra = row.get("input")
    if not is_empty(extra):
        if begin.is_transcript:
            raise BadRow(Reason.UNREAD_TRANSCRIPT, "instruction is a transcript, and there is an input beside it")
        begin = Opening([(USER, f"{instruction}\n{text_of(extra, where='input')}")])
    return begin


def sharegpt(row: Row) -> list[Candidate]:
    begin = opening(row.get("conversations"), where="conversations")
    return [_pair(begin, row)]


def swift(row: Row) -> list[Candidate]:
    """ms-swift's form: a whole conversation, and the response that its last one is better than."""
    chosen = turns_of(row.get("messages"), where="messages")
    begin = Opening(chosen[:-1])
    return [Candidate(chosen, continued(begin, row.get("rejected_response"), "rejected_response"))]


def swift_messages(row: Row) -> list[Candidate]:
    """The same with two whole conversations."""
    chosen, rejected = (turns_of(row.get(name), where=name) for name in ("messages", "rejected_messages"))
    return [Candidate(chosen, rejected)]


def prompted(row: Row) -> list[Candidate]:
    """The prompt's turns in `messages`, as LLaMA-Factory reads the form of OpenAI."""
    return [_pair(opening(row.get("messages"), where="messages"), row)]


def _pair(begin: Opening, row: Row) -> Candidate:
    return Candidate(continued(begin, row.get(CHOSEN), CHOSEN), continued(begin, row.get(REJECTED), REJECTED))


def single(row: Row, *, response: str) -> list[Candidate]:
    """One response; a prompt without any is nothing to score."""
    begin = opening(row.get(PROMPT))
    if is_empty(row.get(response)):
        raise BadRow(Reason.NO_RESPONSE, f"{response} is empty: there is a prompt, and nothing to score")
    return [Candidate(continued(begin, row.get(response), response), None)]


single_response = partial(single, response="response")
single_completion = partial(single, response="completion")


def single_messages(row: Row) -> list[Candidate]:
    return [Candidate(turns_of(row.get("messages"), where="messages"), None)]
