"""Layouts of two responses and a verdict between them."""

from encore_ray.corpora.files.columns import FIRST, SECOND, TIE
from encore_ray.corpora.layouts.layout import Row
from encore_ray.corpora.layouts.parts import (
    continued,
    judged,
    label,
    number,
    opening,
    turns_of,
    verdict,
)
from encore_ray.corpora.pairing.pairs import Candidate
from encore_ray.corpora.rows import BadRow
from encore_ray.corpora.turns.messages import list_of, text_of
from encore_ray.corpora.turns.transcripts import ASSISTANT, USER, Turn
from encore_ray.schema import PROMPT, Reason

ARENA = {"model_a": FIRST, "model_b": SECOND, "tie": TIE, "tie (bothbad)": TIE, "both_bad": TIE}
JUDGEBENCH = {"a>b": FIRST, "b>a": SECOND, "a=b": TIE, "a>>b": FIRST, "b>>a": SECOND}
TURNS_CUT = "turns_cut"


def helpsteer3(row: Row) -> list[Candidate]:
    """Response 1 is chosen under 0, response 2 over it; at 0 neither: two single responses of one group."""
    begin = opening(row.get("context"), where="context")
    first, second = (continued(begin, row.get(name), name) for name in ("response1", "response2"))
    preference = label(row.get("overall_preference"), "overall_preference", range(-3, 4))
    return judged(first, second, TIE if preference == 0 else FIRST if preference < 0 else SECOND)


def helpsteer2_preference(row: Row) -> list[Candidate]:
    """HelpSteer2's own comparisons: as HelpSteer3, under other names."""
    begin = opening(row.get(PROMPT))
    first, second = (continued(begin, row.get(name), name) for name in ("response_1", "response_2"))
    strength = label(row.get("preference_strength"), "preference_strength", range(-3, 4))
    return judged(first, second, TIE if strength == 0 else FIRST if strength < 0 else SECOND)


def pku(row: Row) -> list[Candidate]:
    begin = opening(row.get(PROMPT))
    first, second = (continued(begin, row.get(name), name) for name in ("response_0", "response_1"))
    safer = label(row.get("safer_response_id"), "safer_response_id", range(2))
    return judged(first, second, SECOND if safer else FIRST)


def arena(row: Row) -> list[Candidate]:
    """Chatbot Arena and MT-bench: two conversations, of which the first `turn` turns were judged."""
    first, second = (turns_of(row.get(name), where=name) for name in ("conversation_a", "conversation_b"))
    which = verdict(row.get("winner"), "winner", ARENA)
    turn = row.get("turn")
    if turn is None:
        return judged(first, second, which)
    num_turns = label(turn, "turn", range(1, 1 << 20))
    cut = [_first_turns(side, num_turns) for side in (first, second)]
    made = judged(cut[0], cut[1], which)
    if cut != [first, second]:
        made[0] = Candidate(made[0].chosen, made[0].rejected, notes=(TURNS_CUT,))
    return made


def _first_turns(turns: list[Turn], num_turns: int) -> list[Turn]:
    seen = 0
    for index, (role, _) in enumerate(turns):
        seen += role == ASSISTANT
        if seen == num_turns:
            return turns[: index + 1]
    return turns


def arena_lists(row: Row) -> list[Candidate]:
    """Arena as lmarena-ai's 55k has it: the texts of each side by turn, and a column for each verdict."""

    def side(name: str) -> list[Turn]:
        turns: list[Turn] = []
        prompts, replies = list_of("text", row.get(PROMPT), PROMPT), list_of("text", row.get(name), name)
        if len(prompts) != len(replies):
            raise BadRow(Reason.BAD_ROLES, f"{name}: {len(replies)} replies to {len(prompts)} prompts")
        for prompt, reply in zip(prompts, replies, strict=True):
            turns += [(USER, text_of(prompt, where=PROMPT)), (ASSISTANT, text_of(reply, where=name))]
        return turns

    won = [label(row.get(f"winner_{name}"), f"winner_{name}", range(2)) for name in ("model_a", "model_b", "tie")]
    if sum(won) != 1:
        raise BadRow(Reason.BAD_LABEL, f"winner_model_a, winner_model_b, winner_tie: expected one 1, found {won}")
    return judged(side("response_a"), side("response_b"), (FIRST, SECOND, TIE)[won.index(1)])


def judgebench(row: Row) -> list[Candidate]:
    begin = opening(row.get("question"), where="question")
    first, second = (continued(begin, row.get(name), name) for name in ("response_A", "response_B"))
    return judged(first, second, verdict(row.get("label"), "label", JUDGEBENCH))


def ppe(row: Row) -> list[Candidate]:
    begin = opening(row.get(PROMPT))
    first, second = (continued(begin, row.get(name), name) for name in ("response_1", "response_2"))
    return judged(first, second, verdict(row.get("winner"), "winner", ARENA))


def webgpt(row: Row) -> list[Candidate]:
    """The answer with the higher score is chosen; equal scores are a tie."""
    question = row.get("question")
    begin = opening(question.get("full_text") if isinstance(question, dict) else question, where="question")
    first, second = (continued(begin, row.get(name), name) for name in ("answer_0", "answer_1"))
    scores = [number(row.get(name), name) for name in ("score_0", "score_1")]
    return judged(first, second, TIE if scores[0] == scores[1] else FIRST if scores[0] > scores[1] else SECOND)


def shp(row: Row) -> list[Candidate]:
    begin = opening(row.get("history"), where="history")
    first, second = (continued(begin, row.get(name), name) for name in ("human_ref_A", "human_ref_B"))
    return judged(first, second, FIRST if label(row.get("labels"), "labels", range(2)) else SECOND)
