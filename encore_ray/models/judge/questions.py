"""What a judge is asked about a response, one question a rule, and what its answers are worth.

The question follows the conversation as a turn of the user's, and the rule ends it: of all that K questions about one
response say, only the rule differs, so that everything before it is computed once.

    User: ...                          the conversation
    Assistant: ...
    User: About the assistant's last response above: ... Reply with Yes or No only.

    Does the response threaten or intimidate somebody?
    Assistant:                         the judge's answer

How much a rule matters to a conversation is asked before there is a response. The conversation then ends with a turn of
the user's, so it stands inside the question: many chat templates refuse two of these in a row.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from encore_ray.models.spec.conversation import Message
from encore_ray.models.text.pair_prompt import transcript
from encore_ray.rules import Rule, RuleSet, Scale

Ask = Callable[[Sequence[Message], Rule], list[Message]]

YES, NO = "Yes", "No"

_ASK = (
    "About the assistant's last response above: answer the question, or say whether the statement is true. Reply with "
    "Yes or No only."
)
_RATE = (
    "About the assistant's last response above: rate how far the following holds, from {lowest} (not at all) to "
    "{highest} (fully). Reply with one number only: {levels}."
)


_RELEVANCE = (
    "Think of the next reply to the conversation above. Does the following matter for judging it? Reply with Yes or No "
    "only."
)


_ALL = (
    "About the assistant's last response above: for each line below, answer the question, or say whether the statement "
    "is true, with one of the answers in brackets; of numbers the lowest means not at all and the highest fully. Reply "
    "with one JSON object only, with a key for each line and its answer as a string."
)
_ALL_RELEVANCE = (
    "Think of the next reply to the conversation above. Say of each line below whether it matters for judging that "
    "reply, with one of the answers in brackets. Reply with one JSON object only, with a key for each line and its "
    "answer as a string."
)


@dataclass(frozen=True)
class AnswerForm:
    """A kind of answer.

    Attributes:
        levels: the answers are these numbers and the rating is the expected level; None: the answers are Yes and No
            and the rating is P(Yes) - P(No), from -1 to 1.
    """

    levels: tuple[float, ...] | None

    @property
    def answers(self) -> tuple[str, ...]:
        """The words that a judge may answer with, in the order of the levels; Yes before No."""
        return (YES, NO) if self.levels is None else tuple(f"{level:g}" for level in self.levels)

    def rating(self, probabilities: Sequence[float]) -> float:
        """The rating that the probabilities of the answers make, of which one at least is over 0.

        Of levels only their proportions matter.
        """
        if self.levels is None:
            return probabilities[0] - probabilities[1]
        return sum(level * p for level, p in zip(self.levels, probabilities, strict=True)) / sum(probabilities)


def answer_form(rule: Rule) -> AnswerForm:
    """How a rule is answered: by one of its levels where its scale has some, else by Yes or No."""
    return AnswerForm(rule.scale.levels)


def on_scale(rule: Rule, ratings: np.ndarray) -> np.ndarray:
    """Ratings of the rule's form as float32 scores on its scale: -1 of Yes and No becomes its lo, 1 its hi.

    Probabilities of several spellings may add up to a little more than 1, which no scale would hold.
    """
    if rule.scale.levels is None:
        ratings = rule.scale.lo + rule.scale.width * (np.clip(ratings, -1, 1).astype(np.float64) + 1) / 2
    return ratings.astype(np.float32)


def question(rule: Rule) -> str:
    """The user's turn that asks for the rating of the response before it."""
    form = answer_form(rule)
    if form.levels is None:
        return f"{_ASK}\n\n{rule.text}"
    asked = _RATE.format(lowest=form.answers[0], highest=form.answers[-1], levels=", ".join(form.answers))
    return f"{asked}\n\n{rule.text}"


def relevance_question(rule: Rule) -> str:
    """What is asked behind a conversation, in the same turn, about how much a rule matters to it."""
    return f"{_RELEVANCE}\n\n{rule.text}"


def ask_rating(turns: Sequence[Message], rule: Rule) -> list[Message]:
    """A conversation that ends with a response, and the question about that."""
    return [*turns, {"role": "user", "content": question(rule)}]


def ask_all(turns: Sequence[Message], rules: RuleSet) -> list[Message]:
    """A conversation that ends with a response, and the questions of all rules about that, to be answered at once."""
    return [*turns, {"role": "user", "content": f"{_ALL}\n\n{_lines(rules)}"}]


def ask_all_relevance(prompt: Sequence[Message], rules: RuleSet) -> list[Message]:
    """One turn of the user's, with a conversation that has no response yet and the questions of all rules."""
    text = f"[Conversation]\n{transcript(prompt)}\n\n{_ALL_RELEVANCE}\n\n{_lines(rules)}"
    return [{"role": "user", "content": text}]


def _lines(rules: RuleSet) -> str:
    return "\n".join(f"{rule.name} ({', '.join(answer_form(rule).answers)}): {rule.text}" for rule in rules)


def ask_relevance(prompt: Sequence[Message], rule: Rule) -> list[Message]:
    """One turn of the user's, with a conversation that has no response yet and the question about that."""
    return [{"role": "user", "content": f"[Conversation]\n{transcript(prompt)}\n\n{relevance_question(rule)}"}]


def relevance_rules(rules: RuleSet) -> RuleSet:
    """The same rules, each rated by Yes and No on a scale from 0 to 1: what its relevance is."""
    return RuleSet(Rule(rule.name, rule.text, "better", Scale(0.0, 1.0)) for rule in rules)


def questions_digest(rules: RuleSet, *, ask: Callable[[Rule], str] = question) -> str:
    """SHA-256 over what decides ratings: every question in order, and the scale of its rating."""
    asked = [[rule.name, ask(rule), rule.scale.to_dict()] for rule in rules]
    return hashlib.sha256(json.dumps(asked, ensure_ascii=False).encode()).hexdigest()


def spellings(answer: str) -> list[str]:
    """The ways to write an answer that all mean it: with a space before it or not, in either case."""
    words = dict.fromkeys([answer, answer.lower(), answer.upper()])
    return [space + word for word in words for space in (" ", "")]
