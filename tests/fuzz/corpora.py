"""Good corpora to spoil: a few rows in every layout and kind of file that can be read, each row with a mark."""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.corpora.layouts.published import PUBLISHED, Case
from tests.corpora.prepared import assistant, prepare, system, user

MARK = "mark"
NUM_ROWS = 12
PROMPTS = (
    "prompt",
    "question",
    "instruction",
    "input",
    "history",
    "conversation_a",
    "conversation_input",
    "context",
    "messages",
)
PROMPTS += ("conversations", "chosen")
TEXT_KINDS = ("jsonl", "ndjson", "jsonl.gz", "json", "json.gz")
KINDS = (*TEXT_KINDS, "parquet")
LINE_KINDS = ("jsonl", "ndjson")

_WORDS = (
    "How",
    "do",
    "I",
    "mend",
    "a",
    "kettle",
    "Größe",
    "火",
    "🔥",
    "العربية",
    'a "quote"',
    "back\\slash",
    "tab\tbed",
)

Row = dict[str, Any]


@dataclass(frozen=True)
class Corpus:
    """Good rows of one layout, as a file of one kind would hold them."""

    layout: str
    kind: str
    rows: list[Row]


def make_corpus(rng: random.Random, *, kind: str) -> Corpus:
    """Rows of a random layout; each has an unusual integer, a text and a mark that no other row has."""
    layout = rng.choice(list(LAYOUTS))
    rows = [{**LAYOUTS[layout](rng, number), **_further(rng, layout)} for number in range(NUM_ROWS)]
    return Corpus(layout, kind, rows)


def _further(rng: random.Random, layout: str) -> Row:
    further: Row = {
        "source": rng.choice(["web", "people"]),
        "votes": rng.randrange(100),
        MARK: f"{rng.getrandbits(64):016x}",
    }
    if layout in ("trl", "rewardbench") and rng.getrandbits(1):
        further["nested"] = {"a": [1, 2]}
    return further


def text(rng: random.Random) -> str:
    return " ".join(rng.choices(_WORDS, k=rng.randint(1, 8))) + f" {rng.randrange(10**6)}"


def _transcripts(rng: random.Random, number: int) -> Row:
    start = f"\n\nHuman: {text(rng)}\n\nAssistant: {text(rng)}\n\nHuman: {text(rng)}\n\nAssistant: "
    return {"chosen": start + text(rng), "rejected": start + text(rng)}


def _trl(rng: random.Random, number: int) -> Row:
    return {"prompt": text(rng), "chosen": text(rng), "rejected": text(rng)}


def _trl_messages(rng: random.Random, number: int) -> Row:
    return {
        "prompt": [system(text(rng)), user(text(rng))],
        "chosen": [assistant(text(rng))],
        "rejected": [assistant(text(rng))],
    }


def _implicit(rng: random.Random, number: int) -> Row:
    start = [user(text(rng)), assistant(text(rng)), user(text(rng))]
    return {"chosen": [*start, assistant(text(rng))], "rejected": [*start, assistant(text(rng))]}


def _rewardbench(rng: random.Random, number: int) -> Row:
    return {**_trl(rng, number), "subset": rng.choice(["donotanswer", "xstest"]), "id": number}


def _rewardbench2(rng: random.Random, number: int) -> Row:
    return {
        "id": f"row-{number}",
        "prompt": text(rng),
        "chosen": [text(rng)],
        "rejected": [text(rng) for _ in range(3)],
        "subset": "Ties",
    }


def _ultrafeedback(rng: random.Random, number: int) -> Row:
    prompt = text(rng)
    sides = [[user(prompt), assistant(text(rng))] for _ in range(2)]
    return {"prompt": prompt, "chosen": sides[0], "rejected": sides[1]}


def _helpsteer3(rng: random.Random, number: int) -> Row:
    return {
        "context": [user(text(rng))],
        "response1": text(rng),
        "response2": text(rng),
        "overall_preference": rng.randint(-3, 3),
    }


def _pku(rng: random.Random, number: int) -> Row:
    return {
        "prompt": text(rng),
        "response_0": text(rng),
        "response_1": text(rng),
        "safer_response_id": rng.randrange(2),
    }


def _single(rng: random.Random, number: int) -> Row:
    return {"prompt": text(rng), "response": text(rng)}


def _completion(rng: random.Random, number: int) -> Row:
    return {"prompt": text(rng), "completion": text(rng)}


def _messages(rng: random.Random, number: int) -> Row:
    return {"messages": [user(text(rng)), assistant(text(rng))]}


def _rated(rng: random.Random, number: int) -> Row:
    ratings = {f"{side}__{rule}": rng.uniform(0, 10) for rule in ("help", "harm") for side in ("chosen", "rejected")}
    return {"pair_id": f"pair-{number}", **_trl(rng, number), **ratings}


def _listed(rng: random.Random, number: int) -> Row:
    scores = {f"{side}_scores": [rng.uniform(0, 1), rng.uniform(0, 1)] for side in ("chosen", "rejected")}
    return {**_trl(rng, number), "rule_names": ["help", "harm"], **scores}


def _published(case: Case) -> Callable[[random.Random, int], Row]:
    """The first row of a public data set; what it says differs from row to row."""

    def row(rng: random.Random, number: int) -> Row:
        made = json.loads(json.dumps(case.rows[0]))
        prompt = next(name for name in PROMPTS if name in made)
        is_repeated = json.dumps(made).count(json.dumps(made[prompt])) > 1  # a message of a side, too
        if isinstance(made[prompt], str) and not made[prompt].startswith("[") and not is_repeated:
            made[prompt] = f"{made[prompt].rstrip()} {number}" if "Human:" not in made[prompt] else made[prompt]
        return made

    return row


LAYOUTS: dict[str, Callable[[random.Random, int], Row]] = {
    "hh-rlhf": _transcripts,
    "trl": _trl,
    "trl with messages": _trl_messages,
    "trl-implicit": _implicit,
    "rewardbench": _rewardbench,
    "rewardbench2": _rewardbench2,
    "ultrafeedback": _ultrafeedback,
    "helpsteer3": _helpsteer3,
    "pku-saferlhf": _pku,
    "single": _single,
    "single completion": _completion,
    "single messages": _messages,
    "trl with ratings": _rated,
    "trl with listed ratings": _listed,
    **{case.name: _published(case) for case in PUBLISHED if case.name != "OASST, messages"},  # a row is no pair there
}


def lines_of(rows: Sequence[Row]) -> list[bytes]:
    return [json.dumps(row, ensure_ascii=False).encode() for row in rows]


def outcome_by_mark(path: Path, **how: Any) -> dict[str, list[Row]]:
    """What became of each row, by its mark."""
    return by_mark(prepare(path, **how))


def by_mark(prepared: Any) -> dict[str, list[Row]]:
    """Pairs of each mark, without what depends on the whole file: ids made from it, and how a column is kept."""
    as_json = {column.name for column in prepared.plan.table.passthrough if column.is_json}
    found: dict[str, list[Row]] = {}
    for pair in prepared.pairs:
        row = {}
        for name, value in pair.items():
            if value is None:
                continue
            row[name] = json.loads(value) if name in as_json else value
        for name in ("pair_id", "group_id"):
            row.pop(name, None)
        found.setdefault(str(row.get(MARK)), []).append(row)
    return found
