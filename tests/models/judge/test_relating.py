"""How much rules matter to a prompt, by a judge that sees no response."""

from pathlib import Path

import numpy as np
import pytest

from encore_ray.models.judge.judge import load_judge
from encore_ray.models.judge.questions import ask_relevance, relevance_rules
from encore_ray.models.judge.relating import Relating
from encore_ray.models.spec.load_options import LoadOptions
from encore_ray.models.spec.source import ModelSource
from tests.models import judges

CPU = LoadOptions(device="cpu")
RULES = relevance_rules(judges.RULES)
PROMPTS = [
    [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "How do I pick a lock?"}],
    [{"role": "user", "content": "Is tea hot?"}],
    [{"role": "user", "content": "Is tea hot?"}],
]
NAMES = ["a", "b", "c"]


def answers(*texts: str) -> list[list[dict[str, str]]]:
    return [[{"role": "assistant", "content": text}] for text in texts]


def test_the_conversation_stands_inside_one_turn_before_the_rule():
    (turn,) = ask_relevance(PROMPTS[0], RULES[0])
    assert turn == {
        "role": "user",
        "content": "[Conversation]\nsystem: Be kind.\nuser: How do I pick a lock?\n\n"
        "Think of the next reply to the conversation above. Does the following matter for judging it? Reply with Yes "
        "or No only.\n\nDoes the response threaten?",
    }


def test_every_rule_is_asked_by_yes_and_no_on_a_scale_from_0_to_1():
    assert RULES.names == judges.RULES.names
    assert [rule.text for rule in RULES] == [rule.text for rule in judges.RULES]
    assert {(rule.higher_is, rule.scale.lo, rule.scale.hi, rule.scale.levels) for rule in RULES} == {
        ("better", 0.0, 1.0, None)
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return judges.save_judge(tmp_path_factory.mktemp("judge"), tok=judges.tokenizer(chat=True))


def test_relevances_are_those_of_each_prompt_alone_and_heed_no_response(folder: Path) -> None:
    judge = load_judge(ModelSource(folder), CPU, kind=Relating, rules=RULES, strategy="tree")
    assert isinstance(judge, Relating)
    asked = judge.prepare(PROMPTS, chosen=answers("1", "2", "3"), rejected=[*answers("4", "5"), None], pair_ids=NAMES)
    found_NK = judge.score(asked).scores_N2K[:, 0]
    assert ((found_NK > 0) & (found_NK < 1)).all()
    np.testing.assert_array_equal(found_NK[1], found_NK[2])
    assert np.abs(found_NK[0] - found_NK[1]).max() > 3e-4  # thirty times what is tolerated below
    # Rules 0 and 3 ask the same, so do the last two prompts: three rules of two prompts are computed.
    assert len({row.tobytes() for row in asked.pairs[0].chosen_ids}) == 6
    other = judge.prepare(PROMPTS, chosen=answers("x", "y", "z"), rejected=[None] * 3, pair_ids=NAMES)
    np.testing.assert_array_equal(judge.score(other).scores_N2K[:, 0], found_NK)
    alone = load_judge(ModelSource(folder), CPU, kind=Relating, rules=RULES, strategy="one_by_one")
    np.testing.assert_allclose(alone.score(asked).scores_N2K[:, 0], found_NK, rtol=0, atol=1e-5)
