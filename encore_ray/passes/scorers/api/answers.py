"""From a judge's reply to a rating, or to the reason why it is none; and the replies that are there already."""

import json
import math
import re
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from encore_ray.corpora.values import number_of
from encore_ray.models.judge.questions import AnswerForm, answer_form
from encore_ray.passes.scorers.api.replies import Refused, Reply, word_of
from encore_ray.rules import RuleSet
from encore_ray.storage import Folder, fingerprint

# Answers must be more likely than anything else that a message could begin with.
_LEAST_PROBABILITY = 0.5
# Of tokens that levels begin with, as - of -1 or 0 of 0.5, and that are none; past it only the whole text tells.
_MOST_BEGUN = 0.01

_SCHEMA = pa.schema([pa.field("request", pa.string(), nullable=False), pa.field("reply", pa.string(), nullable=False)])


def rate_reply(form: AnswerForm, reply: Reply | Refused) -> float | str:
    """The rating that a reply gives, or why it gives none.

    With log-probabilities it is that of the judge's first token. Without them the text must be an answer and nothing
    else, but for spaces, quotes and a full stop.
    """
    if isinstance(reply, Refused):
        return f"the judge {reply.reason}"
    rating = _rate(form, reply)
    return f"{rating} ({reply.manner})" if isinstance(rating, str) and reply.manner else rating


def rate_structured(rules: RuleSet, reply: Reply | Refused) -> list[float | str]:
    """The ratings under all rules that one reply gives as JSON, or why there is none."""
    if isinstance(reply, Refused):
        return [f"the judge {reply.reason}"] * len(rules)
    given = _object_of(reply.text or "", rules.names)
    if given is None:
        manner = f" ({reply.manner})" if reply.manner else ""
        return [f"the judge was to answer with a JSON object, and said {_quoted(reply.text)}{manner}"] * len(rules)
    return [_rate_given(answer_form(rule), given.get(rule.name)) for rule in rules]


def _object_of(text: str, names: Sequence[str]) -> dict[str, Any] | None:
    """The last JSON object of a text that has a rule's name, else the last; models put fences, thoughts and words
    around it, and objects around it too.
    """
    found: list[dict[str, Any]] = []
    place, decoder = text.find("{"), json.JSONDecoder()
    while place >= 0:
        try:
            value, end = decoder.raw_decode(text, place)
        except RecursionError:
            return None
        except ValueError:
            end = place + 1
        else:
            found += [value, *(inner for inner in value.values() if isinstance(inner, dict))]
        place = text.find("{", end)
    found.sort(key=lambda value: not value.keys().isdisjoint(names))  # stable: the last of those that have one
    return found[-1] if found else None


def _rate_given(form: AnswerForm, value: Any) -> float | str:
    answer = {True: "Yes", False: "No"}[value] if isinstance(value, bool) else value
    text = f"{answer:g}" if isinstance(answer, int | float) else answer
    return _rate(form, Reply(text if isinstance(text, str) else None, ()))


def _rate(form: AnswerForm, reply: Reply) -> float | str:
    answers = [answer.lower() for answer in form.answers]
    spelled = [(word_of(token), math.exp(logprob)) for token, logprob in reply.first]
    # A token 1 may be the beginning of 10: then only the whole text tells.
    is_ambiguous = any(a != b and b.startswith(a) for a in answers for b in answers)
    if form.levels is not None:
        begun = [p for word, p in spelled if word and word not in answers and any(a.startswith(word) for a in answers)]
        is_ambiguous = is_ambiguous or sum(begun) > _MOST_BEGUN
    if spelled and not is_ambiguous:
        probabilities = [sum(p for word, p in spelled if word == answer) for answer in answers]
        if sum(probabilities) >= _LEAST_PROBABILITY:
            return form.rating(probabilities)
        return (
            f"the judge answers {' or '.join(form.answers)} with a probability of {sum(probabilities):.2g} only; it "
            f"says {_quoted(reply.text)}"
        )
    word = re.sub(r"^[\s\"'*`]+|[\s\"'*`.]+$", "", reply.text or "").lower()
    if form.levels is not None and (number := number_of(word)) is not None:
        word = f"{number:g}"  # 4.0 is the level 4
    if word not in answers:
        return f"the judge was to answer {', '.join(form.answers)}, and said {_quoted(reply.text)}"
    return form.rating([float(answer == word) for answer in answers])


def _quoted(text: str | None) -> str:
    return "nothing" if not text else repr(text[:80])


class Replies:
    """Replies of one unit, by request: none is paid for twice, whatever is killed when.

    A reply is a small file as soon as it is there; those of a finished unit become one table.

    Args:
        folder: of all replies of a run.
        unit: the unit's name.
    """

    def __init__(self, folder: Folder, unit: str):
        self._folder, self._parts, self._file = folder, f"parts/{unit}", f"{unit}.parquet"
        self._replies: dict[str, str] = {}
        self._lock = threading.Lock()
        if folder.exists(self._file):
            table = folder.read_table(self._file)
            self._replies.update(zip(*(table.column(name).to_pylist() for name in _SCHEMA.names), strict=True))
        for name in folder.names(self._parts):
            if name.endswith(".json"):
                content = folder.read_bytes(f"{self._parts}/{name}")
                self._replies[name.removesuffix(".json")] = content.decode(errors="replace")

    def find(self, url: str, body: Mapping[str, Any]) -> Reply | None:
        """The reply to a request that was made before; None as well where a disk has damaged it since."""
        found = self._replies.get(fingerprint([url, body]))
        if found is None:
            return None
        try:
            record = json.loads(found)
            first = tuple((token, float(logprob)) for token, logprob in record["first"])
            return Reply(record["text"], first, str(record.get("manner", "")))
        except (ValueError, KeyError, TypeError, AttributeError):
            return None

    def keep(self, url: str, body: Mapping[str, Any], reply: Reply) -> None:
        request = fingerprint([url, body])
        manner = {"manner": reply.manner} if reply.manner else {}
        record = json.dumps({"text": reply.text, "first": reply.first, **manner}, ensure_ascii=False)
        self._folder.write_atomic(f"{self._parts}/{request}.json", record.encode())
        with self._lock:
            self._replies[request] = record

    def pack(self) -> None:
        """Put all replies into one table."""
        rows = [{"request": request, "reply": reply} for request, reply in sorted(self._replies.items())]
        self._folder.write_table(self._file, pa.Table.from_pylist(rows, schema=_SCHEMA))
        self._folder.delete_tree(self._parts)
