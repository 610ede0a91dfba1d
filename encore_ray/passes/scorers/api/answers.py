"""From a judge's reply to a rating, or to the reason why it is none; and the replies that are there already."""

import json
import math
import re
import threading
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from encore_ray.models.judge.questions import AnswerForm
from encore_ray.passes.scorers.api.client import Refused, Reply
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
    answers = [answer.lower() for answer in form.answers]
    spelled = [(token.strip().lower(), math.exp(logprob)) for token, logprob in reply.first]
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
    word = re.sub(r"^[\s\"'*]+|[\s\"'*.]+$", "", reply.text or "").lower()
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
            return Reply(record["text"], tuple((token, float(logprob)) for token, logprob in record["first"]))
        except (ValueError, KeyError, TypeError):
            return None

    def keep(self, url: str, body: Mapping[str, Any], reply: Reply) -> None:
        request, record = fingerprint([url, body]), json.dumps(asdict(reply), ensure_ascii=False)
        self._folder.write_atomic(f"{self._parts}/{request}.json", record.encode())
        with self._lock:
            self._replies[request] = record

    def pack(self) -> None:
        """Put all replies into one table."""
        rows = [{"request": request, "reply": reply} for request, reply in sorted(self._replies.items())]
        self._folder.write_table(self._file, pa.Table.from_pylist(rows, schema=_SCHEMA))
        self._folder.delete_tree(self._parts)
